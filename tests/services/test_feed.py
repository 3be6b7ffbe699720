"""What the allocator keeps of what was fetched: bounded in records and in bytes, and nothing lost on the way."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from services.allocator import feed
from services.allocator.feed import CommandFeed
from tests.services.desk import everything_that_can_happen, until

PLACE, OTHER = TopicPartition("commands", 0), TopicPartition("commands", 1)


class FakeConsumer:
    """Gives records of one partition as long as it is not paused, and stops when there are no more."""

    def __init__(self, sizes: Sequence[int], part: str) -> None:
        self.sizes = list(sizes)
        self.part = part
        self.given = 0
        self.paused: set[TopicPartition] = set()

    def pause(self, place: TopicPartition) -> None:
        self.paused.add(place)

    def resume(self, place: TopicPartition) -> None:
        self.paused.discard(place)

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert (place, offset) == (PLACE, 0)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        await asyncio.sleep(0)
        if self.given == len(self.sizes):
            raise ConsumerStoppedError
        if PLACE in self.paused:
            return {}
        size = self.sizes[self.given]
        key, value, header = (bytes(size) if part == self.part else b"" for part in ("key", "value", "header"))
        headers = (("", header),) if header else ()
        record = ConsumerRecord("commands", 0, self.given, 0, 0, key, value, None, len(key), len(value), headers)
        self.given += 1
        return {PLACE: [record]}


@pytest.mark.parametrize("part", ["key", "value", "header"])
@pytest.mark.parametrize(("size", "kept"), [(1, 40), (1_000, 10), (9_999, 2), (1_000_000, 1)])
def test_it_keeps_no_more_than_enough_and_gives_all_in_order(
    size: int, kept: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ENOUGH_RECORDS", 40)
    monkeypatch.setattr(feed, "ENOUGH_BYTES", 10_000)
    consumer = FakeConsumer([size] * 100, part)

    async def take_all() -> list[int]:
        commands = CommandFeed(lambda: consumer)
        commands.hold(PLACE)
        commands.start_at(PLACE, 0)
        commands.release(PLACE)
        running = asyncio.create_task(commands.run())
        taken: list[int] = []
        while len(taken) < 100:
            for _ in range(200):
                await asyncio.sleep(0)
            assert consumer.given - len(taken) <= kept
            taken += [record.offset for record in await commands.take(PLACE, most=7, wait_s=5)]
        await running
        return taken

    assert asyncio.run(take_all()) == list(range(100))


class Broker:
    """A consumer that gives or raises what it is told, in this order, and then nothing; it knows some partitions."""

    def __init__(self) -> None:
        self.replies: list[dict[TopicPartition, list[Any]] | Exception] = []
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.known = {PLACE, OTHER}
        self.paused: set[TopicPartition] = set()
        self.sought: list[tuple[TopicPartition, int]] = []

    def pause(self, place: TopicPartition) -> None:
        self._expect(place)
        self.paused.add(place)

    def resume(self, place: TopicPartition) -> None:
        self._expect(place)
        self.paused.discard(place)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.sought.append((place, offset))

    def _expect(self, place: TopicPartition) -> None:
        if place not in self.known:
            raise IllegalStateError(f"No current assignment for partition {place}")

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        self.asked += 1
        while not self.replies:
            self.may_answer.clear()
            await self.may_answer.wait()
        await asyncio.sleep(0)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def answers(self, *replies: dict[TopicPartition, list[Any]] | Exception) -> None:
        self.replies += replies
        self.may_answer.set()


def some(*sizes: int) -> list[Any]:
    """Records with values of these sizes, at the offsets from 0 on."""
    return [
        ConsumerRecord("commands", 0, offset, 0, 0, None, bytes(size), None, -1, size, ())
        for offset, size in enumerate(sizes)
    ]


def fed(play: Callable[[Broker, CommandFeed], Coroutine[Any, Any, None]]) -> None:
    """Play with a feed that runs, with two partitions that are released."""

    async def run() -> None:
        broker = Broker()
        commands = CommandFeed(lambda: broker)
        for place in (PLACE, OTHER):
            commands.hold(place)
            commands.release(place)
        running = asyncio.create_task(commands.run())
        await play(broker, commands)
        broker.answers(ConsumerStoppedError())
        await asyncio.wait_for(running, 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sizes", "taken_in_vain"),
    [((1,) * 8, 4), ((10, 10, 10, 10), 2), ((40,), 0)],
)
def test_a_partition_with_enough_is_fetched_again_when_less_than_half_is_left(
    sizes: Sequence[int], taken_in_vain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ENOUGH_RECORDS", 8)
    monkeypatch.setattr(feed, "ENOUGH_BYTES", 40)

    async def play(broker: Broker, commands: CommandFeed) -> None:
        broker.answers({PLACE: some(*sizes)}, {OTHER: some(10, 10, 10, 9)})
        await until(lambda: broker.asked == 3)
        assert broker.paused == {PLACE}, "of the other one there is not enough yet"
        for _ in range(taken_in_vain):
            assert len(await commands.take(PLACE, most=1, wait_s=5)) == 1
            assert broker.paused == {PLACE}
        await commands.take(PLACE, most=1, wait_s=5)
        assert broker.paused == set()
        broker.answers({OTHER: some(1)})
        await until(lambda: broker.paused == {OTHER})

    fed(play)


@pytest.mark.parametrize(
    ("failure", "told"),
    [(KafkaError(OTHER), {OTHER}), (KafkaError("no broker"), {PLACE, OTHER}), (KafkaError(), {PLACE, OTHER})],
)
def test_a_failure_is_told_once_to_the_partition_that_it_names_or_to_all_and_fetching_goes_on(
    failure: KafkaError, told: set[TopicPartition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RETRY_AFTER_S", 0)

    async def play(broker: Broker, commands: CommandFeed) -> None:
        taking = {place: asyncio.create_task(commands.take(place, most=9, wait_s=5)) for place in (PLACE, OTHER)}
        await everything_that_can_happen()
        broker.answers(failure)
        await until(lambda: all(taking[place].done() for place in told))
        await everything_that_can_happen()
        assert {place for place, task in taking.items() if task.done() and task.exception() is failure} == told
        broker.answers({PLACE: some(1), OTHER: some(1)})
        for place, task in taking.items():
            taken = commands.take(place, most=9, wait_s=5) if place in told else task
            assert [record.offset for record in await taken] == [0]

    fed(play)


def test_after_a_failure_the_broker_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RETRY_AFTER_S", 3600)

    async def run() -> None:
        broker = Broker()
        running = asyncio.create_task(CommandFeed(lambda: broker).run())
        broker.answers(KafkaError(), KafkaError())
        await everything_that_can_happen()
        assert broker.asked == 1
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())


def test_a_held_partition_hears_of_no_failure_and_gets_nothing_that_was_fetched_before() -> None:
    async def play(broker: Broker, commands: CommandFeed) -> None:
        commands.hold(PLACE)
        assert broker.paused == {PLACE}
        unknown = TopicPartition("commands", 7)
        broker.answers({PLACE: some(1, 1), unknown: some(1)}, {OTHER: some(1)})
        assert len(await commands.take(OTHER, most=9, wait_s=5)) == 1
        commands._fail(KafkaError())
        commands.start_at(PLACE, 5)
        commands.release(PLACE)
        assert broker.paused == set()
        assert broker.sought == [(PLACE, 5)]
        assert await commands.take(PLACE, most=9, wait_s=0) == ()

    fed(play)


def test_who_took_everything_waits_for_the_next_record() -> None:
    async def play(broker: Broker, commands: CommandFeed) -> None:
        broker.answers({PLACE: some(1)})
        assert len(await commands.take(PLACE, most=9, wait_s=5)) == 1
        taking = asyncio.create_task(commands.take(PLACE, most=9, wait_s=5))
        await everything_that_can_happen()
        assert not taking.done()
        broker.answers({PLACE: some(1)})
        assert len(await taking) == 1

    fed(play)


def test_a_partition_that_was_taken_away_is_not_paused_and_disturbs_nobody() -> None:
    async def play(broker: Broker, commands: CommandFeed) -> None:
        broker.known = {OTHER}
        commands.hold(PLACE)
        commands.release(PLACE)
        broker.answers({OTHER: some(1)})
        assert len(await commands.take(OTHER, most=9, wait_s=5)) == 1

    fed(play)


def test_what_is_decided_at_the_same_time_is_said_together_and_nobody_waits_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "TOGETHER_WITHIN_S", 60)

    async def play(broker: Broker, commands: CommandFeed) -> None:
        async def may_say_at_once(place: TopicPartition, records: int) -> bool:
            waiting = asyncio.create_task(commands.others_decided(place, records))
            await everything_that_can_happen()
            is_done = waiting.done()
            waiting.cancel()
            return is_done

        assert await may_say_at_once(PLACE, 1), "nobody else decides anything"
        broker.answers({PLACE: some(1, 1), OTHER: some(1)})
        await commands.take(PLACE, most=1, wait_s=5)
        await commands.take(OTHER, most=1, wait_s=5)
        assert await may_say_at_once(PLACE, 1), "its next batch is being decided already"
        assert not await commands.take(OTHER, most=1, wait_s=0)
        assert await may_say_at_once(OTHER, feed.LARGE_RECORDS), "much to say waits for nobody"
        assert not await may_say_at_once(OTHER, 1), "the other one is deciding"
        waiting = asyncio.create_task(commands.others_decided(OTHER, 1))
        await commands.take(PLACE, most=1, wait_s=5)
        assert not await may_say_at_once(OTHER, 1), "and goes on deciding"
        commands.hold(PLACE)  # it was taken away, or begins anew
        await waiting
        assert await may_say_at_once(OTHER, 1)
        await commands.take(OTHER, most=1, wait_s=0)
        monkeypatch.setattr(feed, "TOGETHER_WITHIN_S", 0.01)
        commands.release(PLACE)
        broker.answers({PLACE: some(1)})
        await commands.take(PLACE, most=1, wait_s=5)
        await commands.others_decided(OTHER, 1)  # who takes long is not waited for
        monkeypatch.setattr(feed, "TOGETHER_WITHIN_S", 60)
        assert not await may_say_at_once(OTHER, 1)
        commands.let_go()
        assert await may_say_at_once(OTHER, 1), "another member decides that now"

    fed(play)
