"""`opd gateway` on a real Kafka, Valkey and PostgreSQL: each request once, whatever dies meanwhile."""

import asyncio
import json
import os
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from services.settings import Settings
from services.stack.system import environment
from services.topics import ensure_topics
from tests.console import ROOT, opd
from tests.gateway.world import bearer, events_in
from tests.integration.everything import everything
from tests.integration.gateways import RunningGateway, running_gateway
from tests.integration.running import read_all
from tests.observability.collector import collector
from tests.servers import Database, Kafka
from tests.waiting import until

SLOT = "09:00-10:00"
TOMORROW = f"{datetime.now(UTC).date() + timedelta(days=1)}"


@pytest.fixture(scope="module")
def gateway(
    kafka_server: Kafka,
    valkey_server: Database,
    postgres_server: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningGateway]:
    """All of it once; each test has a department of its own."""
    mine = uuid.uuid4().hex[:12]
    with Redis.from_url(valkey_server.url) as redis:
        redis.flushall()
    settings = Settings(
        kafka_bootstrap_servers=kafka_server.address,
        redis_url=valkey_server.url,
        postgres_url=postgres_server.url,
        history_schema=f"test_{mine}",
        vault_schema=f"test_{mine}_vault",
        audit_schema=f"test_{mine}_audit",
        commands_topic=f"commands.{mine}",
        events_topic=f"events.{mine}",
        dead_letters_topic=f"dead-letters.{mine}",
        consumer_group=f"allocator.{mine}",
    )
    asyncio.run(ensure_topics(settings, partitions=2))
    with running_gateway(settings, tmp_path_factory.mktemp("gateway")) as running:
        yield running


class Department:
    """A department of one test's own, with one doctor."""

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self._settings = gateway.settings
        self.where = {"facility_id": "blr1", "department_id": name}
        self.pool = {**self.where, "date": TOMORROW, "slot": SLOT}
        doctor = {**self.where, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": SLOT, "capacity": 400}]}
        until(lambda: gateway.post("/doctors", doctor).status_code == 200, "a doctor is registered")

    def booking(self, patient_id: str) -> dict[str, Any]:
        return {**self.pool, "patient_id": patient_id, "source": "ONLINE"}

    def issued(self) -> dict[str, int]:
        """How many tokens each patient has, as the log says."""
        counted: dict[str, int] = {}
        for record in read_all(self._settings, self._settings.events_topic):
            event = json.loads(record.value)
            data = event["data"]
            is_new = event["type"] in {"opd.TokenConfirmed.v1", "opd.TokenWaitlisted.v1"}
            if is_new and data["department_id"] == self.where["department_id"]:
                counted[data["patient_id"]] = counted.get(data["patient_id"], 0) + 1
        return counted

    def book_until_answered(self, http: httpx.Client, patient: str) -> httpx.Response:
        """Book with one key, as often as it takes."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                answer = http.post("/tokens", json=self.booking(patient), headers={"Idempotency-Key": patient})
            except httpx.TransportError:
                continue  # it is just being killed
            if answer.status_code < 500 and answer.status_code != 202:
                return answer
        raise AssertionError(f"{patient} was not answered")

    def keep_booking(self, url: str, number: int, stop: threading.Event) -> list[httpx.Response]:
        """Book for one patient after another, in the way of clients that retry with their key."""
        answers: list[httpx.Response] = []
        with httpx.Client(base_url=url, timeout=30) as http:
            while not stop.is_set():
                answers.append(self.book_until_answered(http, f"p{number}-{len(answers)}"))
        return answers


def booked(answers: list[httpx.Response]) -> list[httpx.Response]:
    """Give those that got a token; a quick machine fills seats and waitlist meanwhile, and others come too late."""
    refused = {answer.json()["type"] for answer in answers if answer.status_code != 201}
    assert refused <= {"/problems/waitlist-full"}
    return [answer for answer in answers if answer.status_code == 201]


def test_bookings_at_once_are_each_answered_with_their_own_token_which_can_then_be_read(
    gateway: RunningGateway,
) -> None:
    here = Department(gateway, "at-once")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: gateway.post("/tokens", here.booking(f"p{number}")), range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert [answer.json()["patient_id"] for answer in answers] == [f"p{number}" for number in range(100)]
    assert sorted(answer.json()["token_no"] for answer in answers) == list(range(1, 101))
    last = answers[-1]
    story = _read_once_shown(gateway, last)
    assert [each["type"] for each in story.json()["story"]] == ["TokenConfirmed"]
    pool_now = gateway.get(f"/pools/blr1/at-once/{TOMORROW}/{SLOT}")
    assert (pool_now.json()["taken"], pool_now.json()["capacity"]) == (100, 400)


def test_a_gateway_that_is_killed_loses_and_doubles_nothing(gateway: RunningGateway) -> None:
    """Clients that retry with their key until they are answered get one token each, and the first answer."""
    here, stop = Department(gateway, "killed"), threading.Event()

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(here.keep_booking, gateway.url, number, stop) for number in range(4)]
        until(lambda: len(here.issued()) > 10, "bookings go through")
        gateway.process.kill()
        gateway.start()
        gateway.wait()
        stop.set()
        answers = [answer for each in clients for answer in each.result()]
    found = here.issued()
    assert {answer.json()["patient_id"] for answer in booked(answers)} <= found.keys()
    assert set(found.values()) == {1}
    first = answers[0]
    again = gateway.post("/tokens", here.booking("p0-0"), Idempotency_Key="p0-0")
    assert (again.status_code, again.json()) == (201, first.json()), "also after restarts"
    assert again.headers["Idempotency-Replayed"] == "true"


def test_gateway_projector_and_postgres_are_killed_under_load_and_all_of_it_holds(
    gateway: RunningGateway, postgres_server: Database
) -> None:
    here, stop = Department(gateway, "all-killed"), threading.Event()
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(here.keep_booking, gateway.url, number, stop) for number in range(4)]
        until(lambda: len(here.issued()) > 10, "bookings go through")
        gateway.history.process.kill()
        gateway.process.kill()
        postgres_server.kill()
        try:
            gateway.start()
            gateway.wait()
            meanwhile = gateway.post("/tokens", here.booking("without-postgres"), Prefer="wait=30")
            assert meanwhile.status_code == 201, "bookings go on"
        finally:
            postgres_server.start()
        gateway.history.start()
        gateway.history.wait()
        stop.set()
        answers = [answer for each in clients for answer in each.result()]
    assert set(here.issued().values()) == {1}
    for answer in booked(answers)[-4:]:
        _read_once_shown(gateway, answer)
    audited = opd("verify", "--redis", "--history", "--audit", timeout_s=120, **environment(gateway.settings))
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert re.search(r"PostgreSQL equals the log, [\d,]+ rows of [\d,]+ records: holds", audited.stdout)
    assert re.search(r"the audit trail is whole, [\d,]+ rows held to 0 anchors: holds", audited.stdout)


def _read_once_shown(gateway: RunningGateway, written: httpx.Response, where: str = "") -> httpx.Response:
    """Read what was written once the projector has caught up: a single request waits 5 s for it."""

    def read() -> httpx.Response:
        path = where or written.headers["Location"]
        return gateway.get(path, OPD_Position=written.headers["OPD-Position"])

    until(lambda: read().status_code == 200, "the projector caught up")
    return read()


def test_events_are_followed_and_resumed(gateway: RunningGateway) -> None:
    here = Department(gateway, "followed")
    url = "/events?facility_id=blr1&department_id=followed"
    heard: list[str] = []
    with gateway.http.stream("GET", url) as stream:
        lines = stream.iter_lines()
        next(lines)
        for number in range(3):
            gateway.post("/tokens", here.booking(f"p{number}"))
        while len(heard) < 3:
            heard += events_in(next(lines))
    gateway.post("/tokens", here.booking("p3"))
    again: list[str] = []
    with gateway.http.stream("GET", url, headers={"Last-Event-ID": heard[0]}) as stream:
        lines = stream.iter_lines()
        gateway.post("/tokens", here.booking("p4"))
        while len(again) < 4:
            again += events_in(next(lines))
    assert again[:2] == heard[1:]
    assert len(set(again)) == 4


def test_without_kafka_it_says_so_in_time_and_goes_on_afterwards(gateway: RunningGateway, kafka_server: Kafka) -> None:
    here = Department(gateway, "no-kafka")
    kafka_server.kill()
    try:
        for number in range(2):
            began = time.monotonic()
            answer = gateway.post("/tokens", here.booking(f"p{number}"), Idempotency_Key=f"p{number}")
            assert time.monotonic() - began < 30, "it waits no longer than anybody may want"
            assert answer.status_code == 503
            assert answer.json()["type"] in {"/problems/log-unavailable", "/problems/outcome-unknown"}
            assert answer.json()["idempotency_key"] == f"p{number}"
            assert answer.headers["Retry-After"] == "1"
        assert gateway.get("/health/live").status_code == 200
    finally:
        kafka_server.start()
    answers = [here.book_until_answered(gateway.http, f"p{number}") for number in range(2)]
    assert {answer.status_code for answer in answers} == {201}
    assert set(here.issued().values()) == {1}


def test_the_pages_lines_run(gateway: RunningGateway, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    [lines, *_] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    ran = subprocess.run(  # noqa: S603 - our own page
        ["/bin/sh", "-ec", lines],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "GATEWAY": gateway.url},
    )
    doctor, token, story = _objects(ran.stdout)
    assert doctor["doctor_id"] == "dr-rao"
    assert token["status"] == "CONFIRMED"
    assert [each["type"] for each in story["story"]] == ["TokenConfirmed"]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    while text.strip():
        found, end = json.JSONDecoder().raw_decode(text.lstrip())
        yield found
        text = text.lstrip()[end:]


NAME, NUMBER, PHONE, MAIL = "Canary-Name", "CANARY/Number 7741", "+4917700077417", "canary-mail@example.org"
NOWHERE = re.compile(rb"(?i)canary.(name|number|mail)|7700077417")


def test_who_a_patient_is_stands_nowhere_but_encrypted(
    gateway: RunningGateway, postgres_server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked names, numbers, phones and addresses go through everything, in their place and out of it."""
    here = Department(gateway, "canary")
    settings = gateway.settings.model_copy(update={"vault_schema": f"{gateway.settings.vault_schema}_canary"})
    with collector() as traces:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
        traced = RunningGateway(settings, tmp_path)
        try:
            traced.start()
            traced.wait()
            patient_id = _say_who_a_patient_is(traced, here)
            metrics = traced.get("/metrics").content
        finally:
            traced.stop()
        told = {"metrics": metrics, "traces": traces.raw, "gateway's log": traced.process.log.read_bytes()}
    logs = list(gateway.process.log.parent.glob("*.log"))
    found = everything(settings, postgres_server, told | {log.name: log.read_bytes() for log in logs})
    vault = environment(settings.model_copy(update={"vault_key_file": tmp_path / "vault.key"}))
    erased = opd("erase", "--facility", "blr1", "--patient-number", NUMBER, timeout_s=60, **vault)
    assert "Destroyed: 1 key, 1 contact" in erased.stdout, erased.stderr
    found["opd erase"] = (erased.stdout + erased.stderr).encode()
    assert [place for place, content in found.items() if NOWHERE.search(content)] == []
    opaque = {place for place, content in found.items() if patient_id.encode() in content}
    shown = {settings.commands_topic, settings.events_topic, "redis", settings.history_schema, settings.vault_schema}
    assert shown <= opaque, "what is looked for would be found"
    assert not opaque & {*told, *(log.name for log in logs), settings.audit_schema, settings.dead_letters_topic}


def _say_who_a_patient_is(gateway: RunningGateway, here: "Department") -> str:
    """Send all of it everywhere, malformed too; give the patient_id."""
    contact = {"name": NAME, "phone": PHONE, "email": MAIL, "consent": True}
    kept = gateway.http.put(
        "/patients/contact", json={"facility_id": "blr1", "patient_number": NUMBER, "contact": contact}
    )
    patient_id: str = kept.raise_for_status().json()["patient_id"]
    booking = {**here.pool, "source": "ONLINE", "patient_number": NUMBER}
    token = gateway.post("/tokens", booking)
    assert (token.status_code, token.json()["patient_id"]) == (201, patient_id)
    for said in (NAME, NUMBER, PHONE, MAIL):
        for name in ("slot", "doctor_id", "department_id", "source", "patient_number", said):
            assert gateway.post("/tokens", {**booking, name: f"\u00e9 {said}"}).status_code == 422
        wrong = {"facility_id": "blr1", "patient_number": NUMBER, "contact": {**contact, "phone": said, "email": said}}
        assert gateway.http.put("/patients/contact", json=wrong).status_code == 422
        assert gateway.http.post("/tokens", content=f'{{"{said}', headers={"Content-Type": "application/json"}).is_error
        for path in (f"/tokens/{said}", f"/{said}", f"/tokens?facility_id={said}", f"/doctors?x={said}"):
            assert gateway.get(path).is_error
        assert gateway.get("/tokens?facility_id=blr1", Authorization=f"Bearer {said}").status_code == 401
        assert gateway.get("/tokens?facility_id=blr1", OPD_Patient_Id=said).json()["tokens"] == []
    reception = bearer(role="reception")
    read = gateway.get("/patients/contact?facility_id=blr1", OPD_Patient_Number=NUMBER, **reception)
    assert read.json()["contact"]["name"] == NAME
    cancelled = gateway.post(f"/tokens/{token.json()['token_id']}/cancel", OPD_Position=token.headers["OPD-Position"])
    assert cancelled.status_code == 200
    _read_once_shown(gateway, cancelled, f"/tokens/{token.json()['token_id']}")
    return patient_id


def test_sigterm_ends_it_with_readers_inside(gateway: RunningGateway) -> None:
    with gateway.http.stream("GET", "/events?facility_id=blr1&department_id=cardiology") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        assert gateway.process.stop() == 0
        assert not list(events_in("\n".join(lines))), "the stream ended, and was not broken off"
