"""Events as they come: each once, from where the reader was, as far as it may see them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.gateway import feed as feeds
from services.gateway import streams
from services.gateway.access import Access
from services.gateway.audited import Asked
from services.gateway.feed import EventFeed, Record
from services.gateway.identity import Identity
from services.gateway.permissions import Action, Reach, Role
from services.gateway.routes.events import as_seen
from services.gateway.said import EventPlace, Place, place_of
from services.gateway.streams import told
from tests.gateway.world import POOL, SLOT, Run, World, bearer, events_in

KEY = b"blr1/cardiology"


def event(offset: int, n: int = 0, partition: int = 0, **data: Any) -> bytes:
    envelope = {"specversion": "1.0", "id": f"{partition}-{offset}-{n}", "type": "opd.TokenConfirmed.v1", "data": data}
    return json.dumps(envelope, separators=(",", ":")).encode()


class Log:
    def __init__(self, *values: bytes) -> None:
        self.values = values

    async def events_after(self, place: EventPlace) -> AsyncGenerator[Record]:
        for value in self.values:
            found = place_of(value)
            assert found is not None
            if found > place:
                yield Record(KEY, value, found)


def stream(feed: EventFeed, log: Log, last: EventPlace | None = None) -> AsyncGenerator[bytes]:
    return told(feed, log, KEY, last, lambda record: record.value)


async def ids(told_: AsyncGenerator[bytes], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found += events_in((await anext(told_)).decode())
    return found


def test_a_reader_hears_each_event_once_from_where_it_was() -> None:
    async def run() -> None:
        feed = EventFeed()
        log = Log(event(1), event(2), event(1), event(2), event(2, 1))  # a repeat stands behind
        reading = stream(feed, log, EventPlace(0, 1, 0))
        await anext(reading)
        feed.take(0, [(KEY, event(2, 1)), (b"blr1/other", event(3)), (KEY, event(4))], at_end=True)
        assert await ids(reading, 3) == ["0-2-0", "0-2-1", "0-4-0"]
        await reading.aclose()
        assert not feed._streams, "nobody follows any more"

    asyncio.run(run())


def test_who_names_no_event_hears_from_now_on() -> None:
    async def run() -> None:
        feed = EventFeed()
        reading = stream(feed, Log(event(1)))
        await anext(reading)
        feed.take(0, [(KEY, event(5))], at_end=True)
        assert await ids(reading, 1) == ["0-5-0"]
        await reading.aclose()

    asyncio.run(run())


def test_a_slow_reader_is_cut_off_and_holds_nobody_up() -> None:
    async def run() -> None:
        feed = EventFeed()
        slow, quick = stream(feed, Log()), stream(feed, Log())
        await anext(slow)
        await anext(quick)
        total = feeds.STREAM_EVENTS + 500
        heard: list[str] = []
        for offset in range(total):
            feed.take(0, [(KEY, event(offset))], at_end=True)
            heard += await ids(quick, 1)
        assert len(heard) == total
        late = [each async for text in slow for each in events_in(text.decode())]
        assert late == heard[: feeds.STREAM_EVENTS], "what it had not missed yet, then the end"
        await quick.aclose()

    asyncio.run(run())


def test_a_quiet_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ALIVE_EVERY_S", 0.01)

    async def run() -> None:
        reading = stream(EventFeed(), Log())
        await anext(reading)
        assert (await anext(reading)).startswith(b":")
        await reading.aclose()

    asyncio.run(run())


def test_an_outcome_is_whole_when_a_later_one_begins_or_nothing_is_left() -> None:
    async def run() -> None:
        feed = EventFeed()
        waiting = asyncio.create_task(feed.outcome(Place(0, 7), timeout_s=5))
        await asyncio.sleep(0)
        feed.take(0, [(KEY, event(7))], at_end=False)
        await asyncio.sleep(0)
        assert not waiting.done(), "more of it may come"
        feed.take(0, [(KEY, event(7, 1)), (KEY, event(7)), (KEY, event(8))], at_end=False)
        assert await waiting == [event(7), event(7, 1)]
        assert await feed.outcome(Place(0, 7), timeout_s=0) == [event(7), event(7, 1)], "heard before it was asked for"
        assert await feed.outcome(Place(0, 8), timeout_s=0.01) is None
        feed.take(0, [], at_end=True)
        assert await feed.outcome(Place(1, 8), timeout_s=0.01) is None, "another partition's"

    asyncio.run(run())


def access(role: Role, reach: Reach, **claims: str) -> Access:
    caller = Identity.model_validate({"sub": "x", "role": role, "facilities": "*", **claims})
    return Access(caller, reach, Asked(Action.FOLLOW, caller))


SEEN = [
    (access(Role.ADMIN, Reach.ALL), {"patient_id": "p1"}, "p1"),
    (access(Role.AUDITOR, Reach.WITHOUT_PATIENTS), {"patient_id": "p1"}, ""),
    (access(Role.PATIENT, Reach.OWN, patient_id="p1"), {"patient_id": "p1"}, "p1"),
    (access(Role.PATIENT, Reach.OWN, patient_id="p1"), {"patient_id": "p2"}, None),
    (access(Role.PATIENT, Reach.OWN, patient_id="p1"), {"doctor_id": "d1"}, None),
    (access(Role.DOCTOR, Reach.OWN, doctor_id="d1"), {"patient_id": "p1", "doctor_id": "d1"}, "p1"),
    (access(Role.DOCTOR, Reach.OWN, doctor_id="d1"), {"patient_id": "p1", "lost_doctor_id": "d1"}, "p1"),
    (access(Role.DOCTOR, Reach.OWN, doctor_id="d1"), {"patient_id": "p1", "doctor_id": "d2"}, None),
]


@pytest.mark.parametrize(("who", "data", "expected"), SEEN)
def test_everybody_sees_what_is_for_them(who: Access, data: dict[str, str], expected: str | None) -> None:
    pool: dict[str, Any] = {"date": POOL["date"], "slot": SLOT}
    said: dict[str, Any] = {**pool, **data}
    for wanted in ((None, None), (pool["date"], None), (pool["date"], SLOT)):
        seen = as_seen(event(1, **said), who, *wanted)
        assert (seen and json.loads(seen)["data"].get("patient_id", "")) == expected
    assert as_seen(event(1, **said), who, None, "11:00-12:00") is None


def test_a_place_of_another_partition_is_no_place_here(in_world: Run) -> None:
    async def run(world: World) -> None:
        other = 1 - world.log.partition_of(KEY)
        answer = await world.get(
            "/events?facility_id=blr1&department_id=cardiology", Last_Event_ID=f"{other}-1-0", **bearer(role="portal")
        )
        assert answer.json()["errors"] == [
            {"field": "header.last-event-id", "fault": "not an event of this department"}
        ]

    in_world(run)
