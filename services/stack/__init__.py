"""Kafka, Redis and PostgreSQL on this machine without Docker, root or a system Java."""

from services.stack.kafka import KafkaServer
from services.stack.postgres import PostgresServer
from services.stack.stack import Stack
from services.stack.valkey import ValkeyServer

__all__ = ["KafkaServer", "PostgresServer", "Stack", "ValkeyServer"]
