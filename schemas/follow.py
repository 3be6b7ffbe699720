"""For consumers: each event once and in order, whatever repeats stand in the topic (spec §4). Knows no Kafka client.

    follower = Follower(saved)  # one for each partition; None the first time
    for record in records:
        event = follower.take(record.key, record.value)
        if event is not None:
            ...
    saved = follower.state()  # to be kept together with the offset to go on at

After a failure the engine may append events again that stand there already, behind newer ones, with the same bytes; it
never appends one before an earlier one of its department. So of each department the next event is the one whose
`sequence` is one more than the last; a lower one is a repeat; a higher one means that some were missed.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from schemas.events import AnyEvent, UnreadableEvent, place_of, read_event

REMEMBERED = 1000


class Gap(ValueError):  # noqa: N818  it is what it is
    """Events of a department were missed; the follower stands where it stood.

    Attributes:
        department: `{facility_id}/{department_id}`.
        expected: the sequence that should have come.
        found: the one that came.
    """

    def __init__(self, department: str, expected: int, found: int) -> None:
        super().__init__(f"{department}: expected sequence {expected}, found {found}")
        self.department, self.expected, self.found = department, expected, found


class Contradiction(ValueError):  # noqa: N818  it is what it is
    """A record says other than what was there before it: no engine's failure leads to that. Nothing was taken.

    Attributes:
        department: `{facility_id}/{department_id}`.
        sequence: which event.
    """

    def __init__(self, department: str, sequence: int, text: str) -> None:
        super().__init__(f"{department}, sequence {sequence}: {text}")
        self.department, self.sequence = department, sequence


class _Last(NamedTuple):
    """A department's last event: its sequence, its id's numbers, and the digest of its bytes."""

    sequence: int
    place: tuple[int, int, int]
    digest: str


class Follower:
    """Gives the events of one partition of the events topic, each once, in order.

    Its memory goes by the number of departments, not of events: a few numbers for each, and `remembered` digests for
    all together, against which repeats are compared; an older repeat is dropped unseen.
    """

    def __init__(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        from_the_beginning: bool = True,
        remembered: int = REMEMBERED,
        read: Callable[[bytes], AnyEvent] = read_event,
    ) -> None:
        """Begin, or go on where `state()` was taken.

        Args:
            state: what `state()` gave.
            from_the_beginning: whether a department's first event must be its first ever. If not, whatever comes first
                is taken; a repeat among it is then told as a Gap, as it cannot be known to be one.
            remembered: how many digests are kept.
            read: `read_event`, or one that refuses more.

        Raises:
            ValueError: the state is none.
        """
        self._from_the_beginning = from_the_beginning
        self._remembered = remembered
        self._read = read
        self._last = _read_state(state) if state is not None else {}
        self._digests = OrderedDict(((name, last.sequence), last.digest) for name, last in self._last.items())

    def take(self, key: bytes | None, value: bytes | None) -> AnyEvent | None:
        """Take the next record; give its event, or None for a repeat.

        Raises:
            UnreadableEvent: the record is no event, or not of its key's department.
            Gap: events were missed; see `skip_to`.
            Contradiction: it is no repeat of what stood there, nor what can follow it.
        """
        event = self._read(value or b"")
        department = f"{event.data.facility_id}/{event.data.department_id}"
        if key != department.encode():
            raise UnreadableEvent("key does not match data")
        found = _Last(int(event.sequence), _place(event.id), blake2b(value or b"", digest_size=16).hexdigest())
        last = self._last.get(department)
        if last is not None and found.sequence <= last.sequence:
            self._check_repeat(department, found, last)
            return None
        self._check_next(department, found, last)
        self._last[department] = found
        self._remember(department, found)
        return event

    def skip_to(self, gap: Gap) -> None:
        """Do without the events that were missed: the record that told of the gap can then be taken.

        A gap that was closed since, by whatever way the missed events came, is none any more: nothing is done.
        """
        last = self._last.get(gap.department)
        if last is not None and last.sequence >= gap.found - 1:
            return
        place = last.place if last is not None else (-1, -1, -1)
        self._last[gap.department] = _Last(gap.found - 1, place, "")

    def state(self) -> dict[str, Any]:
        """Give all that is needed to go on, fit for JSON; to be kept with the offset behind the last record taken."""
        return {
            "version": 1,
            "departments": {name: [last.sequence, list(last.place), last.digest] for name, last in self._last.items()},
        }

    def _check_repeat(self, department: str, found: _Last, last: _Last) -> None:
        known = self._digests.get((department, found.sequence))
        if known and known != found.digest:
            raise Contradiction(department, found.sequence, "stands again with other bytes")
        if found.place > last.place:
            raise Contradiction(department, found.sequence, f"comes later than sequence {last.sequence}")

    def _check_next(self, department: str, found: _Last, last: _Last | None) -> None:
        expected = 1 if last is None else last.sequence + 1
        if found.sequence < 1:
            raise Contradiction(department, found.sequence, "events are numbered from 1")
        if found.sequence != expected and (last is not None or self._from_the_beginning):
            raise Gap(department, expected, found.sequence)
        if last is None or last.place == (-1, -1, -1):
            return
        if found.place <= last.place or found.place[0] != last.place[0]:
            raise Contradiction(department, found.sequence, f"its id is not behind that of sequence {last.sequence}")

    def _remember(self, department: str, found: _Last) -> None:
        self._digests[department, found.sequence] = found.digest
        while len(self._digests) > self._remembered:
            self._digests.popitem(last=False)


def _place(event_id: str) -> tuple[int, int, int]:
    try:
        return place_of(event_id)
    except ValueError:  # Python reads no integer of thousands of digits
        raise UnreadableEvent("id: no place in a log") from None


def _read_state(state: Mapping[str, Any]) -> dict[str, _Last]:
    if not isinstance(state, Mapping) or state.get("version") != 1:
        raise ValueError("not a follower's state of version 1")
    try:
        return {
            str(name): _Last(int(sequence), (int(partition), int(offset), int(n)), str(digest))
            for name, (sequence, (partition, offset, n), digest) in state["departments"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not a follower's state: {error}") from error
