"""What an estimate goes by: who is before, how fast it goes, who is late, and what is not known yet."""

from dataclasses import replace

import pytest

from allocation_core.estimate import ENOUGH, Estimate, Experience, Moments, Visit, estimate
from schemas.words import Source, Status

MINUTE_S = 60.0
NINE_S = 9 * 3600.0
DOCTOR = "dr-rao"
STEADY = Experience(
    paces={DOCTOR: Moments.of(40, 10 * MINUTE_S, 3 * MINUTE_S)},
    doctor_days=10,
    arrivals=Moments.of(200, -12 * MINUTE_S, 12 * MINUTE_S),
    came=180,
    expected=200,
)
ME = Visit(50, NINE_S, Source.ONLINE, Status.CHECKED_IN, checked_in_s=NINE_S - 600)


def visit(token_no: int, status: Status = Status.CHECKED_IN, **more: object) -> Visit:
    there = NINE_S - 600 if status is not Status.CONFIRMED else None
    return replace(Visit(token_no, NINE_S, Source.ONLINE, status, checked_in_s=there), **more)  # type: ignore[arg-type]


def called(token_no: int, at_s: float, ended_s: float | None = None) -> Visit:
    status = Status.CALLED if ended_s is None else Status.COMPLETED
    return visit(token_no, status, called_s=at_s, ended_s=ended_s)


def told(
    *others: Visit,
    mine: Visit = ME,
    before_today: Experience = STEADY,
    today: Experience = Experience(),  # noqa: B008  it is frozen
    free_seats: int = 0,
    now_s: float = NINE_S,
) -> Estimate:
    said = estimate(
        mine,
        others,
        doctor_id=DOCTOR,
        before_today=before_today,
        today=today,
        free_seats=free_seats,
        now_s=now_s,
    )
    assert said is not None
    assert now_s <= said.p50_s <= said.p80_s
    return said


def minutes(said: Estimate) -> tuple[float, float]:
    return (said.p50_s - NINE_S) / MINUTE_S, (said.p80_s - NINE_S) / MINUTE_S


def test_nothing_is_said_before_a_few_consultations_were_seen() -> None:
    seen = Experience(paces={DOCTOR: Moments.of(ENOUGH - 1, 600, 60)})

    assert estimate(ME, [], doctor_id=DOCTOR, before_today=Experience(), today=seen, free_seats=0, now_s=NINE_S) is None
    assert told(before_today=seen, today=Experience(paces={"dr-iyer": Moments.of(1, 600, 0)}))


def test_each_who_is_there_before_takes_a_consultation() -> None:
    half, four_fifths = minutes(told(called(1, NINE_S), *(visit(number) for number in range(2, 6))))

    assert 47 <= half <= 52, "one who is in, and four who wait"
    assert 51 <= four_fifths <= 62


def test_who_comes_later_is_nobodys_business_and_who_is_of_a_higher_class_is() -> None:
    alone = told(called(1, NINE_S))

    assert told(called(1, NINE_S), visit(51), visit(52)) == alone
    assert told(called(1, NINE_S), visit(51, source=Source.EMERGENCY)).p50_s > alone.p50_s + 8 * MINUTE_S
    assert told(called(1, NINE_S), visit(2, status=Status.CANCELLED)) == alone


def test_the_doctors_own_pace_outweighs_the_departments_and_todays_what_was_before() -> None:
    waiting = (called(1, NINE_S), *(visit(number) for number in range(2, 8)))
    colleague = Experience(paces={"dr-iyer": Moments.of(40, 600, 180)})
    slow_before = colleague.with_(Experience(paces={DOCTOR: Moments.of(20, 1200, 180)}))
    slow_today = Experience(paces={DOCTOR: Moments.of(10, 1200, 180)})

    as_all = told(*waiting, before_today=colleague).p50_s
    assert told(*waiting, before_today=slow_before).p50_s > as_all + 30 * MINUTE_S
    assert told(*waiting, today=slow_today).p50_s > told(*waiting).p50_s + 15 * MINUTE_S


def test_a_consultation_that_goes_on_is_partly_over_and_one_without_end_has_no_end_in_sight() -> None:
    just_in, half_over = told(called(1, NINE_S)), told(called(1, NINE_S - 5 * MINUTE_S))
    without_end = told(called(1, NINE_S - 60 * MINUTE_S))

    assert just_in.p50_s > half_over.p50_s > without_end.p50_s > NINE_S


def test_a_doctor_who_always_takes_the_same_time() -> None:
    clockwork = replace(STEADY, paces={DOCTOR: Moments.of(40, 600, 0)})

    half, four_fifths = minutes(told(called(1, NINE_S), visit(2), before_today=clockwork))
    assert (round(half), round(four_fifths)) == (20, 20)


def test_nobody_is_called_before_their_slot_begins() -> None:
    early = told(now_s=NINE_S - 3600)
    late = told(*(visit(number, begins_s=NINE_S - 3600) for number in range(1, 15)), now_s=NINE_S - 3600)

    assert NINE_S <= early.p50_s <= NINE_S + 10 * MINUTE_S
    assert late.p50_s > NINE_S + 70 * MINUTE_S, "the slot before goes on into it"


def test_who_has_not_come_counts_less_the_later_it_is() -> None:
    missing = [visit(number, Status.CONFIRMED) for number in range(2, 8)]
    busy = called(1, NINE_S)

    before = told(busy, *missing, now_s=NINE_S).p50_s
    assert told(busy).p50_s < before < told(busy, *(visit(number) for number in range(2, 8))).p50_s
    by_then = NINE_S + 3600
    assert told(called(1, by_then), *missing, now_s=by_then).p50_s - by_then < 11 * MINUTE_S


def test_a_department_in_which_many_stay_away_counts_those_who_have_not_come_less() -> None:
    missing = [visit(number, Status.CONFIRMED) for number in range(2, 8)]
    unreliable = replace(STEADY, came=100)

    early_s = NINE_S - 1800
    assert (
        told(*missing, before_today=unreliable, now_s=early_s).p50_s
        < told(*missing, now_s=early_s).p50_s - 5 * MINUTE_S
    )


def test_doctors_who_are_often_late_are_expected_late_and_one_who_is_late_still_more() -> None:
    often_late = replace(STEADY, late=Moments.of(6, 1500, 900))

    usual, expected = told(), told(before_today=often_late)
    overdue_s = NINE_S + 10 * MINUTE_S
    overdue = told(before_today=often_late, now_s=overdue_s)
    assert usual.p80_s + 10 * MINUTE_S < expected.p80_s
    assert expected.p80_s - NINE_S < overdue.p80_s - overdue_s


def test_a_doctor_who_has_begun_is_not_expected_late_but_one_who_stays_out_is_held_up() -> None:
    often_late = replace(STEADY, late=Moments.of(6, 1500, 900))
    begun = called(1, NINE_S - 900, ended_s=NINE_S - 60)
    without_end = replace(begun, ended_s=None)

    assert told(begun, before_today=often_late).p80_s < NINE_S + 3 * MINUTE_S
    long_out_s = NINE_S + 10 * MINUTE_S
    for visited in (begun, without_end):
        assert told(visited, before_today=often_late, now_s=long_out_s).p80_s > long_out_s + 10 * MINUTE_S


def test_emergencies_and_higher_classes_that_may_still_ask_are_expected() -> None:
    waiting = (called(1, NINE_S), *(visit(number) for number in range(2, 6)))
    asked = {Source.ONLINE: 60, Source.PAID: 20, Source.EMERGENCY: 20}
    busy = replace(STEADY, asked=asked)
    early_s = NINE_S - 3 * 3600

    assert told(*waiting, before_today=busy).p50_s > told(*waiting).p50_s + 5 * MINUTE_S
    empty = told(before_today=busy, free_seats=10, now_s=early_s)
    assert empty.p50_s > told(before_today=busy, now_s=early_s).p50_s + 10 * MINUTE_S
    emergency = replace(ME, source=Source.EMERGENCY)
    assert told(mine=emergency, before_today=busy, free_seats=10, now_s=early_s) == told(mine=emergency, now_s=early_s)


def test_the_further_off_the_wider() -> None:
    def width(hours: float) -> float:
        said = told(now_s=NINE_S - hours * 3600)
        return said.p80_s - said.p50_s

    assert width(4) > width(1) > 0


@pytest.mark.parametrize("now_s", [NINE_S - 7200, NINE_S, NINE_S + 7200])
def test_more_before_never_means_sooner(now_s: float) -> None:
    line = [called(1, now_s)]
    so_far = told(*line, now_s=now_s)
    for number in range(2, 12):
        line.append(visit(number))
        next_one = told(*line, now_s=now_s)
        assert next_one.p50_s >= so_far.p50_s
        assert next_one.p80_s >= so_far.p80_s
        so_far = next_one
