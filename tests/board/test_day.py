"""A day as screens show it: what events make of it is what one reads."""

import random
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json

from schemas.words import Source
from services.board.day import Day
from services.gateway.said import EventPlace
from tests.gateway.conftest import in_world  # noqa: F401  a fixture
from tests.gateway.world import DATE, POOL, SLOT, Run, World

DOCTORS = ("dr-a", "dr-b")


async def _read(world: World) -> tuple[Day, EventPlace]:
    """Read the day as the board does: the position first."""
    [department] = (await world.get("/departments?facility_id=blr1")).json()["departments"]
    day = Day()
    for doctor in (await world.get("/doctors?facility_id=blr1&department_id=cardiology")).json()["doctors"]:
        day.doctors[doctor["doctor_id"]] = doctor["name"]
    day.add_pool((await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}")).json())
    for token in (await world.get(f"/tokens?facility_id=blr1&date={DATE}&limit=200")).json()["tokens"]:
        day.add_token(token)
    return day, EventPlace.read(department["position"])


async def _events_after(world: World, place: EventPlace) -> AsyncIterator[tuple[str, str, str, dict[str, Any]]]:
    async for record in world.log.events_after(place):
        event = from_json(record.value)
        if event["data"].get("date") == DATE:
            yield event["id"], event["type"][4:-3], event["time"], event["data"]


async def _something(world: World, chance: random.Random, number: int) -> None:
    token = f"blr1.cardiology.{DATE.replace('-', '')}.{chance.randint(1, number)}"
    doctor = chance.choice(DOCTORS)
    match chance.randint(0, 8):
        case 0 | 1 | 2:
            pin = {"doctor_id": doctor} if chance.random() < 0.2 else {}
            await world.book(f"p{number}", chance.choice(list(Source)), **pin)
        case 3 | 4:
            await world.post(f"/tokens/{token}/check-in")
        case 5:
            await world.post(f"/tokens/{token}/{chance.choice(('cancel', 'no-show', 'complete'))}")
        case 6:
            await world.post(f"/doctors/{doctor}/call-next", POOL)
        case 7:
            await world.put(f"/doctors/{doctor}/capacity", {**POOL, "capacity": chance.randint(0, 6)})
        case 8:
            await world.put(f"/doctors/{doctor}/availability", {**POOL, "available": chance.random() < 0.7})


def test_a_day_that_is_followed_is_the_day_that_is_read(in_world: Run) -> None:  # noqa: F811
    async def run(world: World) -> None:
        chance = random.Random(7)
        for doctor in DOCTORS:
            await world.register(doctor, capacity=4)
        followed, place = await _read(world)
        for number in range(1, 121):
            if number == 60:
                again, place_then = await _read(world)
            await _something(world, chance, number)
        await world.post("/slots/close", POOL)
        read, _ = await _read(world)
        numbers = range(1, 200)
        for day, since in ((followed, place), (again, place_then)):
            heard = [event async for event in _events_after(world, since)]
            for event in heard + heard[-20:]:  # some again, as after a broken connection
                day.take(*event)
            assert {**day.as_shown({}), "as_of": ""} == read.as_shown({})
            told, expected = day.of_tokens(numbers, {}), read.of_tokens(numbers, {})
            assert {number: {**each, "changed_by": ""} for number, each in told.items()} == expected
        assert len(read.tokens) > 30
        assert any(each["now"] for doctor in read.as_shown({})["doctors"] for each in doctor["sessions"])

    in_world(run)


def _day() -> Day:
    day = Day(doctors={"dr-a": "Dr A"})
    day.add_pool({"slot": SLOT, "closed": False, "sessions": [{"doctor_id": "dr-a", "capacity": 3, "available": True}]})
    return day


def _token(number: int, status: str, source: str = "ONLINE", **more: Any) -> dict[str, Any]:
    doctor = {} if status == "WAITLISTED" else {"doctor_id": "dr-a"}
    return {"token_no": number, "slot": SLOT, "source": source, "status": status, **doctor, **more}


def test_who_is_next_is_by_class_then_arrival_and_only_who_is_there() -> None:
    day = _day()
    for token in (
        _token(1, "CHECKED_IN", checked_in_at="now"),
        _token(2, "CONFIRMED", "EMERGENCY"),
        _token(3, "CHECKED_IN", "PAID", checked_in_at="now"),
        _token(4, "CALLED"),
        _token(5, "WAITLISTED", checked_in_at="now"),
        _token(6, "WAITLISTED", "PAID"),
    ):
        day.add_token(token)
    shown = day.as_shown({"dr-a": "12"})
    [doctor] = shown["doctors"]
    [session] = doctor["sessions"]
    assert (doctor["name"], doctor["room"]) == ("Dr A", "12")
    assert (session["now"], session["next"], session["here"], session["taken"]) == (4, [3, 1], 2, 4)
    [slot] = shown["slots"]
    assert (slot["capacity"], slot["taken"], slot["waiting"], slot["here"]) == (3, 4, 2, 3)
    told = day.of_tokens([1, 2, 3, 5, 6, 7], {"dr-a": "12"})
    assert [told[number]["ahead"] for number in (1, 2, 3)] == [1, None, 0]
    assert [told[number]["position"] for number in (5, 6)] == [2, 1]
    assert told[5]["is_present"]
    assert told[1]["doctor"] == "Dr A"
    assert 7 not in told


def test_a_seat_is_given_back_and_a_place_in_the_hall_is_kept() -> None:
    day = _day()
    day.add_token(_token(1, "CHECKED_IN", checked_in_at="now"))
    lost = {**_token(1, "WAITLISTED"), "doctor_id": None, "position": 1}
    day.take("0-1-0", "TokenPreempted", "2026-11-23T09:00:00.000Z", lost)
    told = day.of_tokens([1], {})[1]
    assert (told["status"], told["is_present"], told["position"]) == ("WAITLISTED", True, 1)
    assert told["changed_by"] == "0-1-0"
    gone = {**_token(1, "CANCELLED"), "doctor_id": "dr-a"}
    day.take("0-2-0", "TokenCancelled", "2026-11-23T09:01:00.000Z", gone)
    assert day.as_shown({})["slots"][0]["taken"] == 0, "whoever cancelled keeps a doctor's name, and no seat"
    assert day.as_shown({})["as_of"] == "2026-11-23T09:01:00.000Z"
