"""Draws the board for a terminal of any size: so many lines, each as wide as the terminal."""

from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import NamedTuple

from rich.text import Text

from services.demo.board import Board, Department, Seats
from services.demo.pace import Pace
from services.demo.words import Line
from services.simulator.day import HOUR_MS, MINUTE_MS, OPENS_MS, slot_ends_ms, slot_starts_ms

_WIDE = 140  # from here on the events stand beside the board
_LEAST_NAME, _USUAL_NAME = 11, 18
_HERE, _NOW = 5, 6
_LEAST_BAR, _LONGEST_BAR = 3, 6
_USUAL_SEATS = 7  # 20/20+3: narrower cells would move about as the day goes on
_USUAL_END_MS = 18 * HOUR_MS
_LEAST_EVENTS = 5


class Moment(NamedTuple):
    """What is drawn.

    Attributes:
        title: what this is.
        lines: what happened, the last one last.
        decisions_per_s: in real time.
    """

    title: str
    board: Board
    pace: Pace
    lines: Sequence[Line]
    decisions_per_s: float


def clock(at_ms: int) -> str:
    """Give virtual time as `HH:MM`."""
    return f"{at_ms // HOUR_MS:02d}:{at_ms % HOUR_MS // MINUTE_MS:02d}"


def long_date(text: str) -> str:
    """Give `yyyy-mm-dd` as `Monday 23 November 2026`."""
    day = date.fromisoformat(text)
    return f"{day:%A} {day.day} {day:%B} {day.year}"


def draw(moment: Moment, width: int, height: int) -> list[Text]:
    """Give exactly `height` lines of exactly `width` cells."""
    top, bottom = _heading(moment, width), _footing(moment, width)
    room = max(0, height - len(top) - 1)
    body = _side_by_side(moment, width, room) if width >= _WIDE else _stacked(moment, width, room)
    lines = [*_filled([*top, *_filled(body, room)], height - 1), bottom][-height:]
    for line in lines:
        line.truncate(width, overflow="ellipsis", pad=True)
    return lines


def _filled(lines: list[Text], height: int) -> list[Text]:
    return [*lines, *(Text() for _ in range(height - len(lines)))][: max(0, height)]


def _stacked(moment: Moment, width: int, height: int) -> list[Text]:
    departments = _departments(moment.board, width, max(2, height - _LEAST_EVENTS - 1))
    events = _events(moment.lines, width, height - len(departments) - 1)
    return [*departments, _rule("what happens", width), *events]


def _side_by_side(moment: Moment, width: int, height: int) -> list[Text]:
    left_width = width * 3 // 5
    left = _departments(moment.board, left_width, height)
    so_far = [Text(), _rule("so far", left_width), *_counts(moment, left_width)]
    if len(left) + len(so_far) <= height:
        left += so_far
    right = _events(moment.lines, width - left_width - 3, height)
    body = []
    for one, other in zip(_filled(left, height), _filled(right, height), strict=True):
        one.truncate(left_width, overflow="ellipsis", pad=True)
        body.append(Text.assemble(one, (" │ ", "bright_black"), other))
    return body


def _heading(moment: Moment, width: int) -> list[Text]:
    board = moment.board
    heading = Text.assemble(" ", (moment.title, "bold"), "  ", (long_date(board.date), "dim"))
    heading.truncate(max(0, width - 8), overflow="ellipsis", pad=True)
    heading.append(f" {clock(board.clock_ms) if board.clock_ms else '--:--'} ", "bold reverse")
    gone = (board.clock_ms - OPENS_MS) / (_USUAL_END_MS - OPENS_MS)
    return [heading, _bar(gone, width, "cyan")]


def _bar(share: float, width: int, style: str) -> Text:
    done = round(width * min(1.0, max(0.0, share)))
    return Text.assemble(("━" * done, style), ("─" * (width - done), "bright_black"))


def _rule(title: str, width: int) -> Text:
    return Text(f"── {title} ".ljust(width, "─"), "bright_black")


def _footing(moment: Moment, width: int) -> Text:
    pace, departments = moment.pace, moment.board.departments.values()
    waiting = sum(department.waiting for department in departments)
    here = sum(department.here for department in departments)
    text = ""
    for part in (
        f" {moment.decisions_per_s:,.0f} decisions/s",
        f"answered in {pace.answer_ms(50):.0f} ms, 99 % in {pace.answer_ms(99):.0f} ms",
        f"{pace.decided:,} commands, {pace.events.total():,} events",
        f"{waiting:,} waiting, {here:,} in the hall",
    ):
        longer = f"{text} · {part}" if text else part
        if text and len(longer) > width:
            break
        text = longer
    footing = Text(text)
    footing.truncate(width, overflow="ellipsis", pad=True)
    footing.stylize("reverse")
    return footing


def _counts(moment: Moment, width: int) -> list[Text]:
    events = moment.pace.events
    counts = [
        (events["TokenConfirmed"], "seats at once", "green"),
        (events["TokenWaitlisted"], "to the waitlist", "yellow"),
        (events["TokenPromoted"], "moved up", "green"),
        (events["TokenPreempted"], "lost their seat", "magenta"),
        (events["TokenReassigned"], "to a colleague", "cyan"),
        (events["TokenUpgraded"], "became emergencies", "red"),
        (events["TokenCheckedIn"], "came", "blue"),
        (events["TokenCalled"], "called", "bold"),
        (events["TokenCompleted"], "done", ""),
        (events["TokenNoShow"], "did not come", "magenta"),
        (events["TokenCancelled"], "cancelled", "magenta"),
        (events["TokenExpired"], "waited in vain", "yellow"),
    ]
    columns = max(1, width // 29)
    lines = []
    for first in range(0, len(counts), columns):
        line = Text()
        for count, what, style in counts[first : first + columns]:
            line.append(f"{count:7,} ", style).append(f"{what:<21}", "dim")
        lines.append(line)
    return lines


def _events(lines: Sequence[Line], width: int, height: int) -> list[Text]:
    drawn = []
    for line in list(lines)[-height:] if height > 0 else []:
        text = Text.assemble((f" {clock(line.at_ms)} ", "dim"))
        text.append(_fitted(line.department, 16 if width >= 60 else 10), "dim").append(" ")
        text.append(line.text, line.style).truncate(width, overflow="ellipsis")
        drawn.append(text)
    return drawn


def _fitted(text: str, width: int) -> str:
    fitted = Text(text)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted.plain


class _Detail(Enum):
    """How much of a department is shown."""

    DOCTORS = "a line each, with their seats and whom they see"
    SERVING = "one line that says whom the doctors see"
    POOLS = "the seats alone"


def _departments(board: Board, width: int, height: int) -> list[Text]:
    """Draw the departments in the greatest detail that the height allows; those that do not fit are named."""
    if not board.departments:
        return [Text(" nobody is on duty yet", "dim")]
    lines = []
    for detail in _Detail:
        lines = _Table(board, width, detail).lines(height)
        if len(lines) <= height:
            return lines
    more = sorted(board.departments)[height - 2 :]
    return [*lines[: height - 1], Text(f" and {len(more)} more: {', '.join(more)}", "dim")]


class _Table:
    """Departments and slots at one width and detail."""

    def __init__(self, board: Board, width: int, detail: _Detail) -> None:
        self._board, self._detail = board, detail
        self._departments = sorted(board.departments.values(), key=lambda department: department.name)
        self._now = _NOW if detail is _Detail.DOCTORS else 0
        cells = [_seats_and_waiting(each, slot) for each in self._departments for slot in board.slots]
        self._text = max([_USUAL_SEATS, *map(len, cells)])
        room = width - self._now - _HERE
        count = max(0, room - _LEAST_NAME) // (self._text + 1)
        self._slots = self._in_sight(count)
        each = max(0, room - _USUAL_NAME) // max(1, len(self._slots))
        bar = min(_LONGEST_BAR, each - self._text - 2)
        self._bar = bar if bar >= _LEAST_BAR else 0
        self._cell = max(self._text + 1, min(each, self._text + self._bar + 4))
        self._name = max(0, min(32, room - self._cell * len(self._slots)))

    def lines(self, height: int) -> list[Text]:
        blocks = [self._block(department) for department in self._departments]
        total = 1 + sum(len(block) for block in blocks)
        if self._detail is _Detail.DOCTORS and total + len(blocks) - 1 <= height:
            for block in blocks[:-1]:
                block.append(Text())
        return [self._header(), *(line for block in blocks for line in block)]

    def _in_sight(self, count: int) -> list[str]:
        """Give as many slots as fit: the last one that is over, and what follows."""
        slots, now_ms = self._board.slots, self._board.clock_ms
        over = sum(slot_ends_ms(slot) <= now_ms for slot in slots)
        first = max(0, min(over - 1, len(slots) - count))
        return slots[first : first + count]

    def _header(self) -> Text:
        header = Text(" " * self._name)
        for slot in self._slots:
            is_now = slot_starts_ms(slot) <= self._board.clock_ms < slot_ends_ms(slot)
            header.append(" " * (self._cell - 5)).append(slot[:5], "bold underline" if is_now else "dim")
        header.append("here".rjust(_HERE), "dim")
        return header.append("now".rjust(self._now) if self._now else "", "dim")

    def _block(self, department: Department) -> list[Text]:
        pools = self._pools(department)
        match self._detail:
            case _Detail.DOCTORS:
                return [pools, *(self._doctor(department, doctor_id) for doctor_id in department.doctors)]
            case _Detail.SERVING:
                return [pools, self._serving(department)]
            case _Detail.POOLS:
                return [pools]

    def _pools(self, department: Department) -> Text:
        line = Text(_fitted(f" {department.name}", self._name), "bold")
        for slot in self._slots:
            seats, pool = department.seats(slot), department.pools.get(slot)
            style = "bright_black" if pool is None or pool.closed else _style(seats)
            line.append(" " * (self._cell - self._text - self._bar - bool(self._bar)))
            if self._bar:
                share = seats.taken / seats.offered if seats.offered else 0.0
                line.append_text(_bar(share, self._bar, style) if pool else Text(" " * self._bar)).append(" ")
            line.append(_seats_and_waiting(department, slot).rjust(self._text), style)
        return line.append(str(department.here or "").rjust(_HERE), "blue")

    def _doctor(self, department: Department, doctor_id: str) -> Text:
        doctor = department.doctors[doctor_id]
        line = Text(_fitted(f"   {doctor.name}", self._name))
        for slot in self._slots:
            seats, pool = department.seats_with(doctor_id, slot), department.pools.get(slot)
            text = f"{seats.taken}/{seats.offered}" if seats.offered or slot in doctor.schedule else ""
            style = "bright_black" if pool is None or pool.closed else ""
            if department.is_away(doctor_id, slot):
                text, style = "away", "magenta"
            line.append(text.rjust(self._cell), style)
        here = sum(pool.queue[doctor_id] for pool in department.pools.values())
        line.append(str(here or "").rjust(_HERE), "blue")
        return line.append(f"#{doctor.serving.token_no}".rjust(self._now) if doctor.serving else "", "bold")

    def _serving(self, department: Department) -> Text:
        line = Text("  ")
        for doctor_id, doctor in department.doctors.items():
            name = doctor.name.removeprefix("Dr ")
            name = f"{name[:14]}…" if len(name) > 15 else name
            if doctor.serving is not None:
                line.append(f" {name} ").append(f"#{doctor.serving.token_no} ", "bold")
            elif any(department.is_away(doctor_id, slot) for slot in self._soon()):
                line.append(f" {name} away ", "magenta")
            else:
                line.append(f" {name} - ", "dim")
        return line

    def _soon(self) -> list[str]:
        now_ms = self._board.clock_ms
        return [slot for slot in self._slots if slot_starts_ms(slot) - HOUR_MS <= now_ms < slot_ends_ms(slot)]


def _seats_and_waiting(department: Department, slot: str) -> str:
    pool = department.pools.get(slot)
    if pool is None:
        return ""
    seats = department.seats(slot)
    return f"{seats.taken}/{seats.offered}" + (f"+{pool.waiting}" if pool.waiting else "")


def _style(seats: Seats) -> str:
    if seats.taken > seats.offered:
        return "bold red"
    if seats.taken == seats.offered:
        return "yellow" if seats.taken else "dim"
    return "green" if seats.taken else "dim"
