"""The doors of the benchmark: the plain one answers as the model does, and who does not is found out."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from benchmarks.bench import Bench, Options
from benchmarks.expected import Disagreement
from benchmarks.gateway import Expected, plain_door
from benchmarks.http_load import Answer, ask, request_to
from services.stack.ports import LOOPBACK, free_ports

BOOKINGS = 600
WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
POOL = {**WHERE, "date": f"{datetime.now(UTC).date() + timedelta(days=1)}", "slot": "09:00-10:00"}
DOCTOR = {**WHERE, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": POOL["slot"], "capacity": 1}]}
ASKED = [{**POOL, "patient_id": patient, "source": "ONLINE"} for patient in ("p1", "p2")]


def token(number: int, asked: dict[str, str], **said: Any) -> Answer:
    token_id = f"blr1.cardiology.{POOL['date'].replace('-', '')}.{number}"
    return Answer(201, to_json({**asked, "token_no": number, "token_id": token_id, **said}), 1.0)


def expected() -> Expected:
    found = Expected("the door")
    found.register(DOCTOR)
    return found


def test_a_plain_application_answers_many_at_once_as_the_model_does(tmp_path: Path) -> None:
    async def book_and_read() -> None:
        async with plain_door(Bench(Options(commands=2_000, runs=1), tmp_path)) as door:
            figures, token_ids = await door.book(BOOKINGS, 16)
            assert len(set(token_ids)) == BOOKINGS
            assert 0 < figures["p50_ms"] <= figures["p99_ms"]
            assert figures["cpu_us"].keys() == {"server", "client"}
            await door.read(token_ids, 16)

    asyncio.run(book_and_read())


def test_who_came_first_is_told_by_the_numbers_alone() -> None:
    second = token(2, ASKED[0], status="WAITLISTED", position=1)
    first = token(1, ASKED[1], status="CONFIRMED", doctor_id="dr-rao")
    assert [each[-2:] for each in expected().hold_bookings(ASKED, [second, first])] == [".1", ".2"]


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (token(2, ASKED[1], status="CONFIRMED", doctor_id="dr-rao"), r"status of .*\.2 is CONFIRMED, not WAITLISTED"),
        (token(2, ASKED[1], status="WAITLISTED", position=2), r"position of .*\.2 is 2, not 1"),
        (token(3, ASKED[1], status="WAITLISTED", position=1), r"token_id of .*\.3 is .*\.3, not .*\.2"),
        (Answer(503, b"later", 1.0), "the door answers 503 later, and not 201"),
    ],
)
def test_an_answer_that_is_not_the_models_is_found_out(second: Answer, fault: str) -> None:
    first = token(1, ASKED[0], status="CONFIRMED", doctor_id="dr-rao")
    with pytest.raises(Disagreement, match=fault):
        expected().hold_bookings(ASKED, [first, second])


def test_a_read_is_held_to_how_the_token_stands_by_then() -> None:
    held = expected()
    [token_id] = held.hold_bookings(ASKED[:1], [token(1, ASKED[0], status="CONFIRMED", doctor_id="dr-rao")])
    emergency = ASKED[1] | {"source": "EMERGENCY"}
    held.hold_bookings([emergency], [token(2, emergency, status="CONFIRMED", doctor_id="dr-rao")])
    waits = token(1, ASKED[0], status="WAITLISTED")
    held.hold_reads([token_id], [waits._replace(status=200)])
    seated = token(1, ASKED[0], status="CONFIRMED", doctor_id="dr-rao")
    with pytest.raises(Disagreement, match=r"status of .* is CONFIRMED, not WAITLISTED"):
        held.hold_reads([token_id], [seated._replace(status=200)])


def test_a_server_that_hangs_up_is_no_answer() -> None:
    async def hang_up() -> None:
        [port] = free_ports(1)
        server = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, port)
        url = f"http://{LOOPBACK}:{port}"
        async with server:
            with pytest.raises(ConnectionError, match=r"closed a connection|reset"):
                await ask(url, [request_to(url, "GET", "/")], connections=1)

    asyncio.run(hang_up())
