"""The consumer group's side of the allocator: each partition that it is given gets an owner, as long as it has it."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from allocation_core.store import Redis, SlotStore
from services.allocator.feed import CommandFeed
from services.allocator.kafka import KafkaAnswers, KafkaCommandLog, Publisher, TailReader
from services.allocator.metrics import AllocatorMetrics, PartitionMetrics
from services.allocator.owner import Owner, Unrecoverable
from services.settings import Settings
from services.snapshots.use import RebuildSource, SnapshotFolder

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from services.telemetry.spans import Spans

log = structlog.get_logger(__name__)

COMMIT_EVERY_S = 0.1
COMMIT_WITHIN_S = 5.0
RELEASE_WITHIN_S = 40.0


class Group(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """Owners of the partitions that this member of the group has, and the commits of what they did.

    Attributes:
        failure: why the allocator cannot go on; None while it can.
    """

    def __init__(  # noqa: PLR0913  its collaborators
        self,
        settings: Settings,
        *,
        redis: Redis,
        consumer: Callable[[], AIOKafkaConsumer],
        tails: TailReader,
        publisher: Publisher,
        partition_of: Callable[[bytes], int],
        metrics: AllocatorMetrics,
        fail: Callable[[], None],
        rejoin_within_s: float,
        spans: "Spans | None" = None,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._consumer = consumer
        self._tails = tails
        self._publisher = publisher
        self._partition_of = partition_of
        self._metrics = metrics
        self._fail = fail
        self._rejoin_within_s = rejoin_within_s
        self._spans = spans
        self._owners: dict[TopicPartition, Owner] = {}
        self._done: dict[TopicPartition, int] = {}
        self._background: set[asyncio.Future[None]] = set()
        self._feed = CommandFeed(consumer)
        self._feeding: asyncio.Future[None] | None = None
        self._one_release_at_a_time = asyncio.Lock()
        self._stopped = False
        self._joined = False
        self.failure: Unrecoverable | None = None

    @property
    def states(self) -> dict[int, str]:
        """What each owner is at, by partition."""
        return {place.partition: owner.state for place, owner in sorted(self._owners.items())}

    @property
    def is_ready(self) -> bool:
        """Whether the group has answered and every partition that it gave is being worked on."""
        return self._joined and all(state == "working" for state in self.states.values())

    def start(self) -> None:
        """Begin committing."""
        self._in_background(self._commit_now_and_then())

    async def stop(self) -> None:
        """Let the batches in flight finish and commit them; from here on nothing is taken any more."""
        self._stopped = True
        await self._release()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let go of everything: the batch in flight first, so that the next owner finds it whole."""
        if revoked:
            await self._release()  # a stop may be at it already: then it is waited for
        self._joined = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Give each partition an owner of this generation of the group."""
        consumer = self._consumer()
        # Before anything is awaited: else the fetcher hands out records from the committed offset on.
        for place in assigned:
            self._feed.hold(place)
        if self._stopped:  # nobody would let the batch finish, and the group hears in a moment that this member left
            return
        if self._feeding is None:
            self._feeding = self._in_background(self._feed.run())
            self._feeding.add_done_callback(self._feeding_ended)
        generation = generation_of(consumer)
        self._joined = True
        self._done.clear()
        for place in sorted(assigned):
            owner = Owner(
                place.partition,
                generation=generation,
                commands=KafkaCommandLog(
                    consumer,
                    place,
                    feed=self._feed,
                    tails=self._tails,
                    partition_of=self._partition_of,
                    done=self._note_done,
                ),
                answers=KafkaAnswers(
                    self._settings,
                    place.partition,
                    tails=self._tails,
                    publisher=self._publisher,
                    feed=self._feed,
                ),
                store=SlotStore(self._redis, place.partition),
                commands_topic=self._settings.commands_topic,
                metrics=PartitionMetrics(self._metrics, place.partition),
                snapshots=self._snapshots_of(place.partition),
                spans=self._spans,
            )
            self._owners[place] = owner
            owner.start().add_done_callback(self._owner_ended)
        self._metrics.owned.set(len(self._owners))

    def _snapshots_of(self, partition: int) -> RebuildSource | None:
        folder = self._settings.snapshot_folder
        if folder is None:
            return None
        snapshots = SnapshotFolder(folder, self._settings.commands_topic, partition)
        return RebuildSource(snapshots, self._redis, partition)

    async def _release(self) -> None:
        async with self._one_release_at_a_time:
            owners, self._owners = self._owners, {}
            await asyncio.gather(*(owner.stop(within_s=RELEASE_WITHIN_S) for owner in owners.values()))
            self._feed.let_go()
            await self._commit(owners)
            self._metrics.owned.set(0)

    def _note_done(self, place: TopicPartition, offset: int) -> None:
        self._done[place] = max(offset, self._done.get(place, offset))

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._commit(self._owners)

    async def _commit(self, owners: dict[TopicPartition, Owner]) -> None:
        offsets = {place: offset for place, offset in self._done.items() if place in owners}
        if not offsets:
            return
        try:
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._consumer().commit(offsets)
        except (KafkaError, TimeoutError) as error:
            # The next commit says it again; without one, the next owner finds in the events topic what is done.
            log.info("commit put off", error=type(error).__name__)
            return
        for place, offset in offsets.items():
            owners[place].committed(offset)
            if self._done.get(place) == offset:
                del self._done[place]

    def _feeding_ended(self, feeding: asyncio.Future[None]) -> None:
        if not feeding.cancelled() and feeding.exception() is not None:
            log.error("feeding failed", exc_info=feeding.exception())
            self._give_up(Unrecoverable(f"what feeds the partitions failed: {type(feeding.exception()).__name__}"))

    def _owner_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        failure = task.exception()
        if isinstance(failure, Unrecoverable):
            self._give_up(failure)
        elif failure is not None:
            log.error("owner failed", exc_info=failure)
            self._give_up(Unrecoverable(f"the {task.get_name()} failed: {type(failure).__name__}"))
        elif any(owner.state == "superseded" for owner in self._owners.values()):
            self._in_background(self._expect_to_rejoin(generation_of(self._consumer())))

    async def _expect_to_rejoin(self, generation: int) -> None:
        """Wait for a superseded member to learn that the group went on; if it did not, the group began anew."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rejoin_within_s):
                while generation_of(self._consumer()) == generation:  # noqa: ASYNC110  aiokafka tells nobody
                    await asyncio.sleep(0.1)
            return
        self._give_up(
            Unrecoverable(
                f"the consumer group {self._settings.consumer_group} is at generation {generation}, but Redis was "
                f"written by a later one: the group was deleted, or another group uses this Redis. If no other "
                f"allocator works on it, run: opd reset-generation --all, and start again."
            )
        )

    def _give_up(self, failure: Unrecoverable) -> None:
        if self.failure is None:
            self.failure = failure
            log.error("cannot go on", why=str(failure))
            self._fail()

    def _in_background(self, work: "Awaitable[None]") -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def generation_of(consumer: AIOKafkaConsumer) -> int:
    """Give the group's generation that this member joined; aiokafka keeps it to itself, so only this asks for it."""
    generation: int = consumer._coordinator.generation  # noqa: SLF001
    return generation
