"""Departments' days, followed through the gateway as long as anybody looks at them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import date as calendar_date
from typing import Any, NamedTuple

import structlog

from services.board.channel import Channel
from services.board.day import Day
from services.board.gateway import Gateway, GatewayUnavailable, NothingThere
from services.board.metrics import BoardMetrics

_log = structlog.stdlib.get_logger(__name__)

AT_MOST_EVERY_S = 0.2  # screens are told of something new
AGAIN_AFTER_S = 1.0
MAX_DAYS = 500  # of the gateway's 1,000 streams
MAX_UNKNOWN = 20  # of departments without a doctor, which anybody can invent
KEPT_S = 60.0  # a day that nobody looks at: pages are loaded anew

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")

Rooms = Mapping[str, Mapping[str, str]]


class TooMany(Exception):  # noqa: N818  it is what it is
    """More days are followed than one board can."""


class Which(NamedTuple):
    """Which department's day."""

    facility_id: str
    department_id: str
    date: str

    @property
    def department(self) -> str:
        """As it is called in a settings file."""
        return f"{self.facility_id}/{self.department_id}"


class Following:
    """One department's day, kept current.

    Attributes:
        channel: what the hall sees.
        readers: how many look at it, or at a token of it.
        unread_since: when the last one left.
        is_known: whether the department has a doctor.
    """

    def __init__(self, which: Which, gateway: Gateway, rooms: Mapping[str, str]) -> None:
        self.channel = Channel()
        self.readers = 0
        self.unread_since = time.monotonic()
        self.is_known = False
        self._which, self._gateway, self._rooms = which, gateway, rooms
        self._day = Day()
        self._last_id: str | None = None
        self._is_current = False
        self._tokens: dict[int, Channel] = {}
        self._news = asyncio.Event()
        self._loaded = asyncio.Event()

    def token(self, number: int) -> Channel:
        """Give what the one sees who follows this token."""
        channel = self._tokens.setdefault(number, Channel())
        self._news.set()
        return channel

    @property
    def names(self) -> Mapping[str, str]:
        """The doctors' names by their ids."""
        return self._day.doctors

    async def loaded(self) -> None:
        """Return when it is known whether there is such a department, or that this cannot be known."""
        await self._loaded.wait()

    async def run(self) -> None:
        """Follow until cancelled; whatever fails is tried again, and the screens are told that it failed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            while True:
                again_after_s = AGAIN_AFTER_S
                try:
                    await self._load()
                    await self._hear()
                    again_after_s = AT_MOST_EVERY_S
                except NothingThere:
                    self.is_known, self._day, self._last_id = False, Day(), None
                    self._is_current = True  # there is nobody, as far as anybody knows
                except GatewayUnavailable as error:
                    if self._is_current:
                        _log.warning("the gateway is away", department=self._which.department, error=str(error))
                    self._is_current = False
                except Exception:  # noqa: BLE001  a fault of ours must not leave screens with what is so no more
                    _log.exception("a day is not followed", department=self._which.department)
                    self._is_current = False
                self._loaded.set()
                self._news.set()
                await asyncio.sleep(again_after_s)

    async def _load(self) -> None:
        """Read the day as it is; what happened behind `_last_id` may be in it already, and is heard again."""
        facility_id, department_id, date = self._which
        last_id = await self._gateway.position(facility_id, department_id, after=self._last_id)
        day, slots = Day(as_of=self._day.as_of), set()
        for doctor in await self._gateway.doctors(facility_id, department_id):
            day.doctors[doctor["doctor_id"]] = doctor["name"]
            slots |= {entry["slot"] for entry in doctor["schedule"] if _is_worked(entry, date)}
        for slot in sorted(slots):
            with suppress(NothingThere):  # a week that began after this date
                day.add_pool(await self._gateway.pool(facility_id, department_id, date, slot))
        async for token in self._gateway.tokens(facility_id, department_id, date):
            day.add_token(token)
        self._day, self._last_id, self.is_known = day, last_id, True

    async def _hear(self) -> None:
        """Let events happen until the gateway ends the stream, or a doctor's week changes."""
        facility_id, department_id, date = self._which
        async with aclosing(self._gateway.events(facility_id, department_id, self._last_id or "")) as events:
            async for event in events:
                self._is_current = True
                self._loaded.set()
                self._news.set()
                if event is None:
                    continue
                self._last_id = event.id
                if event.type == "DoctorRegistered":
                    return  # who works when is not worked out here: it is read again
                if event.data.get("date") == date:
                    self._day.take(event.id, event.type, event.time, event.data)

    async def _publish(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            facility_id, department_id, date = self._which
            about: dict[str, Any] = {"facility_id": facility_id, "department_id": department_id, "date": date}
            about["current"] = self._is_current
            self.channel.publish({**about, "last_id": self._last_id, **self._day.as_shown(self._rooms)})
            for number, told in self._day.of_tokens(self._tokens, self._rooms).items():
                self._tokens[number].publish({**about, **told})
            await asyncio.sleep(AT_MOST_EVERY_S)


class Followings:
    """All days that somebody looks at."""

    def __init__(self, gateway: Gateway, rooms: Rooms, metrics: BoardMetrics) -> None:
        self._gateway, self._rooms, self._metrics = gateway, rooms, metrics
        self._followed: dict[Which, Following] = {}
        self._tasks: dict[Which, asyncio.Task[None]] = {}

    def begin(self, days: Iterable[Which]) -> None:
        """Follow these, if they are not followed.

        Raises:
            TooMany: another one is one too many.
        """
        for which in days:
            if which not in self._followed:
                self._begin(which)

    @asynccontextmanager
    async def reading(self, which: Which) -> AsyncIterator[Following]:
        """Give a day to look at, followed as long as this lasts and a little longer."""
        self.begin([which])
        following = self._followed[which]
        following.readers += 1
        try:
            await following.loaded()
            yield following
        finally:
            following.readers -= 1
            following.unread_since = time.monotonic()

    async def end_the_unread(self) -> None:
        """Follow no more what nobody looks at; until cancelled."""
        while True:
            await asyncio.sleep(KEPT_S / 4)
            for which, following in list(self._followed.items()):
                if not following.readers and time.monotonic() - following.unread_since > KEPT_S:
                    await self._end(which)

    async def close(self) -> None:
        """Follow nothing any more."""
        for which in list(self._followed):
            await self._end(which)

    def _begin(self, which: Which) -> None:
        unknown = sum(not each.is_known for each in self._followed.values())
        if len(self._followed) >= MAX_DAYS or unknown >= MAX_UNKNOWN:
            raise TooMany
        following = Following(which, self._gateway, self._rooms.get(which.department, {}))
        self._followed[which] = following
        self._tasks[which] = asyncio.create_task(following.run(), name=f"following {which.department} {which.date}")
        self._metrics.days.set(len(self._followed))

    async def _end(self, which: Which) -> None:
        task = self._tasks.pop(which)
        del self._followed[which]
        self._metrics.days.set(len(self._followed))
        task.cancel()
        await asyncio.wait({task})


def _is_worked(entry: Mapping[str, Any], date: str) -> bool:
    weekday = WEEKDAYS[calendar_date.fromisoformat(date).weekday()]
    return weekday in entry.get("weekdays", WEEKDAYS)
