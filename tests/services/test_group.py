"""What a member of the consumer group does with the partitions that it is given and loses; its owners are stand-ins."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from services.allocator import group as module
from services.allocator.group import Group
from services.allocator.metrics import AllocatorMetrics
from services.allocator.owner import Unrecoverable
from services.settings import Settings
from services.snapshots.use import RebuildSource
from tests.services.desk import until

if TYPE_CHECKING:
    from allocation_core.store import Redis
    from services.allocator.kafka import Publisher, TailReader

PLACES = [TopicPartition("commands", number) for number in range(3)]


class Consumer:
    """The group's consumer; `refusals` are raised by the next commits, one each."""

    def __init__(self) -> None:
        self._coordinator = self
        self.generation = 4
        self.paused: set[TopicPartition] = set()
        self.commits: list[dict[TopicPartition, int]] = []
        self.refusals: list[Exception] = []
        self.failure: Exception = ConsumerStoppedError()
        self.may_fetch = asyncio.Event()

    def pause(self, place: TopicPartition) -> None:
        self.paused.add(place)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, Any]:
        assert timeout_ms
        await self.may_fetch.wait()
        raise self.failure

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.commits.append(dict(offsets))


class StandIn:
    """An owner that ends when it is told how."""

    all: list["StandIn"]

    def __init__(self, partition: int, *, generation: int, commands: Any, snapshots: Any, **_others: Any) -> None:
        self.partition, self.generation, self.commands = partition, generation, commands
        self.snapshots = snapshots
        self.state = "taking"
        self.heard: list[int] = []
        self.stopped_within_s = 0.0
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        StandIn.all.append(self)

    def start(self) -> asyncio.Task[None]:
        async def run() -> None:
            await self.end

        return asyncio.create_task(run(), name=f"owner of partition {self.partition}")

    async def stop(self, *, within_s: float) -> None:
        self.stopped_within_s = within_s
        await self.may_stop.wait()
        self.state = "stopped"
        if not self.end.done():
            self.end.set_result(None)

    def committed(self, offset: int) -> None:
        self.heard.append(offset)


class Member:
    """A group member with all that it needs."""

    def __init__(self, *, rejoin_within_s: float = 30, snapshot_folder: Path | None = None) -> None:
        StandIn.all = []
        self.consumer = Consumer()
        self.failed = 0
        self.metrics = AllocatorMetrics()
        self.group = Group(
            Settings(snapshot_folder=snapshot_folder),
            redis=cast("Redis", None),
            consumer=lambda: self.consumer,
            tails=cast("TailReader", None),
            publisher=cast("Publisher", None),
            partition_of=lambda _: 0,
            metrics=self.metrics,
            fail=self._fail,
            rejoin_within_s=rejoin_within_s,
        )

    def _fail(self) -> None:
        self.failed += 1

    @property
    def owned(self) -> float | None:
        return self.metrics.registry.get_sample_value("opd_partitions_owned")

    def is_ready(self) -> bool:
        return self.group.is_ready

    async def given(self, *places: TopicPartition) -> list[StandIn]:
        before = len(StandIn.all)
        await self.group.on_partitions_assigned(set(places))
        return StandIn.all[before:]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Owner", StandIn)
    monkeypatch.setattr(module, "COMMIT_EVERY_S", 0)


def run(play: Callable[[Member], Any], **settings: Any) -> None:
    async def begin() -> None:
        unheard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
        member = Member(**settings)
        await play(member)
        await member.group.stop()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        assert member.group._background == set()
        assert unheard == []

    asyncio.run(begin())


def test_each_partition_gets_an_owner_of_the_group_s_generation_and_is_paused_first() -> None:
    async def play(member: Member) -> None:
        assigning = member.group.on_partitions_assigned(set(PLACES))
        with pytest.raises(StopIteration):
            assigning.send(None)  # it awaits nothing
        assert member.consumer.paused == set(PLACES)
        assert [(owner.partition, owner.generation) for owner in StandIn.all] == [(0, 4), (1, 4), (2, 4)]
        assert member.owned == 3

    run(play)


def test_it_is_ready_when_the_group_has_answered_and_every_partition_is_worked_on() -> None:
    async def play(member: Member) -> None:
        assert not member.is_ready()
        one, other = await member.given(*PLACES[:2])
        assert member.group.states == {0: "taking", 1: "taking"}
        assert not member.is_ready()
        one.state = "working"
        assert not member.is_ready()
        other.state = "working"
        assert member.is_ready()
        await member.group.on_partitions_revoked(set(PLACES[:2]))
        assert not member.is_ready()
        assert member.group.states == {}
        await member.given()
        assert member.is_ready(), "a member without a partition waits for nothing"
        await member.group.on_partitions_revoked(set())
        assert not member.is_ready()

    run(play)


def test_what_is_taken_away_is_finished_and_committed_first() -> None:
    async def play(member: Member) -> None:
        one, other = await member.given(*PLACES[:2])
        one.commands.done(7)
        feed = member.group._feed
        feed._taken.add(PLACES[0])
        await member.group.on_partitions_revoked({PLACES[0]})
        assert not feed._taken, "who goes on waits no more for what another member decides"
        assert member.consumer.commits == [{PLACES[0]: 7}]
        assert [owner.state for owner in (one, other)] == ["stopped", "stopped"]
        assert one.stopped_within_s == module.RELEASE_WITHIN_S
        assert member.owned == 0

    run(play)


def test_a_rebalance_while_it_stops_waits_for_the_batch_in_flight_too_and_gives_it_nothing_more() -> None:
    async def play(member: Member) -> None:
        [owner] = await member.given(PLACES[0])
        owner.may_stop.clear()
        stop = asyncio.create_task(member.group.stop())
        await until(lambda: owner.stopped_within_s)
        revoked = asyncio.create_task(member.group.on_partitions_revoked({PLACES[0]}))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not revoked.done(), "the next owner would find half of a batch"
        owner.commands.done(7)
        owner.may_stop.set()
        await revoked
        await stop
        assert member.consumer.commits == [{PLACES[0]: 7}]
        assert await member.given(*PLACES) == []
        assert not member.is_ready()

    run(play)


def test_offsets_are_committed_now_and_then_never_lower_and_told_to_their_owners() -> None:
    async def play(member: Member) -> None:
        member.group.start()
        one, other = await member.given(*PLACES[:2])
        one.commands.done(7)
        one.commands.done(5)
        other.commands.done(1)
        await until(lambda: member.consumer.commits)
        assert member.consumer.commits == [{PLACES[0]: 7, PLACES[1]: 1}]
        await until(lambda: other.heard)
        assert (one.heard, other.heard) == ([7], [1])
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(member.consumer.commits) == 1, "once is enough"
        one.commands.done(8)
        await until(lambda: one.heard == [7, 8])
        assert member.consumer.commits[1:] == [{PLACES[0]: 8}]

    run(play)


@pytest.mark.parametrize("refusal", [KafkaError(), TimeoutError()])
def test_a_commit_that_failed_is_said_again(refusal: Exception) -> None:
    async def play(member: Member) -> None:
        [owner] = await member.given(PLACES[0])
        member.consumer.refusals = [refusal]
        owner.commands.done(7)
        member.group.start()
        await until(lambda: owner.heard)
        assert member.consumer.commits == [{PLACES[0]: 7}]
        assert member.group.failure is None

    run(play)


def test_what_was_done_in_an_earlier_generation_is_not_committed_in_a_later_one() -> None:
    async def play(member: Member) -> None:
        [owner] = await member.given(PLACES[0])
        await member.group.on_partitions_revoked({PLACES[0]})
        owner.commands.done(7)
        await member.given(PLACES[0])
        member.group.start()
        for _ in range(50):
            await asyncio.sleep(0)
        assert member.consumer.commits == []

    run(play)


@pytest.mark.parametrize(
    ("failure", "text"),
    [(Unrecoverable("another log"), "another log"), (OSError("secret"), "the owner of partition 0 failed: OSError")],
)
def test_an_owner_that_fails_ends_the_allocator(failure: Exception, text: str) -> None:
    async def play(member: Member) -> None:
        one, other = await member.given(*PLACES[:2])
        one.end.set_exception(failure)
        await until(lambda: member.failed)
        other.end.set_exception(Unrecoverable("another one"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (str(member.group.failure), member.failed) == (text, 1)

    run(play)


def test_a_feed_that_fails_ends_the_allocator() -> None:
    async def play(member: Member) -> None:
        member.consumer.failure = OSError("secret")
        await member.given(PLACES[0])
        member.consumer.may_fetch.set()
        await until(lambda: member.failed)
        assert str(member.group.failure) == "what feeds the partitions failed: OSError"

    run(play)


def test_the_end_of_a_feed_or_of_an_owner_is_no_failure() -> None:
    async def play(member: Member) -> None:
        ended, cancelled = await member.given(*PLACES[:2])
        member.consumer.may_fetch.set()
        ended.end.set_result(None)
        cancelled.end.cancel()
        for _ in range(50):
            await asyncio.sleep(0)
        assert member.group.failure is None

    run(play)


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize(("rejoins", "fails"), [(True, 0), (False, 1)])
def test_a_superseded_member_must_learn_that_the_group_went_on(rejoins: bool, fails: int, partitions: int) -> None:
    async def play(member: Member) -> None:
        owner, *_ = await member.given(*PLACES[:partitions])
        owner.state = "superseded"
        owner.end.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if rejoins:
            member.consumer.generation += 1
        async with asyncio.timeout(20):
            await asyncio.gather(*(task for task in member.group._background if task is not member.group._feeding))
        assert member.failed == fails
        if fails:
            assert "is at generation 4, but Redis was written by a later one" in str(member.group.failure)

    run(play, rejoin_within_s=30 if rejoins else 0.05)


def test_owners_begin_from_snapshots_where_there_is_a_folder_of_them(tmp_path: Path) -> None:
    async def play(member: Member) -> None:
        [owner] = await member.given(PLACES[0])
        assert isinstance(owner.snapshots, RebuildSource)

    async def play_without(member: Member) -> None:
        [owner] = await member.given(PLACES[0])
        assert owner.snapshots is None

    run(play, snapshot_folder=tmp_path)
    run(play_without)
