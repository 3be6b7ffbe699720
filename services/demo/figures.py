"""The day in figures, from the stories of its tokens."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, Self

from schemas.words import Source, Status
from services.demo.board import TAKES_A_SEAT, Board, Department, Token
from services.simulator.day import MINUTE_MS

_SERVED = frozenset({Status.CALLED, Status.COMPLETED})


@dataclass(frozen=True)
class Emergencies:
    """What became of the tokens that are emergencies.

    Attributes:
        raised: became one when they had a token already (R4a).
        at_once: had a seat when they asked as an emergency, or got it by that very command.
        later: got a seat when one came free.
        never: got none: all the seats were taken by other emergencies and by who was there already.
        seated_ms: real time from the command that made it an emergency to the seat, median and longest, of `at_once`.
        wait_minutes: virtual time from check-in to call, mean; of those that were emergencies when they came.
    """

    tokens: int
    raised: int
    at_once: int
    later: int
    never: int
    seated_ms: dict[str, float]
    wait_minutes: float


@dataclass(frozen=True)
class Utilisation:
    """A doctor's seats on the day.

    Attributes:
        offered: seats of all slots; of a slot that the doctor was away from, those taken before.
        used: seats taken at the end of the day.
        served: patients called, or more.
    """

    department: str
    doctor_id: str
    name: str
    offered: int
    used: int
    served: int

    @property
    def share(self) -> float:
        """Used of offered."""
        return self.used / self.offered if self.offered else 0.0


@dataclass(frozen=True)
class Figures:
    """What a hospital's manager asks about a day.

    Attributes:
        patients: asked for a token, however often.
        tokens: were issued; a patient may have one in each slot.
        at_once: tokens with a seat from the start.
        waitlisted: tokens that began on the waitlist.
        promoted: tokens that moved up from a waitlist, at least once.
        preempted: tokens that lost their seat, by what became of them (`Status` of the end).
        preempted_seated_again: of them, those that got another seat.
        reassigned: tokens that went to another doctor, at least once.
        ended: tokens by their status of the end.
        wait_minutes: virtual time from check-in to call: mean, median, 90th percentile and longest.
        refusals: commands refused, by reason.
        unreadable: records that were no commands.
    """

    patients: int
    tokens: int
    at_once: int
    waitlisted: int
    promoted: int
    emergencies: Emergencies
    preempted: dict[str, int]
    preempted_seated_again: int
    reassigned: int
    ended: dict[str, int]
    wait_minutes: dict[str, float]
    doctors: Sequence[Utilisation]
    refusals: dict[str, int]
    unreadable: int

    @classmethod
    def of(cls, board: Board) -> Self:
        """Sum a day up."""
        departments = sorted(board.departments.values(), key=lambda department: department.name)
        tokens = [token for department in departments for token in department.tokens.values()]
        preempted = [token for token in tokens if _has(token, "TokenPreempted")]
        return cls(
            patients=len(board.patients),
            tokens=len(tokens),
            at_once=sum(token.story[0].type == "TokenConfirmed" for token in tokens),
            waitlisted=sum(token.story[0].type == "TokenWaitlisted" for token in tokens),
            promoted=sum(_has(token, "TokenPromoted") for token in tokens),
            emergencies=_emergencies(tokens),
            preempted=_by_status(preempted),
            preempted_seated_again=sum(_is_seated_again(token) for token in preempted),
            reassigned=sum(_has(token, "TokenReassigned") for token in tokens),
            ended=_by_status(tokens),
            wait_minutes=_spread(list(_waits(tokens))),
            doctors=[_utilisation(each, doctor_id) for each in departments for doctor_id in each.doctors],
            refusals=dict(board.refusals.most_common()),
            unreadable=board.unreadable,
        )

    def as_json(self) -> dict[str, Any]:
        """Give the figures for machines."""
        doctors = [asdict(doctor) | {"share": round(doctor.share, 3)} for doctor in self.doctors]
        return asdict(self) | {"doctors": doctors}


def _has(token: Token, kind: str) -> bool:
    return any(chapter.type == kind for chapter in token.story)


def _by_status(tokens: Iterable[Token]) -> dict[str, int]:
    return dict(Counter(token.status.value for token in tokens).most_common())


def _is_seated_again(token: Token) -> bool:
    kinds = [chapter.type for chapter in token.story]
    return "TokenPromoted" in kinds[kinds.index("TokenPreempted") :]


def _waits(tokens: Iterable[Token]) -> Iterable[float]:
    """Give the virtual minutes from check-in to call of each token that got so far."""
    for token in tokens:
        at_ms = {chapter.type: chapter.at_ms for chapter in token.story}
        if "TokenCheckedIn" in at_ms and "TokenCalled" in at_ms:
            yield (at_ms["TokenCalled"] - at_ms["TokenCheckedIn"]) / MINUTE_MS


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    ninth = ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]
    spread = {"mean": fmean(ordered), "median": median(ordered), "p90": ninth, "longest": ordered[-1]}
    return {name: round(value, 1) for name, value in spread.items()}


def _emergencies(tokens: Iterable[Token]) -> Emergencies:
    emergencies = [token for token in tokens if token.source is Source.EMERGENCY]
    raised = [token for token in emergencies if _has(token, "TokenUpgraded")]
    came = [token for token in emergencies if token not in raised]
    answers = [answer_ms for token in emergencies if (answer_ms := _seated_at_once_ms(token)) is not None]
    seated = sum(any(chapter.status in TAKES_A_SEAT for chapter in token.story) for token in emergencies)
    seated_ms = _spread(answers)
    return Emergencies(
        tokens=len(emergencies),
        raised=len(raised),
        at_once=len(answers),
        later=seated - len(answers),
        never=len(emergencies) - seated,
        seated_ms={"median": seated_ms["median"], "longest": seated_ms["longest"]},
        wait_minutes=_spread(list(_waits(came)))["mean"],
    )


def _seated_at_once_ms(token: Token) -> float | None:
    """Give the real time to the seat of an emergency that had one, or got it, by the command that made it one."""
    kinds = [chapter.type for chapter in token.story]
    request = token.story[kinds.index("TokenUpgraded") if "TokenUpgraded" in kinds else 0]
    promoted = any(chapter.type == "TokenPromoted" and chapter.reason == "UPGRADED" for chapter in token.story)
    return request.answered_ms if promoted or request.status in TAKES_A_SEAT else None


def _utilisation(department: Department, doctor_id: str) -> Utilisation:
    seats = [department.seats_with(doctor_id, slot) for slot in department.pools]
    served = [token for token in department.tokens.values() if token.doctor_id == doctor_id and token.status in _SERVED]
    return Utilisation(
        department=department.name,
        doctor_id=doctor_id,
        name=department.name_of(doctor_id),
        offered=sum(session.offered for session in seats),
        used=sum(session.taken for session in seats),
        served=len(served),
    )
