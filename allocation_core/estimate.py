"""When a patient will be called: a range, made of who is before them and of how their doctor and department have been.

Nothing is decided here, and no rule of the contract is kept: an estimate is told and forgotten. It is pure: the same
visits, experience and moment give the same range. Moments are seconds on any one clock.

A wait is a sum: what is left of the consultation that goes on, one consultation for each patient before, weighed by
the chance that they come in time, and what the doctor is late. Means and variances are added up, what is not known of
the doctor's pace among them; the sum is taken to have a gamma distribution, whose quantiles are told.

No estimate is made for who waits for a seat: whether one becomes free depends on what others will do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import erf, exp, pi, sqrt
from typing import Final, NamedTuple, Self

from schemas.words import Source, Status

ENOUGH: Final = 5
"""How many consultations of a department must have been seen before anything is said."""
LATE_S: Final = 300.0
"""A doctor who lets those who are there wait for longer than this is late."""
LONGEST_S: Final = 3600.0
"""What takes longer from one call to the next is a break, and counts as so much."""

_Z80: Final = 0.8416  # of the normal distribution
# One doctor's own consultations against this many of the whole department's; their own of today against this many
# of what was known before: a day's pace shows within the hour.
_PRIOR_WEIGHT: Final = 6.0
_MOST_WEIGHT: Final = 12.0
# What is taken for granted until more is known: 85 of 100 come; a doctor is late on one day in six.
_CAME, _EXPECTED = 8.5, 10.0
_LATE_DAYS, _DAYS = 0.5, 3.0
_LATE_DAYS_KNOWN, _LATE_BY_S = 3.0, 900.0
_LATE_VARIANCE: Final = 1.5  # times that of an exponential: its mean is not known well
_OVERDUE_S: Final = 150.0  # a doctor who has nobody in, while somebody is there, for longer than this is held up
_HANDOVER: Final = 0.04  # of a consultation: until a free doctor calls
# Of the time until the slot begins: the day will run late by so much, give or take twice as much.
_DRIFT: Final = 0.02
# Seats that are free this long before a slot, or longer, will be taken; nearer to it, as many fewer.
_FILLS_WITHIN_S: Final = 9000.0
_TO_BE_CALLED: Final = frozenset({Status.CONFIRMED, Status.CHECKED_IN})


class Moments(NamedTuple):
    """Some durations in seconds, as far as their mean and spread go.

    Attributes:
        number: how many.
        total: their sum.
        squares: the sum of their squares.
    """

    number: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, number: float, mean: float, deviation: float) -> Self:
        """Give as many durations of this mean and standard deviation."""
        return cls(number, number * mean, number * (mean * mean + deviation * deviation))

    def with_(self, other: "Moments") -> "Moments":
        """Give both together."""
        return Moments(self.number + other.number, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Their mean; there must be one."""
        return self.total / self.number

    @property
    def variance(self) -> float:
        """How far they are from their own mean, in square seconds."""
        return max(0.0, self.squares / self.number - self.mean**2)

    def spread_around(self, mean: float) -> float:
        """Give the sum of the squares of what they are off another mean."""
        return max(0.0, self.squares - 2 * mean * self.total + self.number * mean * mean)


_ARRIVALS: Final = Moments.of(10, -720, 720)  # twelve minutes early, give or take as much


@dataclass(frozen=True, slots=True)
class Experience:
    """What a department was like for some days.

    Attributes:
        paces: by doctor, from one call to the next, where the next patient was there already; at most `LONGEST_S`.
        doctor_days: on how many days doctors began, each counted for itself.
        late: by how much they were late, where it was more than `LATE_S`.
        arrivals: when patients checked in, from their slot's start on (negative: before it).
        came: how many of those expected came.
        expected: who had a seat and came, stayed away or cancelled.
        asked: tokens by class.
    """

    paces: Mapping[str, Moments] = field(default_factory=dict)
    doctor_days: int = 0
    late: Moments = field(default_factory=Moments)
    arrivals: Moments = field(default_factory=Moments)
    came: int = 0
    expected: int = 0
    asked: Mapping[Source, int] = field(default_factory=dict)

    @property
    def pace(self) -> Moments:
        """Of all doctors."""
        return reduce(Moments.with_, self.paces.values(), Moments())

    def with_(self, other: "Experience") -> "Experience":
        """Give these days and others together."""
        doctors, sources = self.paces.keys() | other.paces.keys(), self.asked.keys() | other.asked.keys()
        return Experience(
            paces={each: self.pace_of(each).with_(other.pace_of(each)) for each in doctors},
            doctor_days=self.doctor_days + other.doctor_days,
            late=self.late.with_(other.late),
            arrivals=self.arrivals.with_(other.arrivals),
            came=self.came + other.came,
            expected=self.expected + other.expected,
            asked={each: self.asked.get(each, 0) + other.asked.get(each, 0) for each in sources},
        )

    def pace_of(self, doctor_id: str) -> Moments:
        """Of one doctor, also of one who was not there."""
        return self.paces.get(doctor_id, Moments())


@dataclass(frozen=True, slots=True)
class Visit:
    """A token of one doctor on one day.

    Attributes:
        begins_s: when its slot begins.
        checked_in_s: and the others: when that was, if it was.
    """

    token_no: int
    begins_s: float
    source: Source
    status: Status
    checked_in_s: float | None = None
    called_s: float | None = None
    ended_s: float | None = None

    @property
    def rank(self) -> tuple[float, int, int]:
        """When it is called (R14): a doctor takes the earlier slot first."""
        return self.begins_s, self.source.priority, self.token_no


class Estimate(NamedTuple):
    """When a patient who is there will be called: half are by `p50_s`, four in five by `p80_s`."""

    p50_s: float
    p80_s: float


def estimate(  # noqa: PLR0913  what is known
    mine: Visit,
    others: Sequence[Visit],
    *,
    doctor_id: str,
    before_today: Experience,
    today: Experience,
    free_seats: int,
    now_s: float,
) -> Estimate | None:
    """Say when a patient will be called who is there in time; None where nothing can be said.

    Args:
        mine: the patient's visit, `CONFIRMED` or `CHECKED_IN`.
        others: all other visits of the same doctor on the same day.
        doctor_id: whose.
        before_today: what their department was like lately.
        today: and what it is like today.
        free_seats: of the doctor's session.
        now_s: the moment.
    """
    experience = before_today.with_(today)
    of_all = experience.pace
    if of_all.number < ENOUGH:
        return None
    consultation = _consultation(of_all, (before_today.pace_of(doctor_id), today.pace_of(doctor_id)))
    before = [each for each in others if each.status in _TO_BE_CALLED and each.rank < mine.rank]
    begins_in_s = max(0.0, mine.begins_s - now_s)
    going_on, late = _going_on(others, consultation, now_s), _late(mine, others, experience, now_s)
    there = sum(each.status is Status.CHECKED_IN for each in before)
    turn_s = now_s + begins_in_s + going_on.mean + late.mean + there * consultation.mean
    comes = [_chance(each, experience, now_s, turn_s) for each in before]

    of_earlier_slots = [chance for each, chance in zip(before, comes, strict=True) if each.begins_s < mine.begins_s]
    of_this_slot = [chance for each, chance in zip(before, comes, strict=True) if each.begins_s == mine.begins_s]
    newcomers = _newcomers(mine, experience, sum(comes), free_seats, begins_in_s)
    wait = going_on.and_(consultation.times(of_earlier_slots)).at_least(begins_in_s)
    wait = wait.and_(late).and_(consultation.times(of_this_slot)).and_(consultation.about_times(newcomers))
    wait = wait.and_(consultation.doubt(sum(comes) + newcomers)).and_(_drift(begins_in_s))
    from_s = now_s + begins_in_s
    return Estimate(*(from_s + each for each in wait.less(begins_in_s).half_and_four_fifths()))


class _Wait(NamedTuple):
    """A duration that is not known: its mean in seconds and its variance."""

    mean: float = 0.0
    variance: float = 0.0

    def and_(self, other: "_Wait") -> "_Wait":
        return _Wait(self.mean + other.mean, self.variance + other.variance)

    def less(self, seconds: float) -> "_Wait":
        return _Wait(self.mean - seconds, self.variance)

    def at_least(self, seconds: float) -> "_Wait":
        """Give the later of this and a moment, as if this were normal (Clark 1961)."""
        if self.variance <= 0:
            return _Wait(max(self.mean, seconds))
        deviation = sqrt(self.variance)
        at = (self.mean - seconds) / deviation
        later, density = _cumulative(at), _density(at)
        mean = self.mean * later + seconds * (1 - later) + deviation * density
        square = (
            (self.mean**2 + self.variance) * later
            + seconds**2 * (1 - later)
            + (self.mean + seconds) * deviation * density
        )
        return _Wait(mean, max(0.0, square - mean**2))

    def half_and_four_fifths(self) -> tuple[float, float]:
        """Give the quantiles of the gamma distribution of this mean and variance (Wilson and Hilferty 1931)."""
        if self.variance <= 0 or self.mean <= 0:
            return max(0.0, self.mean), max(0.0, self.mean)
        ninth = self.variance / (9 * self.mean**2)
        half, four_fifths = (max(0.0, 1 - ninth + z * sqrt(ninth)) ** 3 for z in (0.0, _Z80))
        return self.mean * half, self.mean * four_fifths


class _Consultation(NamedTuple):
    """One patient's time with the doctor, until the next one is called.

    Attributes:
        known_by: how many consultations the mean rests on.
    """

    mean: float
    variance: float
    known_by: float

    def times(self, chances: Iterable[float]) -> _Wait:
        """Give as many, each with its chance to happen."""
        mean, variance = 0.0, 0.0
        for chance in chances:
            mean += chance * self.mean
            variance += chance * self.variance + chance * (1 - chance) * self.mean**2
        return _Wait(mean, variance)

    def about_times(self, number: float) -> _Wait:
        """Give about as many: their number is Poisson's."""
        return _Wait(number * self.mean, number * (self.variance + self.mean**2))

    def share(self, part: float) -> _Wait:
        """Give a part of one, exponential."""
        return _Wait(part * self.mean, (part * self.mean) ** 2)

    def doubt(self, number: float) -> _Wait:
        """Give what is not known of the mean, over so many."""
        return _Wait(0.0, number**2 * self.variance / self.known_by)


def _consultation(of_department: Moments, paces: Iterable[Moments]) -> _Consultation:
    """From wide to narrow: the department's, drawn towards the doctor's own, then towards the doctor's own of today."""
    mean, variance, weight = of_department.mean, of_department.variance, _PRIOR_WEIGHT
    for own in paces:
        known = weight + own.number
        spread = weight * variance + own.spread_around(mean)
        mean, variance = (weight * mean + own.total) / known, spread / known
        weight = min(known, _MOST_WEIGHT)
    return _Consultation(mean, variance, weight)


def _going_on(others: Iterable[Visit], consultation: _Consultation, now_s: float) -> _Wait:
    """What is left of the consultation that goes on: of a normal one, given that it is not over yet."""
    began_s = max((each.called_s or now_s for each in others if each.status is Status.CALLED), default=None)
    if began_s is None:
        return consultation.share(_HANDOVER)
    elapsed, deviation = now_s - began_s, sqrt(consultation.variance) or 1.0
    at = (elapsed - consultation.mean) / deviation
    if at > 3:  # no end to be seen: as long again as such ends are apart
        return _Wait(deviation / 2, consultation.variance / 4)
    hazard = _density(at) / _cumulative(-at)
    left = consultation.mean + deviation * hazard - elapsed
    return _Wait(left, consultation.variance * max(0.0, 1 + at * hazard - hazard**2))


def _late(mine: Visit, others: Sequence[Visit], experience: Experience, now_s: float) -> _Wait:
    """What the doctor lets everybody wait: exponential, so one who is late already will be as late again."""
    if any(each.status is Status.CALLED for each in others):
        return _Wait()
    known = experience.late.with_(Moments.of(_LATE_DAYS_KNOWN, _LATE_BY_S, _LATE_BY_S))
    last_s = max((each.ended_s or each.called_s for each in others if each.called_s is not None), default=None)
    there = [
        max(each.begins_s, each.checked_in_s)
        for each in (*others, mine)
        if each.status is Status.CHECKED_IN and each.checked_in_s is not None
    ]
    idle_since_s = max(min(there, default=now_s), last_s if last_s is not None else float("-inf"))
    if now_s - idle_since_s > _OVERDUE_S:
        return _Wait(known.mean, _LATE_VARIANCE * known.mean**2)
    if last_s is not None:
        return _Wait()
    share = (experience.late.number + _LATE_DAYS) / (experience.doctor_days + _DAYS)
    return _Wait(share * known.mean, (2 * share - share**2) * known.mean**2)


def _chance(visit: Visit, experience: Experience, now_s: float, turn_s: float) -> float:
    """How likely it is that a patient is there before somebody's turn, given that they are not there yet."""
    if visit.status is Status.CHECKED_IN:
        return 1.0
    arrivals = experience.arrivals.with_(_ARRIVALS)
    deviation = sqrt(arrivals.variance)
    by_now, by_then = (
        _cumulative((moment_s - visit.begins_s - arrivals.mean) / deviation) for moment_s in (now_s, turn_s)
    )
    share = (experience.came + _CAME) / (experience.expected + _EXPECTED)
    return share * max(0.0, by_then - by_now) / (share * (1 - by_now) + 1 - share)


def _newcomers(mine: Visit, experience: Experience, before: float, free_seats: int, begins_in_s: float) -> float:
    """How many who have not asked yet will be before this patient: emergencies, and higher classes in free seats."""
    asked = sum(experience.asked.values())
    if not asked or mine.source is Source.EMERGENCY:
        return 0.0
    emergencies = min(0.5, experience.asked.get(Source.EMERGENCY, 0) / asked)
    higher = sum(
        count
        for source, count in experience.asked.items()
        if Source.EMERGENCY.priority < source.priority < mine.source.priority
    )
    share = (experience.came + _CAME) / (experience.expected + _EXPECTED)
    seats = max(0, free_seats) * min(1.0, begins_in_s / _FILLS_WITHIN_S)
    return before * emergencies / (1 - emergencies) + seats * share * higher / asked


def _drift(begins_in_s: float) -> _Wait:
    """What will come between that nobody knows of yet: the further off, the more."""
    by_s = begins_in_s * _DRIFT
    return _Wait(by_s, (2 * by_s) ** 2)


def _density(at: float) -> float:
    return exp(-at * at / 2) / sqrt(2 * pi)


def _cumulative(at: float) -> float:
    return (1 + erf(at / sqrt(2))) / 2
