"""Reads: what there is, page by page, and not before it is there."""

import pytest

from services.gateway import history
from tests.gateway.world import DATE, POOL, SLOT, WHERE, Run, World, bearer


def test_a_pool_shows_seats_and_who_waits(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=1)
        await world.register("dr-iyer", capacity=4)
        await world.put("/doctors/dr-iyer/availability", {**POOL, "available": False})
        for patient, source in (("p1", "PAID"), ("p2", "WALK_IN"), ("p3", "PAID")):
            await world.book(patient, source)
        pool = await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}")
        assert pool.json() == {
            **POOL,
            "closed": False,
            "capacity": 1,
            "taken": 1,
            "waiting": 2,
            "sessions": [
                {"doctor_id": "dr-rao", "name": "Dr Rao", "available": True, "capacity": 1, "taken": 1},
                {"doctor_id": "dr-iyer", "name": "Dr Rao", "available": False, "capacity": 4, "taken": 0},
            ],
            "waitlist": [
                {"token_id": "blr1.cardiology.20261123.3", "source": "PAID", "position": 1},
                {"token_id": "blr1.cardiology.20261123.2", "source": "WALK_IN", "position": 2},
            ],
        }
        outside = await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}", **bearer(role="portal"))
        assert "waitlist" not in outside.json()
        tomorrow = await world.get(f"/pools/blr1/cardiology/2026-11-24/{SLOT}")
        assert (tomorrow.json()["capacity"], tomorrow.json()["taken"]) == (5, 0), "where nothing has happened yet"
        await world.post("/slots/close", POOL)
        assert (await world.get(f"/pools/blr1/cardiology/{DATE}/{SLOT}")).json()["closed"] is True
        assert (await world.get(f"/pools/blr1/cardiology/{DATE}/23:00-24:00")).status_code == 404
        assert (await world.get(f"/pools/blr1/cardiology/2026-13-01/{SLOT}")).status_code == 422

    in_world(run)


def test_doctors_and_departments(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        await world.register("dr-iyer")
        last = await world.put("/doctors/dr-iyer/availability", {**POOL, "available": True})
        await world.book("p1", department_id="unheard-of")
        doctors = await world.get("/doctors?facility_id=blr1&department_id=cardiology")
        assert [doctor["doctor_id"] for doctor in doctors.json()["doctors"]] == ["dr-rao", "dr-iyer"]
        assert doctors.json()["doctors"][0]["schedule"] == [{"slot": SLOT, "capacity": 2}]
        departments = await world.get("/departments?facility_id=blr1")
        assert departments.json() == {
            "departments": [{**WHERE, "doctors": 2, "position": last.headers["OPD-Position"]}]
        }

    in_world(run)


def test_a_week_is_told_as_it_was_registered(in_world: Run) -> None:
    async def run(world: World) -> None:
        week = [{"slot": SLOT, "capacity": 2, "weekdays": ["MON", "FRI"]}, {"slot": "11:00-12:00", "capacity": 0}]
        await world.post("/doctors", {**WHERE, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": week})
        doctors = await world.get("/doctors?facility_id=blr1&department_id=cardiology")
        assert doctors.json()["doctors"][0]["schedule"] == week

    in_world(run)


def test_a_listed_token_tells_when_the_patient_came(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=1)
        for patient in ("p1", "p2", "p3"):
            await world.book(patient)
        for number in (1, 3):
            await world.post(f"/tokens/blr1.cardiology.20261123.{number}/check-in")
        tokens = (await world.get("/tokens?facility_id=blr1")).json()["tokens"]
        assert [each["status"] for each in tokens] == ["CHECKED_IN", "WAITLISTED", "WAITLISTED"]
        assert ["checked_in_at" in each for each in tokens] == [True, False, True], "waiting for a seat in the hall"

    in_world(run)


def test_tokens_come_page_by_page_and_filtered(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=3)
        await world.register(department_id="dermatology")
        for number in range(5):
            await world.book(f"p{number}", "PAID" if number % 2 else "ONLINE")
        await world.book("p1", department_id="dermatology")
        seen, cursor = [], ""
        while True:
            page = (await world.get(f"/tokens?facility_id=blr1&limit=4{cursor}")).json()
            seen += [token["token_id"] for token in page["tokens"]]
            if "next" not in page:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == [f"blr1.cardiology.20261123.{number}" for number in range(1, 6)] + [
            "blr1.dermatology.20261123.1"
        ]
        for query, expected in (
            ("&status=WAITLISTED", 2),
            ("&source=PAID", 2),
            ("&doctor_id=dr-rao&department_id=cardiology", 3),
            (f"&date={DATE}&slot={SLOT}", 6),
            ("&date=2026-11-24", 0),
        ):
            found = await world.get(f"/tokens?facility_id=blr1{query}")
            assert len(found.json()["tokens"]) == expected, query
        assert len((await world.get("/tokens?facility_id=blr1", OPD_Patient_Id="p1")).json()["tokens"]) == 2
        masked = await world.get("/tokens?facility_id=blr1", OPD_Patient_Id="p1", **bearer(role="auditor"))
        assert len(masked.json()["tokens"]) == 6, "who may not see patients cannot ask for one"
        for cursor in ("x", "AAAA", "W10", "WyJhIiwiMjAyNi0xMS0yMyIsMWU5OV0"):
            refused = await world.get(f"/tokens?facility_id=blr1&cursor={cursor}")
            assert refused.json()["errors"] == [{"field": "query.cursor", "fault": "not one of ours"}]

    in_world(run)


def test_a_get_waits_for_what_its_sender_knows_of_but_not_for_ever(
    in_world: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REACHED_WITHIN_S", 0.05)

    async def run(world: World) -> None:
        await world.register()
        early = await world.get("/departments?facility_id=blr1", OPD_Position="0-999-0")
        assert (early.status_code, early.json()["type"]) == (412, "/problems/position-not-reached")
        assert (await world.get("/departments?facility_id=blr1", OPD_Position="soon")).status_code == 422

    in_world(run)


def test_without_postgresql_reads_are_refused_and_writes_are_not(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        world.parts.history._pool.terminate()
        answer = await world.get("/departments?facility_id=blr1")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/history-unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert (await world.book("p1")).status_code == 201
        ready = await world.get("/health/ready")
        assert (ready.status_code, ready.json()["history"]) == (200, "unavailable")

    in_world(run)


def test_what_is_counted_names_routes_and_no_tokens(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        await world.book("p-canary")
        await world.get("/tokens/blr1.cardiology.20261123.1")
        counted = (await world.get("/metrics")).text
        assert 'opd_http_requests_total{method="POST",route="/tokens",status="201"} 1.0' in counted
        assert 'opd_http_requests_total{method="GET",route="/tokens/{token_id}",status="200"} 1.0' in counted
        assert "canary" not in counted
        assert "20261123" not in counted
        assert (await world.get("/health/live")).status_code == 200

    in_world(run)


def test_the_documentation_is_served_by_ourselves(in_world: Run) -> None:
    async def run(world: World) -> None:
        page = (await world.get("/docs")).text
        places = [part.split('"')[0] for part in page.split('src="')[1:] + page.split('href="')[1:]]
        assert len(places) == 3
        for place in places:
            assert place.startswith("/"), place
            assert (await world.get(place)).status_code == 200
        document = (await world.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert "HTTPValidationError" not in str(document)

    in_world(run)
