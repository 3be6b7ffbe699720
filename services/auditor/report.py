"""What an audit found."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from services.auditor.records import Record


class Invariant(StrEnum):
    """What must hold (spec §4)."""

    I1 = "I1"
    I2 = "I2"
    I3 = "I3"
    I4 = "I4"
    I5 = "I5"
    I6 = "I6"
    I7 = "I7"
    I8 = "I8"
    I9 = "I9"

    @property
    def meaning(self) -> str:
        """The invariant in words."""
        return _MEANING[self]


_MEANING = {
    Invariant.I1: "no session gives more seats than it has",
    Invariant.I2: "one active token a patient and pool",
    Invariant.I3: "every command has one decision or one dead letter",
    Invariant.I4: "events stand in order, numbered without gaps; a repeat is the same to the byte",
    Invariant.I5: "every promotion respects the waitlist's order",
    Invariant.I6: "no token waits that an eligible doctor could take",
    Invariant.I7: "statuses change only as the rules allow",
    Invariant.I8: "replaying the commands gives the same events, byte for byte",
    Invariant.I9: "Redis equals the model, department for department, and does not contradict itself",
}


_COUNTS = ("commands", "unreadable", "events", "repeats", "dead_letters", "ahead", "departments", "partitions")


class RecordName(NamedTuple):
    """Where a record stands; its content may name a patient and is never shown."""

    topic: str
    partition: int
    offset: int
    event_id: str | None = None

    @classmethod
    def of(cls, record: Record, event_id: str | None = None) -> "RecordName":
        """Name a record, an event by its id too."""
        return cls(record.topic, record.partition, record.offset, event_id)

    def __str__(self) -> str:
        """Give it as `topic[partition]@offset`."""
        event = f" (event {self.event_id})" if self.event_id else ""
        return f"{self.topic}[{self.partition}]@{self.offset}{event}"


class Breach(NamedTuple):
    """One place where an invariant does not hold, with the records that show it."""

    text: str
    records: tuple[RecordName, ...]


@dataclass
class Report:
    """What was read, and each broken invariant with the records that show it.

    Attributes:
        limit: breaches kept for an invariant; the rest is only counted.
        breaches: the first breaches of each broken invariant.
        broken: how many breaches of each there are.
        unchecked: what was not looked at.
        began_behind: by partition, the offset of the snapshot that its audit began from.
        commands: records audited of the commands topic.
        unreadable: how many of them are unreadable (R1).
        events: records read of the events topic, repeats included.
        repeats: events and dead letters that stood again, the same to the byte.
        dead_letters: records read of the dead-letter topic.
        expired: unreadable records whose dead letters the topic does not hold any more.
        ahead: events and dead letters of commands that came after the audit's start: not audited.
        departments: streams seen.
        events_by_type: first appearances of `TokenConfirmed`, …
    """

    limit: int = 10
    breaches: dict[Invariant, list[Breach]] = field(default_factory=dict)
    broken: Counter[Invariant] = field(default_factory=Counter)
    unchecked: set[Invariant] = field(default_factory=lambda: {Invariant.I9})
    began_behind: dict[int, int] = field(default_factory=dict)
    commands: int = 0
    unreadable: int = 0
    events: int = 0
    repeats: int = 0
    dead_letters: int = 0
    expired: int = 0
    ahead: int = 0
    departments: int = 0
    partitions: int = 0
    events_by_type: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        """Whether every invariant that was looked at holds."""
        return not self.broken

    def breach(self, invariant: Invariant, text: str, *records: RecordName) -> None:
        """Note that an invariant does not hold. The text must not name a patient."""
        self.broken[invariant] += 1
        kept = self.breaches.setdefault(invariant, [])
        if len(kept) < self.limit:
            kept.append(Breach(text, records))

    def add(self, other: "Report") -> None:
        """Take in what was found in other partitions."""
        for invariant, breaches in other.breaches.items():
            kept = self.breaches.setdefault(invariant, [])
            kept += breaches[: self.limit - len(kept)]
        self.broken.update(other.broken)
        self.events_by_type.update(other.events_by_type)
        self.unchecked &= other.unchecked
        self.began_behind |= other.began_behind
        for count in _COUNTS:
            setattr(self, count, getattr(self, count) + getattr(other, count))

    def as_json(self) -> dict[str, Any]:
        """Give the report for machines."""
        return {
            "holds": self.holds,
            "partitions": self.partitions,
            "began_behind": self.began_behind,
            "departments": self.departments,
            "commands": self.commands,
            "unreadable": self.unreadable,
            "events": self.events,
            "repeats": self.repeats,
            "dead_letters": self.dead_letters,
            "expired": self.expired,
            "ahead": self.ahead,
            "events_by_type": dict(sorted(self.events_by_type.items())),
            "invariants": {
                invariant.value: {
                    "meaning": invariant.meaning,
                    "holds": None if invariant in self.unchecked else invariant not in self.broken,
                    "breaches": self.broken[invariant],
                    "shown": [
                        {"text": breach.text, "records": [name._asdict() for name in breach.records]}
                        for breach in self.breaches.get(invariant, [])
                    ],
                }
                for invariant in Invariant
            },
        }
