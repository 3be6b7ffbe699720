"""How good the estimates are: simulated days, what was said at which moment, and when the patients were called.

    make estimates OPTIONS="--days 8 --seed 500"

An estimate is right if half of the patients are called before its P50, and four in five before its P80: also where
people are other than its author thought.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from allocation_core.calendar import day_of_date
from allocation_core.estimate import Estimate, Experience, estimate
from allocation_core.model import Model
from schemas.events import Event
from schemas.wire import UnreadableRecord, read_command
from schemas.words import Source, Status
from services.simulator.day import Day, Habits
from services.simulator.department import Posting
from services.simulator.diary import Diary
from services.simulator.world import World

_FIRST_DATE: Final = datetime(2026, 11, 2, tzinfo=UTC)
_FIRST_SEED: Final = 100
_EVERY_S: Final = 600
_IN_TIME_S: Final = 60
_WITH_MANY_EMERGENCIES: Final = {
    Source.ONLINE: 30,
    Source.WALK_IN: 25,
    Source.FOLLOW_UP: 17,
    Source.PAID: 10,
    Source.EMERGENCY: 18,
}


class Scenario(NamedTuple):
    """Days of one kind.

    Attributes:
        days_before: how many were seen before the first that is measured.
    """

    habits: Habits = Habits()
    doctors: int = 12
    days_before: int = 2


SCENARIOS: Final = {
    "usual": Scenario(),
    "the first day of all": Scenario(days_before=0),
    "long-tailed consultations": Scenario(Habits(spread=1.0)),
    "late doctors": Scenario(Habits(comes_late=0.4, late_minutes=25)),
    "many no-shows": Scenario(Habits(stays_away=0.3)),
    "many emergencies": Scenario(Habits(shares=_WITH_MANY_EMERGENCIES)),
    "few doctors": Scenario(doctors=4),
    "slow and quick doctors": Scenario(Habits(differ=1.6)),
    "one in six takes thrice as long": Scenario(Habits(takes_thrice=1 / 6)),
    "all of it": Scenario(
        Habits(shares=_WITH_MANY_EMERGENCIES, stays_away=0.2, spread=0.8, comes_late=0.3, late_minutes=20, differ=1.4)
    ),
}


class When(StrEnum):
    """At which moment an estimate was asked for."""

    BOOKED = "when given a seat"
    CHECKED_IN = "at check-in"
    WAITING = "every ten minutes"


@dataclass
class Score:
    """How the estimates of one moment did.

    Attributes:
        told: how many there were of patients who were called.
        before_p50: of those, called before.
        before_p80: likewise.
        range_s: what lay between P50 and P80, all together.
        off_s: what lay between P50 and the call, all together.
    """

    told: int = 0
    before_p50: int = 0
    before_p80: int = 0
    range_s: float = 0.0
    off_s: float = 0.0

    def add(self, told: Estimate, called_s: float) -> None:
        """Count one."""
        self.told += 1
        self.before_p50 += called_s <= told.p50_s
        self.before_p80 += called_s <= told.p80_s
        self.range_s += told.p80_s - told.p50_s
        self.off_s += abs(called_s - told.p50_s)


class _Told(NamedTuple):
    when: When
    department_id: str
    token_id: str
    estimate: Estimate


@dataclass
class _Measured:
    """A day, with what is said of it while it goes on."""

    day: Day
    before: Mapping[str, Experience]
    model: Model = field(default_factory=Model)
    diaries: defaultdict[str, Diary] = field(init=False)
    told: list[_Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._midnight_s = day_of_date(self.day.day) * 86_400.0
        self.diaries = defaultdict(lambda: Diary(self.day.day, self._midnight_s))
        self._today: dict[str, Experience] = {}

    def play(self, *, telling: bool) -> None:
        """Play it to its end, with or without estimates."""
        world = World(self.day)
        while (step := world.next_step()) is not None:
            events = [event for posting in step.postings for event in self._decide(posting)]
            world.learn(
                {"type": f"opd.{event.type}.v1", "data": event.data, "causationid": causation_id}
                for event, causation_id in events
            )
            if not telling:
                continue
            now_s = self._midnight_s + step.until_ms / 1000
            for event, _ in events:
                self._today.pop(event.data["department_id"], None)
            for event, _ in events:
                self._tell_of(event, now_s)
            if now_s % _EVERY_S == 0:
                self._tell_all(now_s)

    def scores(self) -> Iterator[tuple[When, Estimate, float]]:
        """Give what was said and when the call came, of those who were called and had come in time."""
        for told in self.told:
            visit = self.diaries[told.department_id].entries[told.token_id].visit
            late_s = (visit.checked_in_s or 0) - visit.begins_s
            booked = visit.source not in {Source.WALK_IN, Source.EMERGENCY}
            came_late = told.when is When.BOOKED and booked and late_s > _IN_TIME_S
            if visit.called_s is not None and not came_late:
                yield told.when, told.estimate, visit.called_s

    def _decide(self, posting: Posting) -> Iterator[tuple[Event, str]]:
        timestamp_ms = round(self._midnight_s * 1000) + posting.due_ms
        try:
            command = read_command(posting.key, posting.value, timestamp_ms)
        except UnreadableRecord:
            return
        for event in self.model.decide(command, timestamp_ms):
            self.diaries[event.data["department_id"]].take(event.type, event.data, timestamp_ms / 1000)
            yield event, command.id

    def _tell_of(self, event: Event, now_s: float) -> None:
        when = {"TokenConfirmed": When.BOOKED, "TokenCheckedIn": When.CHECKED_IN}.get(event.type)
        if when is not None:
            self._tell(when, event.data["department_id"], event.data["token_id"], now_s)

    def _tell_all(self, now_s: float) -> None:
        for department_id, diary in self.diaries.items():
            for token_id, entry in diary.entries.items():
                if entry.status is Status.CHECKED_IN:
                    self._tell(When.WAITING, department_id, token_id, now_s)

    def _tell(self, when: When, department_id: str, token_id: str, now_s: float) -> None:
        diary = self.diaries[department_id]
        entry = diary.entries.get(token_id)
        if entry is None or entry.doctor_id is None or entry.status not in {Status.CONFIRMED, Status.CHECKED_IN}:
            return
        if department_id not in self._today:
            self._today[department_id] = diary.experience()
        pool = self.model.departments[self.day.facility_id, department_id].pools[day_of_date(self.day.day), entry.slot]
        session = pool.sessions[entry.doctor_id]
        said = estimate(
            entry.visit,
            diary.visits(entry.doctor_id, but=token_id),
            doctor_id=entry.doctor_id,
            before_today=self.before.get(department_id, Experience()),
            today=self._today[department_id],
            free_seats=session.capacity - session.taken,
            now_s=now_s,
        )
        if said is not None:
            self.told.append(_Told(when, department_id, token_id, said))


def measure(scenario: Scenario, days: int, *, seed: int = _FIRST_SEED) -> dict[When, Score]:
    """Play so many days of a kind, and give how the estimates did."""
    scores = {when: Score() for when in When}
    before: dict[str, Experience] = {}
    for number in range(scenario.days_before + days):
        date = f"{(_FIRST_DATE + timedelta(days=number)).date()}"
        played = _Measured(Day(seed + number, date, doctors=scenario.doctors, habits=scenario.habits), before)
        played.play(telling=number >= scenario.days_before)
        if played.told:
            for when, told, called_s in played.scores():
                scores[when].add(told, called_s)
        if scenario.days_before:
            for department_id, diary in played.diaries.items():
                before[department_id] = before.get(department_id, Experience()).with_(diary.experience())
    return scores


def _main() -> None:
    parser = argparse.ArgumentParser(description="How often a patient is called before the time that was told.")
    parser.add_argument("--days", type=int, default=8, help="of 400 patients, for each scenario; %(default)s")
    parser.add_argument("--seed", type=int, default=_FIRST_SEED, help="of the first day; %(default)s")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    given = parser.parse_args()
    table = Table("days", "estimates", "told", "before P50", "before P80", "P50 to P80", "P50 off by")
    for name, scenario in SCENARIOS.items():
        if given.only not in name:
            continue
        for when, score in measure(scenario, given.days, seed=given.seed).items():
            shares = (f"{100 * count / score.told:.0f} %" for count in (score.before_p50, score.before_p80))
            minutes = (f"{seconds / score.told / 60:.0f} min" for seconds in (score.range_s, score.off_s))
            table.add_row(name if when is When.BOOKED else "", when, f"{score.told:,}", *shares, *minutes)
    Console(width=120).print(table)


if __name__ == "__main__":
    _main()
