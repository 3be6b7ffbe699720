"""Who runs in the benchmark: the bytes alone, we, and what else a hospital could pick."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.contender import Contender
from benchmarks.peers.kafka_streams import kafka_streams_command


def _module(name: str, *arguments: str) -> Callable[[Path], Sequence[str | Path]]:
    return lambda _: [sys.executable, "-m", name, *arguments]


def _allocator(workers: int) -> Callable[[Path], Sequence[str | Path]]:
    return _module("services.cli", "allocator", "--http-port", "0", "--workers", str(workers))


PASSTHROUGH = Contender(
    "passthrough", "the bytes alone", "nothing is decided", _module("benchmarks.passthrough"), moves=True
)
ONE_WORKER = Contender("one-worker", "we, one worker", "exactly once", _allocator(1), store="redis", is_ours=True)
TWO_WORKERS = Contender("two-workers", "we, two workers", "exactly once", _allocator(2), store="redis", is_ours=True)
KAFKA_STREAMS = Contender("kafka-streams", "Kafka Streams", "exactly once", kafka_streams_command)
CONTENDERS = (
    PASSTHROUGH,
    ONE_WORKER,
    TWO_WORKERS,
    KAFKA_STREAMS,
    Contender("in-memory", "Python dictionaries", "the log alone", _module("benchmarks.peers.in_memory")),
    Contender(
        "postgres-batches",
        "PostgreSQL, batches",
        "decided once, said at least once",
        _module("benchmarks.peers.postgres_batches"),
        store="postgres",
    ),
    Contender(
        "postgres-rows",
        "PostgreSQL, row locks",
        "decided once, said at least once",
        _module("benchmarks.peers.postgres_rows"),
        store="postgres",
        share=0.05,
    ),
    Contender(
        "call-a-message",
        "Redis, a Lua call a message",
        "decided once, said at least once",
        _module("benchmarks.peers.call_a_message"),
        store="redis",
        share=0.1,
    ),
)
