"""Puts the events and dead letters of a partition beside the commands that caused them, repeats set aside."""

from collections import OrderedDict
from typing import NamedTuple

from services.auditor.events import EventRecord, read_event
from services.auditor.records import Kind, Log, Record
from services.auditor.report import Invariant, RecordName, Report

REMEMBERED = 50_000  # records a partition; what comes again later than that is looked up in the topic itself

SOURCE_HEADERS = ("opd-source-topic", "opd-source-partition", "opd-source-offset")
ERROR_HEADERS = frozenset({"opd-error", *SOURCE_HEADERS})


class Letter(NamedTuple):
    """A dead letter and the offset of the command's record that it names."""

    record: Record
    offset: int

    @property
    def place(self) -> tuple[int, int]:
        """Where it belongs, as an event's is: a record causes one dead letter."""
        return self.offset, 0

    @property
    def event_id(self) -> None:
        """A dead letter has no id."""


Said = EventRecord | Letter


def read_letter(record: Record) -> Letter | None:
    """Read where a dead letter came from; None if it does not say, or says another partition."""
    headers = dict(record.headers)  # of a name that stands twice the last counts (R1)
    partition, offset = headers.get("opd-source-partition"), headers.get("opd-source-offset")
    if partition != str(record.partition).encode() or offset is None or not offset.isdigit():
        return None
    return Letter(record, int(offset))


class Merge:
    """One partition of the events or of the dead letters, command by command.

    A record belongs to a *place*: the offset of the command's record, and its number among what that caused. Places
    rise from record to record, but for repeats: those are compared with their first appearance, counted and left out.
    """

    def __init__(self, log: Log, kind: Kind, partition: int, report: Report) -> None:
        self._log, self._kind, self._partition, self._report = log, kind, partition, report
        self._reader = log.read(kind, partition)
        self._head: Said | None = None
        self._highest = (-1, 0)
        self._remembered: OrderedDict[tuple[int, int], _First] = OrderedDict()
        self._late: list[Said] = []
        self._out_of_order: set[tuple[int, int]] = set()

    def take(self, offset: int, wanted: int) -> list[Said]:
        """Give what the command at an offset caused; wait for it where less than wanted is there and the log ends."""
        taken: list[Said] = []
        while True:
            if self._head is None:
                self._head = self._next(wait=len(taken) < wanted)
            if self._head is None or self._head.place[0] > offset:
                return taken
            if self._head.place[0] < offset:
                self._stray(self._head)
            else:
                taken.append(self._head)
            self._head = None

    def finish(self, audited: int) -> None:
        """Read to the end, past the last audited command.

        Args:
            audited: the offset below which commands were audited.
        """
        self.take(audited - 1, 0)
        end = self._log.commands_end(self._partition)
        while self._head is not None:
            if self._head.place[0] >= end:
                self._stray(self._head)
            else:
                self._report.ahead += 1
            self._head = self._next(wait=False)
        self._reader.close()
        if self._late:
            self._look_up_late_repeats()

    def _next(self, *, wait: bool) -> Said | None:
        """Give the next record at a place that was not reached before."""
        while (record := self._reader.next(wait=wait)) is not None:
            said = self._read(record)
            if said is None:
                continue
            if said.place > self._highest:
                self._highest = said.place
                self._remember(said)
                return said
            self._check_repeat(said)
        return None

    def _read(self, record: Record) -> Said | None:
        said: Said | None
        if self._kind is Kind.EVENTS:
            said = read_event(record)
            if said is None:
                self._report.breach(Invariant.I8, "no event of the contract and this partition", RecordName.of(record))
            self._report.events += 1
        else:
            said = read_letter(record)
            if said is None:
                text = "a dead letter that does not say which command of this partition it was"
                self._report.breach(Invariant.I3, text, RecordName.of(record))
            self._report.dead_letters += 1
        return said

    def _stray(self, said: Said) -> None:
        what = "an event" if self._kind is Kind.EVENTS else "a dead letter"
        text = f"{what} of a command that does not exist, at offset {said.place[0]}"
        self._report.breach(Invariant.I3, text, RecordName.of(said.record, said.event_id))

    # Repeats.

    def _remember(self, said: Said) -> None:
        self._remembered[said.place] = _First(_digest(said.record), said.record.offset)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def _check_repeat(self, said: Said) -> None:
        first = self._remembered.get(said.place)
        if first is not None:
            self._compare(said, first)
        elif said.place in self._out_of_order or said.place > next(iter(self._remembered)):
            self._break_order(said)
        else:
            self._late.append(said)

    def _compare(self, said: Said, first: "_First") -> None:
        if _digest(said.record) == first.digest:
            self._report.repeats += 1
            return
        invariant = Invariant.I4 if self._kind is Kind.EVENTS else Invariant.I3
        name = RecordName.of(said.record, said.event_id)
        self._report.breach(invariant, "stands again with other bytes", name._replace(offset=first.offset), name)

    def _break_order(self, said: Said) -> None:
        self._out_of_order.add(said.place)
        text = f"appears first behind what a later command caused ({self._highest[0]}, {self._highest[1]})"
        self._report.breach(Invariant.I4, text, RecordName.of(said.record, said.event_id))

    def _look_up_late_repeats(self) -> None:
        """Read the topic again for repeats whose first appearance was long forgotten."""
        wanted = {said.place for said in self._late}
        firsts: dict[tuple[int, int], _First] = {}
        reader = self._log.read(self._kind, self._partition)
        while len(firsts) < len(wanted) and (record := reader.next()) is not None:
            said = read_event(record) if self._kind is Kind.EVENTS else read_letter(record)
            if said is not None and said.place in wanted:
                firsts.setdefault(said.place, _First(_digest(record), record.offset))
        reader.close()
        for late in self._late:
            first = firsts.get(late.place)
            if first is None or first.offset == late.record.offset:
                self._break_order(late)
            else:
                self._compare(late, first)


class _First(NamedTuple):
    """Where a place was first reached, and what stood there."""

    digest: int
    offset: int


def _digest(record: Record) -> int:
    """Stand for what of a record is the contract's; keyed anew in each process, so no sender can aim at it."""
    return hash((record.key, record.value, record.headers))
