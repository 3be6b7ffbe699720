"""Puts the answers of a partition, events or dead letters, beside the commands that caused them; repeats aside."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from services.auditor.events import EventRecord
from services.auditor.records import Kind, Log, Record
from services.auditor.report import Invariant, RecordName, Report

REMEMBERED = 20_000  # answers a partition; what comes again later than that is looked up in the topic itself

ERROR_HEADERS = frozenset({"opd-error", "opd-source-topic", "opd-source-partition", "opd-source-offset"})


class Letter(NamedTuple):
    """A dead letter.

    Attributes:
        event_id: none: it is no event.
        place: the offset of the command's record that it names; a record causes one dead letter.
    """

    record: Record
    event_id: str | None
    place: tuple[int, int]


def read_letter(record: Record) -> Letter | None:
    """Read where a dead letter came from; None if it does not say, or says another partition."""
    headers = dict(record.headers)  # of a name that stands twice the last counts (R1)
    partition, offset = headers.get("opd-source-partition"), headers.get("opd-source-offset")
    if partition != str(record.partition).encode() or offset is None or not offset.isdigit():
        return None
    return Letter(record, None, (int(offset), 0))


Answer = TypeVar("Answer", EventRecord, Letter)


class Merge(Generic[Answer]):
    """One partition of the events or of the dead letters, command by command.

    An answer has a *place*: the offset of the command's record, and its number among what that caused. Places rise
    from record to record, but for repeats: those are compared with their first appearance, counted and left out.
    """

    def __init__(  # noqa: PLR0913  what is read, how, and who is told
        self,
        log: Log,
        kind: Kind,
        partition: int,
        read: Callable[[Record], Answer | None],
        report: Report,
        *,
        begin: int = 0,
    ) -> None:
        """`begin` is the first offset that the topic still holds."""
        self._log, self._kind, self._partition, self._report = log, kind, partition, report
        self._read: Callable[[Record], Answer | None] = read
        self._reader = log.read(kind, partition)
        self._begin = begin
        self._first_place: int | None = None
        self._head: Answer | None = None
        self._highest = (-1, 0)
        self._remembered: OrderedDict[tuple[int, int], Answer] = OrderedDict()
        self._late: list[Answer] = []
        self._out_of_order: set[tuple[int, int]] = set()

    def skip(self, up_to: int) -> None:
        """Pass over what the commands up to an offset caused: it was audited before they were deleted."""
        while (head := self._next(wait=False)) is not None:
            if head.place[0] > up_to:
                self._head = head
                return

    def take(self, offset: int, wanted: int) -> list[Answer]:
        """Give what the command at an offset caused; wait for it where less than wanted is there and the log ends."""
        taken: list[Answer] = []
        while True:
            if self._head is None:
                self._head = self._next(wait=len(taken) < wanted)
            if self._head is None or self._head.place[0] > offset:
                return taken
            if self._head.place[0] == offset:
                taken.append(self._head)
            else:
                self._stray(self._head)
            self._head = None

    def may_have_lost(self, offset: int) -> bool:
        """Say whether what the command at an offset caused may have expired: it was before all that is left."""
        return self._begin > 0 and (self._first_place is None or offset < self._first_place)

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
            self._check_late_repeats()

    def _next(self, *, wait: bool) -> Answer | None:
        """Give the next answer at a place that was not reached before."""
        while (record := self._reader.next(wait=wait)) is not None:
            self._count()
            answer = self._read(record)
            if answer is None:
                self._refuse(record)
            elif answer.place > self._highest:
                self._highest = answer.place
                if self._first_place is None:
                    self._first_place = answer.place[0]
                self._remembered[answer.place] = answer
                if len(self._remembered) > REMEMBERED:
                    self._remembered.popitem(last=False)
                return answer
            else:
                self._check_repeat(answer)
        return None

    def _count(self) -> None:
        if self._kind is Kind.EVENTS:
            self._report.events += 1
        else:
            self._report.dead_letters += 1

    def _refuse(self, record: Record) -> None:
        if self._kind is Kind.EVENTS:
            invariant, text = Invariant.I8, "no event of the contract, or not of this partition"
        else:
            invariant, text = Invariant.I3, "a dead letter that does not say which command of this partition it was"
        self._report.breach(invariant, text, RecordName.of(record))

    def _stray(self, answer: Answer) -> None:
        what = "an event" if self._kind is Kind.EVENTS else "a dead letter"
        text = f"{what} of a command that does not exist, at offset {answer.place[0]}"
        self._report.breach(Invariant.I3, text, RecordName.of(answer.record, answer.event_id))

    # Repeats (§4): allowed, if they are the same to the byte.

    def _check_repeat(self, answer: Answer) -> None:
        first = self._remembered.get(answer.place)
        if first is not None:
            self._compare(answer, first)
        elif answer.place > next(iter(self._remembered)) or answer.place in self._out_of_order:
            self._break_order(answer)
        else:
            self._late.append(answer)

    def _compare(self, answer: Answer, first: Answer) -> None:
        if _contract_of(answer.record) == _contract_of(first.record):
            self._report.repeats += 1
            return
        invariant = Invariant.I4 if self._kind is Kind.EVENTS else Invariant.I3
        names = [RecordName.of(one.record, one.event_id) for one in (first, answer)]
        self._report.breach(invariant, "stands again with other bytes", *names)

    def _break_order(self, answer: Answer) -> None:
        self._out_of_order.add(answer.place)
        text = f"appears first behind what the command at offset {self._highest[0]} caused"
        self._report.breach(Invariant.I4, text, RecordName.of(answer.record, answer.event_id))

    def _check_late_repeats(self) -> None:
        """Read the topic again for repeats whose first appearance is not remembered any more."""
        wanted = {answer.place for answer in self._late}
        firsts: dict[tuple[int, int], Answer] = {}
        reader = self._log.read(self._kind, self._partition)
        while len(firsts) < len(wanted) and (record := reader.next()) is not None:
            answer = self._read(record)
            if answer is not None and answer.place in wanted:
                firsts.setdefault(answer.place, answer)
        reader.close()
        for late in self._late:
            first = firsts.get(late.place, late)
            if first.record.offset == late.record.offset:
                self._break_order(late)
            else:
                self._compare(late, first)


def _contract_of(record: Record) -> tuple[object, ...]:
    """What of a record the contract is about: its own offset and timestamp are not."""
    return record.key, record.value, record.headers
