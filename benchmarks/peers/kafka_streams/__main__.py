"""Locks the jars anew."""

from benchmarks.peers.kafka_streams import COORDINATES, LOCK
from services.stack.jars import write_lock

write_lock(COORDINATES, LOCK)
