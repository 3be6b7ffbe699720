"""`opd gateway` on a real Kafka and a real Valkey: once, whatever dies meanwhile."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.settings import Settings
from services.stack import KafkaServer
from services.topics import ensure_topics
from tests.gateway.world import events_in
from tests.integration.gateways import RunningGateway, running_gateway
from tests.integration.running import RunningAllocator, read_all
from tests.waiting import until

WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
SLOT = "09:00-10:00"
POOL = {**WHERE, "date": f"{datetime.now(UTC).date() + timedelta(days=1)}", "slot": SLOT}
DOCTOR = {**WHERE, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": SLOT, "capacity": 400}]}


@pytest.fixture
def gateway(settings: Settings, tmp_path: Path) -> Iterator[RunningGateway]:
    asyncio.run(ensure_topics(settings, partitions=2))
    with RunningAllocator(settings), running_gateway(settings, tmp_path) as gateway:
        assert gateway.post("/doctors", DOCTOR).status_code == 200
        yield gateway


def booking(patient_id: str) -> dict[str, Any]:
    return {**POOL, "patient_id": patient_id, "source": "ONLINE"}


def issued(settings: Settings) -> dict[str, int]:
    """How many tokens each patient has, as the log says."""
    counted: dict[str, int] = {}
    for record in read_all(settings, settings.events_topic):
        event = json.loads(record.value)
        if event["type"] in {"opd.TokenConfirmed.v1", "opd.TokenWaitlisted.v1"}:
            counted[event["data"]["patient_id"]] = counted.get(event["data"]["patient_id"], 0) + 1
    return counted


def test_bookings_at_once_are_each_answered_with_their_own_token(gateway: RunningGateway) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: gateway.post("/tokens", booking(f"p{number}")), range(200)))
    assert {answer.status_code for answer in answers} == {201}
    assert [answer.json()["patient_id"] for answer in answers] == [f"p{number}" for number in range(200)]
    assert sorted(answer.json()["token_no"] for answer in answers) == list(range(1, 201))


def test_a_gateway_that_is_killed_loses_and_doubles_nothing(gateway: RunningGateway, settings: Settings) -> None:
    """Clients that retry with their key until they are answered get one token each."""
    stop = threading.Event()

    def client(number: int) -> list[str]:
        answered = []
        with httpx.Client(base_url=gateway.url, timeout=10) as http:
            while not stop.is_set():
                patient = f"p{number}-{len(answered)}"
                _book_until_answered(http, patient)
                answered.append(patient)
        return answered

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        for _ in range(2):
            before = len(issued(settings))
            until(lambda before=before: len(issued(settings)) > before + 20, "bookings go through")  # type: ignore[misc]
            gateway.process.kill()
            gateway.start()
        stop.set()
        patients = [patient for each in clients for patient in each.result()]
    found = issued(settings)
    assert set(patients) <= found.keys()
    assert set(found.values()) == {1}


def _book_until_answered(http: httpx.Client, patient: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = http.post("/tokens", json=booking(patient), headers={"Idempotency-Key": patient})
        except httpx.TransportError:
            continue  # it is just being killed
        # The key again: its first answer, or, of who cannot find that, that it was decided before.
        if answer.status_code in {201, 409} or answer.json()["type"] == "/problems/history-unavailable":
            return
    raise AssertionError(f"{patient} was not answered")


def test_without_kafka_it_says_so_in_time_and_goes_on_afterwards(
    gateway: RunningGateway, settings: Settings, kafka_server: KafkaServer
) -> None:
    kafka_server.kill()
    try:
        for number in range(3):
            began = time.monotonic()
            answer = gateway.post("/tokens", booking(f"p{number}"), Idempotency_Key=f"k{number}")
            assert time.monotonic() - began < 15
            assert answer.status_code == 503
            assert answer.json()["type"] in {"/problems/log-unavailable", "/problems/outcome-unknown"}
            assert answer.json()["idempotency_key"] == f"k{number}"
            assert answer.headers["Retry-After"] == "1"
        assert gateway.get("/health/live").status_code == 200
    finally:
        kafka_server.start()
    for number in range(3):
        _book_until_answered(gateway.http, f"q{number}")
        until(lambda number=number: gateway.post("/tokens", booking(f"p{number}")).status_code in {201, 409}, "it goes")  # type: ignore[misc]
    assert set(issued(settings).values()) == {1}


def test_events_are_followed_and_resumed(gateway: RunningGateway) -> None:
    url = "/events?facility_id=blr1&department_id=cardiology"
    heard: list[str] = []
    with gateway.http.stream("GET", url) as stream:
        lines = stream.iter_lines()
        next(lines)
        for number in range(3):
            gateway.post("/tokens", booking(f"p{number}"))
        while len(heard) < 3:
            heard += events_in(next(lines))
    gateway.post("/tokens", booking("p3"))
    again: list[str] = []
    with gateway.http.stream("GET", url, headers={"Last-Event-ID": heard[0]}) as stream:
        lines = stream.iter_lines()
        gateway.post("/tokens", booking("p4"))
        while len(again) < 4:
            again += events_in(next(lines))
    assert again[:2] == heard[1:]
    assert len(set(again)) == 4


def test_sigterm_ends_it_with_readers_inside(gateway: RunningGateway) -> None:
    with gateway.http.stream("GET", "/events?facility_id=blr1&department_id=cardiology") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        assert gateway.process.stop() == 0
        assert not list(events_in("\n".join(lines))), "the stream ended, and was not broken off"
