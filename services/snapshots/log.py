"""What snapshots need to know of a partition's topics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from services.allocator.kafka import KafkaAnswers, Publisher, TailReader
from services.allocator.owner import LogBounds, LogUnavailable
from services.allocator.records import CommandRecord, EventPlace
from services.kafka import kafka_client
from services.settings import Settings
from services.snapshots.file import SnapshotError

_RECORDS_A_READ = 5000


class PartitionLog:
    """One partition's topics, for somebody outside of the group."""

    def __init__(self, settings: Settings, partition: int, tails: TailReader, admin: AIOKafkaAdminClient) -> None:
        self._settings = settings
        self._tails = tails
        self._admin = admin
        self._place = TopicPartition(settings.commands_topic, partition)
        self._answers = KafkaAnswers(settings, partition, tails=tails, publisher=Publisher(settings))

    async def bounds(self) -> LogBounds:
        """Say how far the commands reach."""
        return await self._tails.bounds(self._place)

    async def record_at(self, offset: int) -> CommandRecord | None:
        """Give one command's record; None where there is none."""
        records = await self._tails.read(self._place, offset, offset + 1)
        return records[0] if records else None

    async def records(self, after: int, up_to: int) -> AsyncIterator[CommandRecord]:
        """Give the commands' records behind one offset, up to another."""
        for start in range(after + 1, up_to + 1, _RECORDS_A_READ):
            for record in await self._tails.read(self._place, start, min(start + _RECORDS_A_READ, up_to + 1)):
                yield record

    async def committed(self) -> int:
        """Give the group's committed offset, 0 where it has none."""
        group = self._settings.consumer_group
        offsets = await self._admin.list_consumer_group_offsets(group, partitions=[self._place])
        found = offsets.get(self._place)
        return max(0, found.offset) if found else 0

    async def published(self) -> EventPlace:
        """Read the highest place in the tail of the events topic."""
        return await self._answers.published()

    async def delete_before(self, offset: int) -> None:
        """Delete the commands below an offset, for good."""
        await self._admin.delete_records({self._place: RecordsToDelete(before_offset=offset)})


@asynccontextmanager
async def partition_logs(settings: Settings, partitions: list[int]) -> AsyncIterator[dict[int, PartitionLog]]:
    """Give the topics of partitions; Kafka's failures become SnapshotErrors."""
    tails = TailReader(settings)
    admin = AIOKafkaAdminClient(**kafka_client(settings))
    try:
        await tails.start()
        await admin.start()
        yield {number: PartitionLog(settings, number, tails, admin) for number in partitions}
    except (KafkaError, LogUnavailable, TimeoutError) as error:
        raise SnapshotError(f"Kafka failed: {type(error).__name__} {error}\ntry: look whether it is well") from error
    finally:
        await admin.close()
        await tails.stop()
