"""Each invariant of spec §4 is broken once and must be named, with the records that show it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.commands import Command
from schemas.events import Event
from schemas.wire import command_key
from services.auditor import merge
from services.auditor.audit import audit
from services.auditor.records import Kind, Record
from services.auditor.report import Invariant, RecordName, Report
from tests.core.days import random_commands
from tests.services.memory import NOON_MS, MemoryEngine, MemoryReader

DAY_MS = 86_400_000
KEY = b"blr1/cardiology"
PLACE: dict[str, Any] = {"date": "2026-11-23", "slot": "09:00-10:00"}
TOKEN = "blr1.cardiology.20261123"  # noqa: S105  the beginning of token ids
UNREADABLE = 9
HEADERS = (("trace", b"1"), ("nothing", None))


class Clinic(MemoryEngine):
    """One department in one partition, so that offsets are easy to foretell."""

    def __init__(self) -> None:
        super().__init__(partitions=1)

    def say(self, kind: str, **data: Any) -> None:
        number = len(self.topics[Kind.COMMANDS, 0])
        command = {
            "specversion": "1.0",
            "id": f"c{number}",
            "source": "test",
            "type": f"opd.{kind}.v1",
            "data": {"facility_id": "blr1", "department_id": "cardiology", **data},
        }
        self.take(KEY, json.dumps(command).encode())

    def request(self, patient: int, source: str, **data: Any) -> None:
        self.say("RequestToken", **PLACE, patient_id=f"secret-{patient}", source=source, **data)


@pytest.fixture
def clinic() -> Clinic:
    """A morning that keeps every rule.

    Seats: 1 ONLINE and 2 WALK_IN; waiting: 3 PAID, 4 ONLINE. Then 1 comes, 2 cancels, 3 moves up, 1 is called, somebody
    sends rubbish, a seat more lets 4 in, 5 waits, the slot closes on 5.
    """
    clinic = Clinic()
    clinic.say("RegisterDoctor", doctor_id="a", name="Dr A", schedule=[{"slot": PLACE["slot"], "capacity": 2}])
    for patient, source in enumerate(("ONLINE", "WALK_IN", "PAID", "ONLINE"), start=1):
        clinic.request(patient, source)
    clinic.say("CheckIn", token_id=f"{TOKEN}.1")
    clinic.say("CancelToken", token_id=f"{TOKEN}.2")
    clinic.say("CallNext", **PLACE, doctor_id="a")
    clinic.say("SetSlotCapacity", **PLACE, doctor_id="a", capacity=3)
    clinic.take(KEY, b"rubbish of secret-7", headers=HEADERS)
    clinic.request(5, "ONLINE")
    clinic.say("CloseSlot", **PLACE)
    return clinic


EVENTS = (
    "0-0-0 DoctorRegistered",
    "0-1-0 TokenConfirmed",
    "0-2-0 TokenConfirmed",
    "0-3-0 TokenWaitlisted",
    "0-4-0 TokenWaitlisted",
    "0-5-0 TokenCheckedIn",
    "0-6-0 TokenCancelled",
    "0-6-1 TokenPromoted",
    "0-7-0 TokenCalled",
    "0-8-0 SlotCapacityChanged",
    "0-8-1 TokenPromoted",
    "0-10-0 TokenWaitlisted",
    "0-11-0 SlotClosed",
    "0-11-1 TokenExpired",
)


def test_a_day_that_keeps_the_rules_holds(clinic: Clinic) -> None:
    events = [json.loads(record.value or b"") for record in clinic.topics[Kind.EVENTS, 0]]
    assert tuple(f"{event['id']} {event['type'][4:-3]}" for event in events) == EVENTS

    report = audit(clinic)

    assert report.holds, report.breaches
    assert (report.commands, report.unreadable, report.events, report.dead_letters) == (12, 1, len(EVENTS), 1)
    assert report.as_json()["events_by_type"]["TokenPromoted"] == 2


@pytest.mark.parametrize("seed", range(3))
def test_days_in_every_corner_of_the_contract_hold(seed: int) -> None:
    engine = MemoryEngine()
    for command, timestamp_ms in random_commands(seed, 2000):
        engine.timestamp_ms = timestamp_ms
        engine.take(command_key(command), command.model_dump_json(exclude_unset=True).encode())

    report = audit(engine)

    assert report.holds, report.breaches
    assert report.events_by_type.keys() >= {"TokenPreempted", "TokenPromoted", "TokenReassigned", "CommandRejected"}


# How a good history is spoilt.


def event_index(clinic: Clinic, event_id: str) -> int:
    events = clinic.topics[Kind.EVENTS, 0]
    return next(index for index, record in enumerate(events) if f'"id":"{event_id}"'.encode() in (record.value or b""))


def rewrite(clinic: Clinic, event_id: str, *, without: tuple[str, ...] = (), **changes: Any) -> None:
    """Change an event: `type`, `sequence`, or fields of its data."""
    events, index = clinic.topics[Kind.EVENTS, 0], event_index(clinic, event_id)
    envelope = json.loads(events[index].value or b"")
    if "type" in changes:
        envelope["type"] = f"opd.{changes.pop('type')}.v1"
    if "sequence" in changes:
        envelope["sequence"] = f"{changes.pop('sequence'):016d}"
    if "token_id" in changes:
        envelope["subject"] = changes["token_id"]
    envelope["data"] = {name: value for name, value in envelope["data"].items() if name not in without} | changes
    value = json.dumps(envelope, separators=(",", ":")).encode()
    events[index] = events[index]._replace(value=value)


def drop(clinic: Clinic, *event_ids: str) -> None:
    """Take events away, and close the gap in the sequence behind them."""
    for event_id in event_ids:
        index = event_index(clinic, event_id)
        del clinic.topics[Kind.EVENTS, 0][index]
        for later in clinic.topics[Kind.EVENTS, 0][index:]:
            envelope = json.loads(later.value or b"")
            rewrite(clinic, envelope["id"], sequence=int(envelope["sequence"]) - 1)


def overbook(clinic: Clinic) -> None:
    rewrite(clinic, "0-10-0", type="TokenConfirmed", status="CONFIRMED", doctor_id="a", without=("position",))
    drop(clinic, "0-11-1")


def send_the_doctor_away(clinic: Clinic) -> None:
    rewrite(clinic, "0-5-0", type="DoctorAvailabilityChanged", doctor_id="a", available=False)


def promote_the_wrong_one(clinic: Clinic) -> None:
    """3 and 4 swap places."""
    wrong: dict[str, Any] = {"token_id": f"{TOKEN}.4", "token_no": 4, "patient_id": "secret-4", "source": "ONLINE"}
    right: dict[str, Any] = {"token_id": f"{TOKEN}.3", "token_no": 3, "patient_id": "secret-3", "source": "PAID"}
    rewrite(clinic, "0-6-1", **wrong)
    rewrite(clinic, "0-8-1", **right)


def call_who_is_not_there(clinic: Clinic) -> None:
    third: dict[str, Any] = {"token_id": f"{TOKEN}.3", "token_no": 3, "patient_id": "secret-3", "source": "PAID"}
    rewrite(clinic, "0-7-0", **third)


@dataclass(frozen=True)
class Fault:
    """A fault of a decision, which the model might share: the books alone must find it."""

    what: str
    plant: Callable[[Clinic], None]
    breaks: Invariant
    named: str


FAULTS = [
    Fault("a seat too many", overbook, Invariant.I1, "0-10-0"),
    Fault("a seat that is none", lambda c: rewrite(c, "0-6-1", doctor_id="z"), Invariant.I1, "0-6-1"),
    Fault("a seat with somebody away", send_the_doctor_away, Invariant.I1, "0-8-1"),
    Fault("seats miscounted", lambda c: rewrite(c, "0-8-0", taken=1), Invariant.I1, "0-8-0"),
    Fault("says over by one", lambda c: rewrite(c, "0-8-0", over_by=1), Invariant.I1, "0-8-0"),
    Fault("two tokens of one patient", lambda c: rewrite(c, "0-3-0", patient_id="secret-1"), Invariant.I2, "0-3-0"),
    Fault("a gap in the sequence", lambda c: rewrite(c, "0-5-0", sequence=7), Invariant.I4, "0-5-0"),
    Fault("a sequence number twice", lambda c: rewrite(c, "0-5-0", sequence=5), Invariant.I4, "0-5-0"),
    Fault("promoted past another", promote_the_wrong_one, Invariant.I5, "0-6-1"),
    Fault("a wrong position", lambda c: rewrite(c, "0-4-0", position=1), Invariant.I5, "0-4-0"),
    Fault("nobody promoted", lambda c: drop(c, "0-8-1"), Invariant.I6, "0-4-0"),
    Fault("called before they came", call_who_is_not_there, Invariant.I7, "0-7-0"),
    Fault("checked in, yet confirmed", lambda c: rewrite(c, "0-5-0", status="CONFIRMED"), Invariant.I7, "0-5-0"),
    Fault("seated by checking in", lambda c: rewrite(c, "0-5-0", type="TokenConfirmed"), Invariant.I7, "0-5-0"),
    Fault("promoted to another class", lambda c: rewrite(c, "0-6-1", source="ONLINE"), Invariant.I7, "0-6-1"),
    Fault("another's token cancelled", lambda c: rewrite(c, "0-6-0", token_id=f"{TOKEN}.1"), Invariant.I7, "0-6-0"),
    Fault("a token from nowhere", lambda c: rewrite(c, "0-5-0", token_id=f"{TOKEN}.9"), Invariant.I7, "0-5-0"),
    Fault("issued, not as asked", lambda c: rewrite(c, "0-1-0", source="PAID"), Invariant.I7, "0-1-0"),
    Fault("issued already cancelled", lambda c: rewrite(c, "0-2-0", status="CANCELLED"), Invariant.I7, "0-2-0"),
    Fault("waits, yet has a doctor", lambda c: rewrite(c, "0-4-0", doctor_id="a"), Invariant.I7, "0-4-0"),
    Fault("the called one's doctor swapped", lambda c: rewrite(c, "0-7-0", doctor_id="b"), Invariant.I7, "0-7-0"),
    Fault("a slot closed twice", lambda c: rewrite(c, "0-0-0", type="SlotClosed", **PLACE), Invariant.I7, "0-11-0"),
    Fault("a refusal among decisions", lambda c: refuse(c, "0-6-1"), Invariant.I7, "0-6-1"),
]


def refuse(clinic: Clinic, event_id: str) -> None:
    rewrite(clinic, event_id, type="CommandRejected", command_type="CancelToken", reason="TOKEN_UNKNOWN")


class Accomplice:
    """A model that has every fault the topic shows."""

    def __init__(self, clinic: Clinic) -> None:
        self._decisions: dict[int, list[Event]] = {}
        for record in clinic.topics[Kind.EVENTS, 0]:
            envelope = json.loads(record.value or b"")
            event = Event(envelope["type"][4:-3], int(envelope["sequence"]), envelope["data"])
            self._decisions.setdefault(int(envelope["id"].split("-")[1]), []).append(event)

    def decide(self, command: Command, timestamp_ms: int) -> list[Event]:
        del timestamp_ms
        return self._decisions[int(command.id.removeprefix("c"))]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_books_find_what_model_and_allocator_both_do_wrong(
    fault: Fault, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.plant(clinic)
    monkeypatch.setattr("services.auditor.audit.Model", lambda: Accomplice(clinic))

    report = audit(clinic)

    assert fault.named in named(report, fault.breaks)
    assert not report.broken.keys() & {Invariant.I3, Invariant.I8}
    assert_names_no_patient(report)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_replay_finds_what_only_the_allocator_does_wrong(fault: Fault, clinic: Clinic) -> None:
    fault.plant(clinic)

    report = audit(clinic)

    assert Invariant.I8 in report.broken
    assert fault.named in named(report, fault.breaks)
    assert_names_no_patient(report)


def named(report: Report, invariant: Invariant) -> set[str]:
    """The event ids that a breach names, and the commands and dead letters by topic and offset."""
    return {
        name.event_id or f"{name.topic.split('.')[1]}@{name.offset}"
        for breach in report.breaches.get(invariant, [])
        for name in breach.records
    }


def assert_names_no_patient(report: Report) -> None:
    assert "secret" not in json.dumps(report.as_json())


# What happens to records, not to decisions.


def records(clinic: Clinic, kind: Kind = Kind.EVENTS) -> list[Record]:
    return clinic.topics[kind, 0]


def again(clinic: Clinic, event_id: str, kind: Kind = Kind.EVENTS, **changes: Any) -> None:
    """Append a record another time."""
    topic = records(clinic, kind)
    index = event_index(clinic, event_id) if kind is Kind.EVENTS else 0
    topic.append(topic[index]._replace(offset=len(topic), **changes))


def replace(clinic: Clinic, event_id: str, **changes: Any) -> None:
    index = event_index(clinic, event_id)
    records(clinic)[index] = records(clinic)[index]._replace(**changes)


def replace_letter(clinic: Clinic, **changes: Any) -> None:
    topic = records(clinic, Kind.DEAD_LETTERS)
    topic[0] = topic[0]._replace(**changes)


def lose(clinic: Clinic, *event_ids: str) -> None:
    for event_id in event_ids:
        del records(clinic)[event_index(clinic, event_id)]


def flip_a_byte(clinic: Clinic) -> None:
    value = records(clinic)[1].value or b""
    replace(clinic, "0-1-0", value=value.replace(b"secret-1", b"secret-9"))


def bury_a_readable_one(clinic: Clinic) -> None:
    command = records(clinic, Kind.COMMANDS)[5]
    letter = records(clinic, Kind.DEAD_LETTERS)[0]
    headers = tuple((name, b"5" if name == "opd-source-offset" else value) for name, value in letter.headers)
    records(clinic, Kind.DEAD_LETTERS).insert(0, command._replace(topic=letter.topic, offset=0, headers=headers[2:]))


def decide_the_unreadable(clinic: Clinic) -> None:
    value = (records(clinic)[1].value or b"").replace(b'"id":"0-1-0"', b'"id":"0-9-0"')
    index = event_index(clinic, "0-10-0")
    records(clinic).insert(index, records(clinic)[1]._replace(offset=index, value=value))


def answer_nobody(clinic: Clinic) -> None:
    again(clinic, "0-11-1", value=(records(clinic)[-1].value or b"").replace(b"0-11-1", b"0-99-0"))


def appear_late(clinic: Clinic) -> None:
    late = records(clinic).pop(event_index(clinic, "0-5-0"))
    records(clinic).append(late)


def rename_letter(clinic: Clinic, name: str, value: bytes) -> None:
    headers = records(clinic, Kind.DEAD_LETTERS)[0].headers
    replace_letter(clinic, headers=tuple((own, value if own == name else given) for own, given in headers))


def rename(name: str, value: bytes) -> Callable[[Clinic], None]:
    return lambda clinic: rename_letter(clinic, name, value)


def bury_twice(clinic: Clinic) -> None:
    again(clinic, "", Kind.DEAD_LETTERS, value=b"x")


LETTER = "dead-letters@0"
SPOILT: list[tuple[str, Callable[[Clinic], None], Invariant, str]] = [
    ("a decision lost", lambda c: lose(c, "0-6-0", "0-6-1"), Invariant.I3, "commands@6"),
    ("the first event of two lost", lambda c: lose(c, "0-6-0"), Invariant.I3, "0-6-1"),
    ("the last event of two lost", lambda c: lose(c, "0-6-1"), Invariant.I8, "commands@6"),
    ("an event lost", lambda c: lose(c, "0-5-0"), Invariant.I4, "0-6-0"),
    ("a dead letter lost", lambda c: records(c, Kind.DEAD_LETTERS).clear(), Invariant.I3, f"commands@{UNREADABLE}"),
    ("a dead letter's value changed", lambda c: replace_letter(c, value=b"rubbish"), Invariant.I3, LETTER),
    ("a dead letter's key lost", lambda c: replace_letter(c, key=None), Invariant.I3, LETTER),
    ("a dead letter's header changed", rename("trace", b"2"), Invariant.I3, LETTER),
    ("a dead letter that says not why", rename("opd-error", b""), Invariant.I3, LETTER),
    ("a dead letter of another topic", rename("opd-source-topic", b"x"), Invariant.I3, LETTER),
    ("a dead letter of nothing", rename("opd-source-offset", b"x"), Invariant.I3, LETTER),
    ("a dead letter astray", rename("opd-source-partition", b"1"), Invariant.I3, LETTER),
    ("a dead letter of no command", rename("opd-source-offset", b"77"), Invariant.I3, LETTER),
    ("a dead letter twice, differing", bury_twice, Invariant.I3, "dead-letters@1"),
    ("a readable command buried", bury_a_readable_one, Invariant.I3, "commands@5"),
    ("an unreadable record decided", decide_the_unreadable, Invariant.I3, "0-9-0"),
    ("an event of no command", answer_nobody, Invariant.I3, "0-99-0"),
    ("decided twice, differently", lambda c: again(c, "0-1-0", key=b"blr1/other"), Invariant.I4, "0-1-0"),
    ("out of order", appear_late, Invariant.I4, "0-5-0"),
    ("a byte changed", flip_a_byte, Invariant.I8, "0-1-0"),
    ("another key", lambda c: replace(c, "0-1-0", key=b"blr1/other"), Invariant.I8, "0-1-0"),
    ("another header", lambda c: replace(c, "0-1-0", headers=()), Invariant.I8, "0-1-0"),
    ("no event at all", lambda c: replace(c, "0-5-0", value=b"{}"), Invariant.I8, "events@5"),
    ("an event without its token", lambda c: rewrite(c, "0-5-0", without=("token_id",)), Invariant.I8, "0-5-0"),
    ("an event of a class unheard of", lambda c: rewrite(c, "0-5-0", source="VIP"), Invariant.I8, "0-5-0"),
    ("an event of a kind unheard of", lambda c: rewrite(c, "0-5-0", type="TokenLost"), Invariant.I8, "0-5-0"),
    ("an event too many", lambda c: again(c, "0-11-1", value=one_more(c)), Invariant.I8, "0-11-2"),
]


def one_more(clinic: Clinic) -> bytes:
    return (records(clinic)[-1].value or b"").replace(b"0-11-1", b"0-11-2")


@pytest.mark.parametrize(("spoil", "breaks", "names"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_spoilt_record_is_found(
    spoil: Callable[[Clinic], None], breaks: Invariant, names: str, clinic: Clinic
) -> None:
    spoil(clinic)

    report = audit(clinic)

    assert names in named(report, breaks), report.breaches
    assert_names_no_patient(report)


def test_repeats_that_are_the_same_to_the_byte_are_counted_and_allowed(clinic: Clinic) -> None:
    for event_id in ("0-6-0", "0-6-1", "0-1-0"):
        again(clinic, event_id)
    again(clinic, "", Kind.DEAD_LETTERS)

    report = audit(clinic)

    assert report.holds, report.breaches
    assert report.repeats == 4


def test_repeats_are_recognized_however_late_they_come(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "REMEMBERED", 2)
    again(clinic, "0-1-0")
    again(clinic, "0-2-0", key=b"blr1/other")
    appear_late(clinic)

    report = audit(clinic)

    assert report.repeats == 1
    assert [breach.text for breach in report.breaches[Invariant.I4] if "bytes" in breach.text]
    assert {"0-2-0", "0-5-0"} <= named(report, Invariant.I4)


def test_breaches_beyond_the_limit_are_counted(clinic: Clinic) -> None:
    records(clinic).clear()

    report = audit(clinic, limit=3)

    assert report.broken[Invariant.I3] == 11
    assert len(report.breaches[Invariant.I3]) == 3


class MovingReader(MemoryReader):
    """Gives what lies behind the audit's start only to who waits."""

    def __init__(self, records: list[Record], end: int) -> None:
        super().__init__(records[:end])
        self._later = MemoryReader(records[end:])

    def next(self, *, wait: bool = False) -> Record | None:
        return super().next() or (self._later.next() if wait else None)


@dataclass
class MovingLog:
    """A clinic that goes on while it is audited."""

    clinic: Clinic
    commands: int
    events: int
    partitions: int = 1

    def read(self, kind: Kind, partition: int) -> MovingReader:
        topic = self.clinic.topics[kind, partition]
        ends = {Kind.COMMANDS: self.commands, Kind.EVENTS: self.events, Kind.DEAD_LETTERS: len(topic)}
        return MovingReader(topic, ends[kind])

    def letters_begin(self, partition: int) -> int:
        return self.clinic.letters_begin(partition)

    def commands_end(self, partition: int) -> int:
        return self.clinic.commands_end(partition)


def test_dead_letters_that_expired_are_counted_and_not_asked_for(clinic: Clinic) -> None:
    records(clinic, Kind.DEAD_LETTERS).clear()
    clinic.expired = 1
    report = audit(clinic)
    assert report.holds, report.breaches
    assert report.expired == report.as_json()["expired"] == report.unreadable == 1


def test_a_dead_letter_lost_behind_one_that_is_there_has_not_expired(clinic: Clinic) -> None:
    for rubbish in (b"rubbish", b"more rubbish", b"and more"):
        clinic.take(KEY, rubbish)
    del records(clinic, Kind.DEAD_LETTERS)[2]
    del records(clinic, Kind.DEAD_LETTERS)[0]
    report = audit(clinic)
    assert report.expired == 1
    assert report.broken == {Invariant.I3: 1}


def test_decisions_on_their_way_are_waited_for(clinic: Clinic) -> None:
    report = audit(MovingLog(clinic, commands=9, events=3))

    assert report.holds, report.breaches
    assert report.events == EVENTS.index("0-8-1 TokenPromoted") + 1


def test_what_came_after_the_start_is_left_out(clinic: Clinic) -> None:
    report = audit(MovingLog(clinic, commands=2, events=9))

    assert report.holds, report.breaches
    assert (report.commands, report.events) == (2, 9)
    assert report.ahead == 9 - 2 + len(records(clinic, Kind.DEAD_LETTERS))


def test_commands_that_stay_undecided_are_named(clinic: Clinic) -> None:
    del records(clinic)[2:]

    report = audit(clinic)

    assert "commands@2" in named(report, Invariant.I3)


def test_a_record_in_another_partition_than_its_key_s_must_be_a_dead_letter() -> None:
    engine = MemoryEngine(partitions=2)
    wrong = 1 - engine.partition_of(KEY)
    command = {"specversion": "1.0", "id": "c", "source": "test", "type": "opd.CloseSlot.v1"}
    data = {"facility_id": "blr1", "department_id": "cardiology", **PLACE}
    value = json.dumps({**command, "data": data}).encode()
    engine.take(KEY, value, partition=wrong)
    assert audit(engine).holds

    engine.topics[Kind.DEAD_LETTERS, wrong].clear()
    assert Invariant.I3 in audit(engine).broken


@pytest.fixture
def old_clinic() -> Clinic:
    """Two days ago: 1 sits with a, 2 waits; today a takes two patients a slot, which is too late for 2 (R16)."""
    clinic = Clinic()
    clinic.timestamp_ms = NOON_MS - DAY_MS
    clinic.say("RegisterDoctor", doctor_id="a", name="Dr A", schedule=[{"slot": PLACE["slot"], "capacity": 1}])
    clinic.request(1, "ONLINE")
    clinic.request(2, "ONLINE")
    clinic.timestamp_ms = NOON_MS + 2 * DAY_MS
    clinic.say("RegisterDoctor", doctor_id="a", name="Dr A", schedule=[{"slot": PLACE["slot"], "capacity": 2}])
    return clinic


def test_an_old_pool_is_left_alone_when_a_doctor_is_registered_anew(old_clinic: Clinic) -> None:
    old_clinic.say("CheckIn", token_id=f"{TOKEN}.2")

    report = audit(old_clinic)

    assert report.holds, report.breaches
    assert "TokenPromoted" not in report.events_by_type


def test_an_old_pool_is_gone_through_when_a_seat_is_freed(old_clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    old_clinic.say("CancelToken", token_id=f"{TOKEN}.1")
    assert audit(old_clinic).events_by_type["TokenPromoted"] == 1

    drop(old_clinic, "0-4-1")
    monkeypatch.setattr("services.auditor.audit.Model", lambda: Accomplice(old_clinic))

    assert named(audit(old_clinic), Invariant.I6) == {"commands@4", "0-2-0"}


def test_a_record_s_name_says_where_it_stands() -> None:
    assert str(RecordName("opd.events.v1", 2, 17, "2-5-0")) == "opd.events.v1[2]@17 (event 2-5-0)"
    assert str(RecordName("opd.commands.v1", 2, 17)) == "opd.commands.v1[2]@17"
