"""How the engine does, as Kafka knows it: what is decided, what is not yet, and who decides."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError

from services.allocator.owner import LogUnavailable
from services.settings import Settings

_WITHIN_S = 5.0


class PartitionState(NamedTuple):
    """One partition of the three topics.

    Attributes:
        commands: how many it holds, or where its log begins, held.
        undecided: of these, how many the allocators have not committed.
        events: likewise.
        dead_letters: likewise.
    """

    partition: int
    commands: int
    undecided: int
    events: int
    dead_letters: int


class EngineState(NamedTuple):
    """All of it.

    Attributes:
        allocators: the group's members by name, with the partitions that each has.
    """

    partitions: Sequence[PartitionState]
    allocators: Mapping[str, Sequence[int]]


class Engine(Protocol):
    """Who knows how the engine does."""

    async def state(self) -> EngineState:
        """Give how it is now; raises LogUnavailable."""


class KafkaEngine:
    """A running Kafka's answer (`Engine`)."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._settings, self._partitions = settings, partitions
        self._one_at_a_time = asyncio.Lock()

    async def state(self) -> EngineState:
        """Ask for it.

        Raises:
            LogUnavailable: Kafka does not answer.
        """
        settings, numbers = self._settings, range(self._partitions)
        commands, events, letters = (
            [TopicPartition(topic, number) for number in numbers]
            for topic in (settings.commands_topic, settings.events_topic, settings.dead_letters_topic)
        )
        async with self._one_at_a_time, _in_time(), self._connected() as (admin, consumer):
            ends = await consumer.end_offsets([*commands, *events, *letters])
            committed = await admin.list_consumer_group_offsets(settings.consumer_group)
            [described] = await admin.describe_consumer_groups([settings.consumer_group])
        return EngineState(
            [
                PartitionState(
                    number,
                    ends[each],
                    ends[each] - (max(committed[each].offset, 0) if each in committed else 0),
                    ends[events[number]],
                    ends[letters[number]],
                )
                for number, each in enumerate(commands)
            ],
            _members(described.groups[0]),
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaConsumer]]:
        servers = self._settings.kafka_bootstrap_servers
        admin, consumer = AIOKafkaAdminClient(bootstrap_servers=servers), AIOKafkaConsumer(bootstrap_servers=servers)
        try:
            await admin.start()
            await consumer.start()
            yield admin, consumer
        finally:
            await consumer.stop()
            await admin.close()


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_WITHIN_S):
            yield
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnavailable("Kafka does not answer") from error


def _members(group: Sequence[object]) -> dict[str, list[int]]:
    """Give each member's partitions; Kafka's answer has members last but, since version 3, for what one may do."""
    found: dict[str, list[int]] = {}
    for member in next(part for part in group if isinstance(part, list)):
        member_id, assignment = member[0], member[-1]
        owned = ConsumerProtocol.ASSIGNMENT.decode(assignment).assignment if assignment else []
        found[member_id] = sorted(number for _, numbers in owned for number in numbers)
    return found
