"""Writes: what is asked becomes a command, and what became of it is the answer."""

import asyncio
import json
from typing import Any

import pytest

from services.auditor.records import Kind
from services.gateway.kafka import MaybeWritten, NotWritten
from tests.gateway.world import DATE, POOL, WHERE, Run, World


def test_a_booking_is_answered_with_its_token(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        answer = await world.book("p1", headers={"Idempotency_Key": "k1"})
        assert answer.status_code == 201
        assert answer.json() == {
            **POOL,
            "token_id": "blr1.cardiology.20261123.1",
            "token_no": 1,
            "patient_id": "p1",
            "source": "ONLINE",
            "status": "CONFIRMED",
            "doctor_id": "dr-rao",
        }
        assert answer.headers["Location"] == "/tokens/blr1.cardiology.20261123.1"
        assert answer.headers["Idempotency-Key"] == "k1"
        story = await world.get(answer.headers["Location"], OPD_Position=answer.headers["OPD-Position"])
        assert [each["type"] for each in story.json()["story"]] == ["TokenConfirmed"]
        [command] = [
            json.loads(record.value or b"")
            for partition in range(2)
            for record in world.log.engine.topics[Kind.COMMANDS, partition]
            if b"RequestToken" in (record.value or b"")
        ]
        assert (command["id"], command["source"]) == ("k1", "gateway/development")

    in_world(run)


def test_the_seed_behaviours(in_world: Run) -> None:
    """Empty department, unavailable slot, overflow, preemption, cancellation and promotion."""

    async def run(world: World) -> None:
        assert _problem(await world.book("p0"), 404) == "DEPARTMENT_UNKNOWN"
        await world.register(capacity=1)
        assert _problem(await world.book("p0", slot="23:00-24:00"), 404) == "SLOT_UNKNOWN"
        first, second = await world.book("p1"), await world.book("p2")
        assert (first.json()["status"], second.json()["status"]) == ("CONFIRMED", "WAITLISTED")
        assert second.json()["position"] == 1
        urgent = await world.book("p3", "EMERGENCY")
        assert urgent.json()["status"] == "CONFIRMED"
        lost = await world.get(f"/tokens/{first.json()['token_id']}")
        assert (lost.json()["status"], lost.json()["position"]) == ("WAITLISTED", 1)
        assert lost.json()["story"][-1]["by_token_id"] == urgent.json()["token_id"]
        given_back = await world.post(f"/tokens/{urgent.json()['token_id']}/cancel", {"reason": "better"})
        assert (given_back.status_code, given_back.json()["status"]) == (200, "CANCELLED")
        promoted = await world.get(f"/tokens/{first.json()['token_id']}")
        assert [each["type"] for each in promoted.json()["story"]] == [
            "TokenConfirmed",
            "TokenPreempted",
            "TokenPromoted",
        ]
        assert _problem(await world.post(f"/tokens/{urgent.json()['token_id']}/cancel"), 409) == "INVALID_TRANSITION"

    in_world(run)


def test_a_day_at_the_desk(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=2)
        await world.register("dr-iyer", capacity=1)
        tokens = [(await world.book(f"p{number}")).json()["token_id"] for number in range(4)]
        capacity = await world.put("/doctors/dr-rao/capacity", {**POOL, "capacity": 3})
        assert capacity.json() == {**POOL, "doctor_id": "dr-rao", "capacity": 3, "taken": 2, "over_by": 0}
        away = await world.put("/doctors/dr-iyer/availability", {**WHERE, "date": DATE, "available": False})
        assert away.json() == {"sessions": [{**POOL, "doctor_id": "dr-iyer", "available": False}]}
        assert _problem(await world.post("/doctors/dr-rao/call-next", POOL), 409) == "QUEUE_EMPTY"
        for token in (tokens[0], tokens[2]):
            assert (await world.post(f"/tokens/{token}/check-in")).json()["status"] == "CHECKED_IN"
        called = await world.post("/doctors/dr-rao/call-next", POOL)
        assert (called.json()["token_id"], called.json()["status"]) == (tokens[0], "CALLED")
        again = await world.post("/doctors/dr-rao/call-next", POOL)
        assert again.json()["token_id"] == tokens[2], "the answer is who is called, not who is done"
        assert (await world.post(f"/tokens/{tokens[2]}/complete")).json()["status"] == "COMPLETED"
        assert (await world.post(f"/tokens/{tokens[3]}/no-show")).json()["status"] == "NO_SHOW"
        assert (await world.post("/slots/close", POOL)).json() == POOL
        assert _problem(await world.book("p9"), 409) == "SLOT_CLOSED"

    in_world(run)


def test_an_emergency_raises_the_token_held(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=1)
        await world.book("p1")
        await world.book("p2")
        raised = await world.book("p2", "EMERGENCY")
        assert raised.status_code == 200, "no new token"
        assert (raised.json()["token_no"], raised.json()["status"]) == (2, "CONFIRMED")
        assert _problem(await world.book("p2", "EMERGENCY"), 409) == "DUPLICATE_PATIENT"

    in_world(run)


def test_the_same_key_again_gives_the_first_answer(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=1)
        first = await world.book("p1", headers={"Idempotency_Key": "k1"})
        await world.post(f"/tokens/{first.json()['token_id']}/check-in")
        for _ in range(2):
            again = await world.book("p1", headers={"Idempotency_Key": "k1"})
            assert (again.status_code, again.json()) == (201, first.json()), "as it stood then"
            assert again.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        reused = await world.book("p2", headers={"Idempotency_Key": "k1"})
        assert _problem(reused, 422) == "ID_REUSED"
        refused = await world.book("p1", slot="10:00-11:00", headers={"Idempotency_Key": "k2"})
        again = await world.book("p1", slot="10:00-11:00", headers={"Idempotency_Key": "k2"})
        assert _problem(refused, 404) == _problem(again, 404) == "SLOT_UNKNOWN"
        for path, body in (("/doctors/dr-rao/call-next", POOL), ("/slots/close", POOL)):
            answers = [await world.post(path, body, Idempotency_Key=path[:9]) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()

    in_world(run)


def test_an_outcome_that_does_not_come_in_time_can_be_asked_for(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        world.log.is_silent = True
        late = await world.book("p1", headers={"Prefer": "wait=0", "Idempotency_Key": "k1"})
        assert late.status_code == 202
        assert late.json() == {"status": "pending", "command": late.json()["command"], "idempotency_key": "k1"}
        assert (await world.get(late.headers["Location"])).status_code == 202
        await world.log.speak()
        found = await world.get(late.headers["Location"], OPD_Position=late.headers["OPD-Position"])
        assert (found.status_code, found.json()["status"]) == (201, "CONFIRMED")
        assert (await world.get("/commands/0-999")).status_code == 404

    in_world(run)


def test_waiting_ends_when_the_outcome_comes(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        world.log.is_silent = True
        world.log.written.clear()
        waiting = asyncio.create_task(world.book("p1", headers={"Prefer": "respond-async, wait=30"}))
        await world.log.written.wait()
        assert not waiting.done()
        await world.log.speak()
        assert (await waiting).status_code == 201

    in_world(run)


def test_what_kafka_did_not_take_or_may_have_taken_is_told_apart(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        world.log.fails = NotWritten("down")
        refused = await world.book("p1", headers={"Idempotency_Key": "k1"})
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/log-unavailable")
        world.log.fails = MaybeWritten("slow")
        unknown = await world.book("p1")
        assert (unknown.status_code, unknown.json()["type"]) == (503, "/problems/outcome-unknown")
        assert unknown.headers["Retry-After"] == "1"
        world.log.fails = None
        again = await world.book("p1", headers={"Idempotency_Key": unknown.json()["idempotency_key"]})
        assert (again.status_code, again.json()["token_no"]) == (201, 1)

    in_world(run)


BAD: list[tuple[Any, str]] = [
    ({**POOL, "patient_id": "p1"}, "body.source"),
    ({**POOL, "patient_id": "p1", "source": "FRIEND"}, "body.source"),
    ({**POOL, "patient_id": 7, "source": "ONLINE"}, "body.patient_id"),
    ({**POOL, "patient_id": "p1", "source": "ONLINE", "slot": "10:00-09:00"}, "body.slot"),
    ({**POOL, "patient_id": "p1", "source": "ONLINE", "date": "2026-02-30"}, "body.date"),
    ({**POOL, "patient_id": "p1", "source": "ONLINE", "doctor_id": None}, "body.doctor_id"),
    ({**POOL, "patient_id": "p1", "source": "ONLINE", "surname": "secret"}, "body.surname"),
    ({**POOL, "patient_id": "se\0cret", "source": "ONLINE"}, "body"),
    ([], "body"),
]


def test_bad_input_names_the_field_and_repeats_no_value(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        for body, field in BAD:
            answer = await world.post("/tokens", body)
            assert answer.status_code == 422, body
            assert answer.headers["content-type"] == "application/problem+json"
            assert [each["field"] for each in answer.json()["errors"]] == [field]
            assert "secret" not in answer.text or field == "body.surname"
        broken = await world.http.post("/tokens", content=b"{", headers={"content-type": "application/json"})
        assert [each["field"] for each in broken.json()["errors"]] == ["body"]
        form = await world.http.post("/tokens", content=b"{}", headers={"content-type": "text/plain"})
        assert (form.status_code, form.json()["type"]) == (415, "/problems/unsupported-media-type")
        for header in ({"Idempotency_Key": "k" * 65}, {"Idempotency_Key": "a b"}):
            assert (await world.book("p1", headers=header)).json()["errors"][0]["field"] == "header.idempotency-key"

    in_world(run)


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/tokens/x/cancel", 422), ("/slots/close", 405)])
def test_what_there_is_not_is_a_problem_too(in_world: Run, path: str, status: int) -> None:
    async def run(world: World) -> None:
        answer = await (world.post(path) if status == 422 else world.get(path))
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        meaning = await world.get(answer.json()["type"])
        assert meaning.json()["status"] == status

    in_world(run)


def _problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    reason: str = answer.json()["reason"]
    assert answer.json()["type"] == f"/problems/{reason.lower().replace('_', '-')}"
    return reason
