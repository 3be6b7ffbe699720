"""When a patient will be called, worked out from the history as it is now (`allocation_core/estimate.py`)."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from pydantic_core import from_json

from allocation_core.estimate import LATE_S, LONGEST_S, Experience, Moments, Visit, estimate
from schemas.words import Source, Status
from services.gateway import queries
from services.gateway.history import History
from services.gateway.shapes import Estimated, PoolSession

_LATELY = timedelta(days=14)
# What is read from is bounded by the days; how often, by these: a hall full of phones asks all the time.
_BEFORE_FOR_S, _TODAY_FOR_S = 900.0, 15.0
_KEPT = 500
_NEXT_TOKEN_NO = 2**31
_TO_BE_CALLED = frozenset({Status.CONFIRMED, Status.CHECKED_IN})

Department = tuple[str, str]
_Days = tuple[str, str, date, date]


class Estimates:
    """Estimates of one gateway; what departments were like is kept for a while, and can be forgotten any time."""

    def __init__(
        self, history: History, time_zone: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Slots are on the clocks of this time zone."""
        self.now = now
        self._history = history
        self._zone = ZoneInfo(time_zone)
        self._known: dict[_Days, tuple[float, Experience]] = {}

    async def of_token(self, token: asyncpg.Record) -> Estimated | None:
        """Say when a token will be called; None if nothing can be said: it waits for a seat, or is not for today."""
        if token["status"] not in _TO_BE_CALLED or token["doctor_id"] is None or not self._is_today(token):
            return None
        department, day, slot = (token["facility_id"], token["department_id"]), token["date"], token["slot"]
        rows = await self._history.rows(queries.SESSIONS_OF_A_POOL, *department, day, slot)
        free = sum(row["capacity"] - row["taken"] for row in rows if row["doctor_id"] == token["doctor_id"])
        return await self._estimate(department, day, token["doctor_id"], free, token["token_id"], self._visit(token))

    async def of_pool(
        self, department: Department, day: date, slot: str, sessions: Sequence[PoolSession]
    ) -> Estimated | None:
        """Say when who takes a token now, at the kiosk, will be called; None if nothing can be said."""
        free = [each for each in sessions if each.available and each.taken < each.capacity]
        if not free or day != self._today():
            return None
        # R5: who would get the token.
        session = min(free, key=lambda each: (each.taken / each.capacity, each.taken))
        begins_s, now_s = self._begins_s(day, slot), self.now().timestamp()
        visit = Visit(_NEXT_TOKEN_NO, begins_s, Source.WALK_IN, Status.CHECKED_IN, checked_in_s=now_s)
        seats = session.capacity - session.taken - 1
        return await self._estimate(department, day, session.doctor_id, seats, None, visit)

    async def _estimate(  # noqa: PLR0913, PLR0917  what an estimate goes by
        self, department: Department, day: date, doctor_id: str, free: int, token_id: str | None, mine: Visit
    ) -> Estimated | None:
        rows = await self._history.rows(queries.VISITS, *department, day, doctor_id)
        now = self.now()
        said = estimate(
            mine,
            [self._visit(row) for row in rows if row["token_id"] != token_id],
            doctor_id=doctor_id,
            before_today=await self._experience(department, day - _LATELY, day - timedelta(days=1), _BEFORE_FOR_S),
            today=await self._experience(department, day, day, _TODAY_FOR_S),
            free_seats=free,
            now_s=now.timestamp(),
        )
        if said is None:
            return None
        p50, p80 = (datetime.fromtimestamp(round(moment_s), UTC) for moment_s in said)
        return Estimated(p50=p50, p80=p80, as_of=now)

    async def _experience(self, department: Department, first: date, last: date, for_s: float) -> Experience:
        days = (*department, first, last)
        until, known = self._known.get(days, (0.0, Experience()))
        if time.monotonic() < until:
            return known
        if len(self._known) >= _KEPT:
            self._known.clear()
        values = (*days, self._zone.key)
        paces = await self._history.rows(queries.PACES, *values, LONGEST_S)
        [ways] = await self._history.rows(queries.WAYS, *values, LATE_S)
        known = _experience(paces, ways)
        self._known[days] = (time.monotonic() + for_s, known)
        return known

    def _is_today(self, token: asyncpg.Record) -> bool:
        return bool(token["date"] == self._today())

    def _today(self) -> date:
        return self.now().astimezone(self._zone).date()

    def _begins_s(self, day: date, slot: str) -> float:
        hour, minute = int(slot[:2]), int(slot[3:5])
        return datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone).timestamp()

    def _visit(self, row: asyncpg.Record) -> Visit:
        return Visit(
            row["token_no"],
            self._begins_s(row["date"], row["slot"]),
            Source(row["source"]),
            Status(row["status"]),
            *(None if row[name] is None else row[name].timestamp() for name in queries.MOMENTS),
        )


def _experience(paces: Sequence[Any], ways: Any) -> Experience:
    asked: dict[str, int] = from_json(ways["asked"] or "{}")
    return Experience(
        paces={doctor_id: Moments(*moments) for doctor_id, *moments in paces},
        doctor_days=ways["doctor_days"],
        late=Moments(*ways["late"]),
        arrivals=Moments(*ways["arrivals"]),
        came=ways["came"],
        expected=ways["expected"],
        asked={Source(source): count for source, count in asked.items()},
    )
