"""When a patient will be called, as the gateway tells it: from today's line, and from what days have been like."""

from datetime import date, datetime, timedelta
from itertools import repeat
from typing import Any

import pytest

from allocation_core.calendar import day_of_date
from allocation_core.estimate import Experience
from allocation_core.model import Model
from schemas.commands import Command
from schemas.wire import UnreadableRecord, read_command
from services.settings import SettingError, read_settings
from services.simulator.day import Day, Habits
from services.simulator.diary import Diary
from services.simulator.world import World as SimulatedWorld
from tests.gateway.world import DATE, POOL, SLOT, Run, World, bearer
from tests.history.log import Log, project

MINUTE_MS = 60_000
NINE_MS = 1_795_424_400_000  # 2026-11-23T09:00:00Z
TODAY = date.fromisoformat(DATE)


def _played(day: Day) -> tuple[list[tuple[Command, int]], dict[str, Diary]]:
    midnight_ms = day_of_date(day.day) * 86_400_000
    model, world, said = Model(), SimulatedWorld(day), []
    diaries: dict[str, Diary] = {}
    while (step := world.next_step()) is not None:
        learned: list[dict[str, Any]] = []
        for posting in step.postings:
            at_ms = midnight_ms + posting.due_ms
            try:
                command = read_command(posting.key, posting.value, at_ms)
            except UnreadableRecord:
                continue
            said.append((command, at_ms))
            for event in model.decide(command, at_ms):
                department_id = event.data["department_id"]
                diary = diaries.setdefault(department_id, Diary(day.day, midnight_ms / 1000))
                diary.take(event.type, event.data, at_ms / 1000)
                learned.append({"type": f"opd.{event.type}.v1", "data": event.data, "causationid": command.id})
        world.learn(learned)
    return said, diaries


def _numbers(experience: Experience) -> dict[str, Any]:
    return {
        "paces": {doctor_id: pytest.approx(pace) for doctor_id, pace in experience.paces.items() if pace.number},
        "doctor_days": experience.doctor_days,
        "late": pytest.approx(experience.late),
        "arrivals": pytest.approx(experience.arrivals),
        "came": (experience.came, experience.expected),
        "asked": dict(experience.asked),
    }


def _as_they_are(experience: Experience) -> dict[str, Any]:
    numbers = _numbers(experience)
    return {
        **numbers,
        "paces": dict(experience.paces),
        "late": experience.late,
        "arrivals": experience.arrivals,
    }


def test_postgresql_tells_what_the_simulators_diary_keeps(in_world: Run) -> None:
    """The estimates' quality is measured with the one, and what is told comes from the other."""
    habits = Habits(comes_late=0.5, late_minutes=20, stays_away=0.2)
    said, diaries = _played(Day(7, DATE, doctors=6, patients=150, departments=2, habits=habits))

    async def run(world: World) -> None:
        log = Log(2)
        log.say(said)
        await project(world.log._connection, world.log._schema, log, repeat(5000))
        for department_id, diary in diaries.items():
            found = await world.parts.estimates._experience(("blr1", department_id), TODAY, TODAY, 60)
            assert _as_they_are(found) == _numbers(diary.experience()), department_id
            before = await world.parts.estimates._experience(
                ("blr1", department_id), TODAY - timedelta(days=14), TODAY - timedelta(days=1), 60
            )
            assert before == Experience()

    in_world(run)


async def _consult(world: World, patients: int) -> None:
    """Let so many come, and six be seen one after the other, ten minutes each on average."""
    for number in range(patients):
        token = (await world.book(f"p{number}", "PAID")).json()
        await world.post(f"/tokens/{token['token_id']}/check-in")
    for minutes in (10, 7, 13, 8, 12, 10):
        world.log.engine.timestamp_ms += minutes * MINUTE_MS
        await world.post("/doctors/dr-rao/call-next", POOL)


def test_a_token_and_a_pool_tell_when(in_world: Run) -> None:
    async def run(world: World) -> None:
        world.log.engine.timestamp_ms = NINE_MS - 60 * MINUTE_MS
        await world.register(capacity=12)
        mine = (await world.book("p-mine")).json()["token_id"]
        assert "estimate" not in (await world.get(f"/tokens/{mine}")).json(), "nobody was seen here yet"
        world.log.engine.timestamp_ms = NINE_MS
        await world.post(f"/tokens/{mine}/check-in")
        await _consult(world, 9)
        world.parts.estimates._known.clear()

        token = (await world.get(f"/tokens/{mine}")).json()
        now = world.log.now
        p50, p80 = (datetime.fromisoformat(token["estimate"][name]) for name in ("p50", "p80"))
        assert datetime.fromisoformat(token["estimate"]["as_of"]) == now
        # One has just gone in, and three of a higher class wait.
        assert timedelta(minutes=35) < p50 - now < timedelta(minutes=50)
        assert p50 < p80 < now + timedelta(minutes=75)
        pool = (await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}", **bearer(role="portal"))).json()
        assert datetime.fromisoformat(pool["estimate"]["p50"]) > p50, "who comes now comes after it"
        called = (await world.get("/tokens?facility_id=blr1&status=CALLED")).json()["tokens"][0]["token_id"]
        assert "estimate" not in (await world.get(f"/tokens/{called}")).json()
        await world.post("/slots/close", POOL)
        assert "estimate" not in (await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}")).json()

    in_world(run)


def test_nothing_is_told_of_who_waits_for_a_seat_nor_of_another_day(in_world: Run) -> None:
    async def run(world: World) -> None:
        world.log.engine.timestamp_ms = NINE_MS
        await world.register(capacity=7)
        await _consult(world, 7)
        waiting = (await world.book("p-late")).json()["token_id"]
        tomorrow = (await world.book("p-other", date="2026-11-24")).json()["token_id"]
        world.parts.estimates._known.clear()

        for token_id in (waiting, tomorrow):
            assert "estimate" not in (await world.get(f"/tokens/{token_id}")).json()
        for day in (DATE, "2026-11-24"):
            assert "estimate" not in (await world.get(f"/pools/blr1/cardiology/{day}/{SLOT}")).json(), day

    in_world(run)


def test_what_departments_were_like_is_kept_for_a_while_and_not_for_everybody(
    in_world: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.estimates._KEPT", 2)

    async def run(world: World) -> None:
        estimates = world.parts.estimates
        for number in range(5):
            await estimates._experience(("blr1", f"d{number}"), TODAY, TODAY, 60)
        assert len(estimates._known) <= 2

    in_world(run)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="no time zone: one like Asia/Kolkata"):
        read_settings({"time_zone": name})
