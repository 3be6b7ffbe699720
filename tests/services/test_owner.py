"""What one owner of a partition asks, says, refuses and waits for (spec §4), its log, topics and Redis in memory.

What becomes of several owners when processes, servers and networks fail is simulated in tests/faults.
"""

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from allocation_core.store import HalfWritten, Marks, OtherVersion, Rewind, Superseded, Unfenced, record_digest
from schemas.events import Event
from schemas.wire import written
from services.allocator import owner as module
from services.allocator.owner import LogUnavailable, TooLarge
from services.allocator.records import NOWHERE, CommandRecord, EventPlace, OutRecord
from tests.services.desk import Desk, Log, Saved, Topics, a_command, desk, everything_that_can_happen, rubbish, until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_AFTER_S", 0)
    monkeypatch.setattr(module, "IDLE_CHECK_S", 0)


# -------------------------------------------------------------------------------------------------------------- working


def test_each_record_is_answered_once_and_may_then_be_committed() -> None:
    async def run() -> None:
        here = desk(a_command(0), rubbish(1), rubbish(3), a_command(4))
        async with here.at_work():
            await here.answers(4)
            await until(lambda: here.log.committable == [5])
            await until(lambda: here.store.calls.count("check") > 2)
            assert here.owner.state == "working"
        assert here.topics.places() == [EventPlace(0, 0), EventPlace(4, 0)]
        assert [dict(letter.headers)["opd-source-offset"] for letter in here.topics.letters] == [b"1", b"3"]
        assert all(letter.headers[0] == ("sender", b"x") for letter in here.topics.letters)
        assert here.store.calls[:2] == ["fence", "decide"]
        assert here.log.sought == [0]

    asyncio.run(run())


def test_an_owner_with_nothing_to_do_is_at_work() -> None:
    async def run() -> None:
        here = desk()
        async with here.at_work():
            await until(lambda: here.owner.state == "working")

    asyncio.run(run())


def test_a_batch_is_as_large_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 2)

    async def run() -> None:
        here = desk(*map(a_command, range(5)))
        async with here.at_work():
            await here.answers(5)
            await until(lambda: here.log.committable == [2, 4, 5])
        assert here.store.calls.count("decide") == 3

    asyncio.run(run())


def test_outcomes_go_when_the_group_has_committed_and_never_come_back() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        async with here.at_work():
            await here.answers(1)
            here.owner.committed(1)
            here.owner.committed(0)
            here.log.records.append(a_command(1))
            await here.answers(2)
        assert here.store.committed == [0, 1]

    asyncio.run(run())


def test_a_batch_is_said_while_the_next_is_decided_and_no_third_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 1)

    async def run() -> None:
        here = desk(*map(a_command, range(4)))
        here.topics.may_send.clear()
        async with here.at_work():
            await until(lambda: here.store.calls.count("decide") == 2)
            await everything_that_can_happen()
            assert here.store.calls.count("decide") == 2
            assert here.topics.sending == 1
            assert here.log.committable == []
            here.topics.may_send.set()
            await here.answers(4)
        assert here.topics.places() == [EventPlace(offset, 0) for offset in range(4)]

    asyncio.run(run())


# --------------------------------------------------------------------------------------------------------------- taking


def test_what_is_decided_and_not_yet_said_is_said_from_what_is_stored() -> None:
    async def run() -> None:
        here = desk(*map(a_command, range(4)))
        async with here.at_work():
            await here.answers(4)
        again = Desk(Log(here.log.records, group_has=1), Topics(highest=EventPlace(1, 0)), here.store)
        here.store.calls.clear()
        async with again.at_work():
            await again.answers(2)
        assert again.topics.places() == [EventPlace(2, 0), EventPlace(3, 0)]
        assert again.log.sought == [1], "of the last published command there may be more to say"
        assert "decide" not in here.store.calls

    asyncio.run(run())


def test_what_is_said_and_no_longer_decided_is_decided_again_and_not_said() -> None:
    async def run() -> None:
        here = desk(a_command(0), rubbish(1), a_command(2), rubbish(3), a_command(4))
        here.topics.highest, here.topics.highest_letter, here.log.group_has = EventPlace(2, 0), 3, 2
        async with here.at_work():
            await here.answers(1)
            await until(lambda: here.log.committable)
        assert here.topics.places() == [EventPlace(4, 0)]
        assert here.topics.letters == []
        assert here.log.sought == [0]
        assert here.log.committable == [5]

    asyncio.run(run())


@pytest.mark.parametrize(("answered", "said"), [("committed", 0), ("published", 0), ("dead letter", 0), ("", 1)])
def test_a_dead_letter_that_is_answered_is_not_sent_again(answered: str, said: int) -> None:
    async def run() -> None:
        here = desk(a_command(0), rubbish(1), a_command(2), a_command(3))
        here.log.group_has = 2 if answered == "committed" else 0
        here.topics.highest = EventPlace(2, 0) if answered == "published" else NOWHERE
        here.topics.highest_letter = 1 if answered == "dead letter" else 0
        async with here.at_work():
            await until(lambda: EventPlace(3, 0) in here.topics.places())
        assert len(here.topics.letters) == said

    asyncio.run(run())


def test_a_half_written_state_is_cleared_before_it_is_built_upon() -> None:
    async def run() -> None:
        here = desk(a_command(0), a_command(1), marks=(1, a_command(1)), half=True)
        async with here.at_work():
            await here.answers(2)
        assert here.store.calls[:4] == ["fence", "clear", "fence", "decide"]
        assert here.log.sought == [0]

    asyncio.run(run())


def test_a_missing_outcome_of_what_is_not_said_is_asked_for_twice_and_then_refused() -> None:
    async def run() -> None:
        here = desk(*map(a_command, range(3)), marks=(2, a_command(2)))
        await here.refuses("the command at offset 0 was applied, but its outcome is neither stored nor published")
        assert here.store.calls == ["fence", "outcomes"] * 2
        assert here.topics.events == []

    asyncio.run(run())


def test_a_missing_outcome_of_what_is_said_is_not_missed() -> None:
    async def run() -> None:
        here = desk(*map(a_command, range(4)), marks=(2, a_command(2)))
        here.store.kept = {2: [written(Event("SlotClosed", 3, {"facility_id": "h", "department_id": "d"}))]}
        here.topics.highest = EventPlace(1, 5)
        here.log.group_has = 2
        async with here.at_work():
            await here.answers(2)
        assert here.topics.places() == [EventPlace(2, 0), EventPlace(3, 0)]

    asyncio.run(run())


# ---------------------------------------------------------------------------------------------- what cannot be led on


def test_a_state_of_another_version_is_refused() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["fence"] = [OtherVersion("3")]
        await here.refuses("Redis keeps the state of partition 0 in another layout (3) than this version")

    asyncio.run(run())


def test_a_log_that_ends_before_what_redis_applied_is_refused() -> None:
    async def run() -> None:
        whole = desk(a_command(0), a_command(1), marks=(2, a_command(2)))
        await whole.refuses("partition 0 of commands ends at offset 2, but Redis has applied 2")

    asyncio.run(run())


def test_a_log_that_ends_before_what_is_answered_is_refused() -> None:
    async def run() -> None:
        here = desk(a_command(0), a_command(1))
        here.topics.highest = EventPlace(2, 0)
        await here.refuses("partition 0 of commands ends at offset 2, but the events topic answers 2")

    asyncio.run(run())


def test_a_log_that_begins_behind_what_is_needed_is_refused() -> None:
    async def run() -> None:
        here = desk(a_command(5), marks=(3, a_command(3)))
        here.log.first = 5
        here.topics.highest = EventPlace(4, 0)
        await here.refuses(
            "begins at offset 5, but 4 is needed: the state of Redis (applied 3) cannot be led on. Let "
            "OPD_SNAPSHOT_FOLDER name a folder with a usable snapshot, or restore a Redis that applied at least offset"
            " 4."
        )

    asyncio.run(run())


@pytest.mark.parametrize("there", [[a_command(0), rubbish(1)], [a_command(0), a_command(2)]])
def test_another_record_than_the_applied_one_is_another_log(there: list[CommandRecord]) -> None:
    async def run() -> None:
        here = desk(*there, marks=(1, a_command(1)))
        await here.refuses("holds another record at offset 1 than the one that Redis applied")

    asyncio.run(run())


def test_the_first_record_may_be_another_one_too() -> None:
    async def run() -> None:
        here = desk(rubbish(0), a_command(1), marks=(0, a_command(0)))
        await here.refuses("holds another record at offset 0 than the one that Redis applied")

    asyncio.run(run())


def test_a_log_that_is_trimmed_up_to_what_is_applied_is_led_on() -> None:
    async def run() -> None:
        here = desk(a_command(5), marks=(4, a_command(4)))
        here.log.first = 5
        here.topics.highest = EventPlace(4, 0)
        here.log.group_has = 5
        async with here.at_work():
            await here.answers(1)
        assert here.log.sought == [5]

    asyncio.run(run())


# ------------------------------------------------------------------------------------------------------------ snapshots


def test_a_redis_with_nothing_begins_from_the_newest_snapshot() -> None:
    async def run() -> None:
        here = desk(*map(a_command, range(4)))
        here.log.group_has = 2
        here.topics.highest = EventPlace(1, 0)
        last = a_command(1)
        saved = Saved(here.store, Marks(1, record_digest(last.key, last.value), half_written=False))
        begun = Desk(here.log, here.topics, here.store, saved)
        async with begun.at_work():
            await begun.answers(2)
        assert saved.asked == [(-1, 2)]
        assert here.log.sought == [2]
        assert here.topics.places() == [EventPlace(2, 0), EventPlace(3, 0)]

    asyncio.run(run())


def test_a_redis_with_nothing_and_no_snapshot_begins_at_the_beginning() -> None:
    async def run() -> None:
        here = desk(*map(a_command, range(2)))
        begun = Desk(here.log, here.topics, here.store, Saved(here.store, None))
        async with begun.at_work():
            await begun.answers(2)
        assert here.store.calls[:2] == ["fence", "decide"]
        assert here.log.sought == [0]

    asyncio.run(run())


@pytest.mark.parametrize(("first", "asked"), [(2, []), (3, [(1, 4)])])
def test_a_snapshot_is_loaded_only_where_the_log_does_not_reach_back(first: int, asked: list[tuple[int, int]]) -> None:
    """Redis has applied offset 1, so 2 must be there to lead it on."""

    async def run() -> None:
        here = desk(*map(a_command, range(first, 6)), marks=(1, a_command(1)))
        here.log.first, here.log.group_has = first, 4
        last = a_command(3)
        saved = Saved(here.store, Marks(3, record_digest(last.key, last.value), half_written=False))
        begun = Desk(here.log, here.topics, here.store, saved)
        async with begun.at_work():
            await begun.answers(2)
        assert saved.asked == asked
        assert here.topics.places() == [EventPlace(4, 0), EventPlace(5, 0)]

    asyncio.run(run())


# ------------------------------------------------------------------------------------------------- waiting and stopping


@pytest.mark.parametrize("refusal", [Unfenced("3"), Rewind("-1"), HalfWritten("0")])
@pytest.mark.parametrize("call", ["decide", "check"])
def test_what_turns_out_otherwise_leads_back_to_taking(call: str, refusal: Exception) -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers[call] = [refusal]
        async with here.at_work():
            await here.answers(1)
            await until(lambda: here.store.calls.count("fence") == 2)
            await until(lambda: here.owner.state == "working")
        assert here.store.states_at_a_fence == ["taking", "taking"]
        assert here.topics.places() == [EventPlace(0, 0)]

    asyncio.run(run())


def test_the_marks_are_not_read_again_before_it_is_known_what_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spec §4: else what is on its way would be said twice."""
    monkeypatch.setattr(module, "IDLE_CHECK_S", 3600)

    async def run() -> None:
        here = desk(a_command(0))
        here.topics.may_send.clear()
        async with here.at_work():
            await until(lambda: here.topics.sending)
            here.store.answers["decide"] = [Rewind("0")]
            here.log.records.append(a_command(1))
            await until(lambda: here.store.calls.count("decide") == 2)
            await everything_that_can_happen()
            assert here.store.calls.count("fence") == 1
            here.topics.may_send.set()
            await here.answers(2)
        assert here.topics.places() == [EventPlace(0, 0), EventPlace(1, 0)]

    asyncio.run(run())


def test_whom_another_owner_superseded_ends() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["decide"] = [Superseded("6")]
        await asyncio.wait_for(here.owner.start(), 10)
        assert here.owner.state == "superseded"
        assert here.log.is_paused
        assert here.store.calls == ["fence", "decide"]
        assert here.topics.events == []

    asyncio.run(run())


def test_who_lost_the_partition_sends_no_dead_letters_again_either() -> None:
    async def run() -> None:
        here = desk(rubbish(0), marks=(0, rubbish(0)))
        here.store.answers["check"] = [Superseded("6")]
        await asyncio.wait_for(here.owner.start(), 10)
        assert here.owner.state == "superseded"
        assert here.store.calls == ["fence", "check"]
        assert here.topics.letters == []

    asyncio.run(run())


def test_an_idle_owner_asks_redis_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_CHECK_S", 3600)

    async def run() -> None:
        here = desk(a_command(0))
        async with here.at_work():
            await until(lambda: here.log.committable)
            await everything_that_can_happen()
        assert here.store.calls == ["fence", "decide"]

    asyncio.run(run())


def test_redis_is_waited_for() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["fence"] = [NotConnected("refused")] * 3
        async with here.at_work():
            await until(lambda: here.owner.state == "waiting: Redis")
            await here.answers(1)
            await until(lambda: here.owner.state == "working")
        assert here.store.states_at_a_fence == ["taking", *["waiting: Redis"] * 3], "it waits until it works again"
        assert here.topics.places() == [EventPlace(0, 0)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failure", "state"),
    [(LogUnavailable("no answer"), "waiting: Kafka"), (TooLarge("too large"), "waiting: a topic that takes larger")],
)
def test_kafka_is_waited_for_and_nothing_dropped(failure: Exception, state: str) -> None:
    async def run() -> None:
        here = desk(rubbish(0), a_command(1))
        here.topics.failures = [failure] * 3
        async with here.at_work():
            await until(lambda: here.owner.state.startswith(state))
            await here.answers(2)
            await until(lambda: here.log.committable == [2])
            await until(lambda: here.owner.state == "working")
        assert here.topics.places() == [EventPlace(1, 0)]
        assert len(here.topics.letters) == 1
        assert {one.partition(":")[0] for one in here.store.states_at_a_fence[1:]} == {"waiting"}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failure", "state", "level"),
    [
        (NotConnected("refused"), "waiting: Redis", "warning"),
        (OutOfMemoryError("maxmemory"), "waiting: room in Redis, which is at its maxmemory", "error"),
        (LogUnavailable("no answer"), "waiting: Kafka", "warning"),
        (TooLarge("too large"), "waiting: a topic that takes larger records", "error"),
    ],
)
def test_a_wait_is_told_once_as_an_error_only_if_an_operator_must_mend_it(
    failure: Exception, state: str, level: str
) -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["fence"] = [failure] * 3
        async with here.at_work():
            await until(lambda: here.owner.state == state)
            await until(lambda: here.owner.state == "working")
        assert here.store.states_at_a_fence == ["taking", *[state] * 3]

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["log_level"] for line in logs if line["event"] == "waiting"] == [level]


def test_redis_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_AFTER_S", 3600)

    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["decide"] = [NotConnected("refused")]
        here.owner.start()
        await until(lambda: here.owner.state == "waiting: Redis")
        await everything_that_can_happen()
        assert here.store.calls == ["fence", "decide"]
        await here.owner.stop(within_s=0)

    asyncio.run(run())


@pytest.mark.parametrize("calls", [["fence"], ["fence", "decide", "fence"]])
def test_a_stop_does_not_wait_for_an_owner_that_is_taking(calls: list[str]) -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.answers["decide"] = [Rewind("0")]
        here.store.hanging = set(calls)
        task = here.owner.start()
        for number, call in enumerate(calls, start=1):
            await until(lambda: len(here.store.calls) == number)  # noqa: B023  it is waited for at once
            here.store.hanging = set(calls) - {call}
            if number == len(calls):
                here.store.hanging = {call}
        assert here.store.calls == calls
        await asyncio.wait_for(here.owner.stop(within_s=3600), 10)
        assert task.done()

    asyncio.run(run())


def test_a_stop_lets_the_batch_be_decided_and_said() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.store.hanging = {"decide"}
        here.owner.start()
        await until(lambda: "decide" in here.store.calls)
        stopping = asyncio.create_task(here.owner.stop(within_s=20))
        await everything_that_can_happen()
        assert not stopping.done()
        here.store.hanging = set()
        await stopping
        assert here.topics.places() == [EventPlace(0, 0)]
        assert here.log.committable == [1]

    asyncio.run(run())


def test_a_stop_lets_the_batch_in_flight_finish() -> None:
    async def run() -> None:
        here = desk(a_command(0))
        here.topics.may_send.clear()
        task = here.owner.start()
        await until(lambda: here.topics.sending)
        stopping = asyncio.create_task(here.owner.stop(within_s=20))
        await everything_that_can_happen()
        assert not stopping.done()
        here.topics.may_send.set()
        await stopping
        assert task.done()
        assert here.topics.places() == [EventPlace(0, 0)]
        assert here.log.committable == [1]

    asyncio.run(run())


@pytest.mark.parametrize("idle_check_s", [0, 3600])
def test_a_stop_waits_no_longer_than_it_was_told(idle_check_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_CHECK_S", idle_check_s)

    async def run() -> None:
        here = desk(a_command(0))
        here.topics.may_send.clear()
        task = here.owner.start()
        await until(lambda: here.topics.sending)
        await asyncio.wait_for(here.owner.stop(within_s=0.01), 10)
        assert task.done()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert here.topics.events == []
        assert here.log.committable == []

    asyncio.run(run())


def test_a_stop_gives_up_what_is_said_while_another_batch_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_CHECK_S", 3600)

    async def run() -> None:
        here = desk(a_command(0))
        publish = here.topics.publish_events

        async def publish_and_tidy_up(records: Sequence[OutRecord]) -> None:
            try:
                await publish(records)
            finally:
                await everything_that_can_happen()

        monkeypatch.setattr(here.topics, "publish_events", publish_and_tidy_up)
        here.topics.may_send.clear()
        here.owner.start()
        await until(lambda: here.topics.sending)
        here.store.hanging = {"decide"}
        here.log.records.append(a_command(1))
        await until(lambda: here.store.calls.count("decide") == 2)
        await asyncio.wait_for(here.owner.stop(within_s=0.01), 10)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "it is over when the stop is"
        assert here.topics.events == []

    asyncio.run(run())


def test_an_owner_that_never_began_can_be_stopped() -> None:
    async def run() -> None:
        here = desk()
        await here.owner.stop(within_s=1)
        task = here.owner.start()
        await asyncio.wait_for(task, 10)
        assert here.store.calls == []

    asyncio.run(run())
