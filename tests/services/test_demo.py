"""The demo's board, words, picture and figures, from a day driven by the engine in memory."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from pydantic_core import from_json
from rich.console import Console, Group

from allocation_core import pool as model
from allocation_core.calendar import day_of_date
from allocation_core.model import Model
from schemas.words import Status
from services.auditor.audit import audit
from services.auditor.records import Kind
from services.auditor.report import Invariant, RecordName
from services.auditor.report import Report as Audit
from services.demo import report
from services.demo.board import Board, Department, Seats
from services.demo.figures import Figures
from services.demo.history import Kept
from services.demo.pace import Pace
from services.demo.report import Outcome
from services.demo.ticker import Ticker
from services.demo.view import Moment, draw
from services.demo.watch import Watch, watching
from services.demo.words import Line, in_words
from services.errors import OpdError
from services.simulator.day import DEFAULT_SEED, MINUTE_MS, Day
from services.simulator.play import Happening, Summary, What
from services.simulator.world import World
from tests.services.memory import MemoryEngine
from tests.waiting import until

DATE = "2026-11-23"
DAY = Day(DEFAULT_SEED, DATE)
SIZES = [(80, 24), (200, 50), (120, 30), (80, 50), (60, 20), (140, 24), (40, 10), (12, 3), (1, 1)]


def happenings(day: Day, engine: MemoryEngine | None = None) -> Iterator[Happening]:
    """Play a day against the pure model, as `play` would tell of it."""
    world, engine = World(day), engine or MemoryEngine(partitions=4)
    while (step := world.next_step()) is not None:
        learned = []
        for posting in step.postings:
            data = {} if posting.type == "unreadable" else from_json(posting.value or b"")["data"]
            yield Happening(What.COMMAND, posting.due_ms, posting.type, data)
            _, answers = engine.take(posting.key, posting.value)
            for n, answer in enumerate(answers):
                answered_ms = None if n else 5.0
                if answer.topic == "opd.events.v1":
                    event = from_json(answer.value or b"")
                    learned.append(event)
                    yield Happening(What.EVENT, step.at_ms, event["type"][4:-3], event["data"], answered_ms)
                else:
                    yield Happening(What.DEAD_LETTER, step.at_ms, "unreadable", {}, answered_ms)
        world.learn(learned)


@pytest.fixture(scope="module")
def told() -> list[Happening]:
    return list(happenings(DAY))


@pytest.fixture(scope="module")
def board(told: list[Happening]) -> Board:
    """The board at the end of the day."""
    return board_of(told)


def board_of(told: list[Happening]) -> Board:
    board = Board(DATE)
    for happening in told:
        board.take(happening)
    return board


# The board


def test_after_every_step_the_board_shows_what_the_model_has() -> None:
    engine, board = MemoryEngine(partitions=4), Board(DATE)
    compared = 0
    previous: Happening | None = None
    for happening in happenings(DAY, engine):
        if happening.what is What.COMMAND and previous is not None and previous.what is What.EVENT:
            compared += compare(board, engine.model)
        board.take(happening)
        previous = happening
    compared += compare(board, engine.model)
    assert compared > 10_000


def compare(board: Board, engine: Model) -> int:
    """Compare every pool that the model has; give how many sessions that were."""
    compared = 0
    for (_, name), department in engine.departments.items():
        for (day, slot), pool in department.pools.items():
            if day == day_of_date(DATE):
                compared += compare_pools(board.departments[name], slot, pool)
    return compared


def compare_pools(shown: Department, slot: str, pool: model.Pool) -> int:
    on_board = shown.pools[slot]
    in_hall = [token for token in pool.tokens if token.present and token.status in {"WAITLISTED", "CHECKED_IN"}]
    assert (on_board.closed, on_board.waiting, on_board.here) == (pool.closed, len(pool.waitlist), len(in_hall))
    for doctor_id, session in pool.sessions.items():
        offered = session.capacity if session.works and session.available else session.taken
        assert shown.seats_with(doctor_id, slot) == Seats(session.taken, offered)
        assert on_board.queue[doctor_id] == len(session.checked_in)
        serving = shown.doctors[doctor_id].serving
        if len(session.called):
            assert serving is not None
            assert serving.token_no == session.called.first.token_no
        else:
            assert serving is None or serving.slot != slot
    return len(pool.sessions)


def test_seats_of_a_doctor_who_is_away_are_not_offered() -> None:
    shown = Department("ent")
    board = Board(DATE)
    board.departments["ent"] = shown
    board.take(registered("dr-a", [{"slot": "09:00-10:00", "capacity": 4}]))
    assert shown.seats("09:00-10:00") == Seats(0, 4)
    board.take(an_event("DoctorAvailabilityChanged", doctor_id="dr-a", slot="09:00-10:00", available=False))
    assert shown.seats("09:00-10:00") == Seats(0, 0)
    assert shown.is_away("dr-a", "09:00-10:00")
    board.take(an_event("DoctorAvailabilityChanged", doctor_id="dr-a", slot="09:00-10:00", available=True))
    board.take(an_event("SlotCapacityChanged", doctor_id="dr-a", slot="09:00-10:00", capacity=2, taken=0, over_by=0))
    assert shown.seats("09:00-10:00") == Seats(0, 2)


def test_a_schedule_counts_on_its_weekdays_alone() -> None:
    board = Board(DATE)  # a Monday
    schedule: list[dict[str, Any]] = [
        {"slot": "09:00-10:00", "capacity": 4, "weekdays": ["TUE"]},
        {"slot": "10:00-11:00", "capacity": 5, "weekdays": ["MON", "FRI"]},
    ]
    board.take(registered("dr-a", schedule))
    assert board.slots == ["10:00-11:00"]


def test_other_dates_and_departments_that_do_not_exist_leave_no_trace() -> None:
    board = Board(DATE)
    board.take(an_event("SlotClosed", slot="09:00-10:00", date="2026-11-24"))
    board.take(an_event("CommandRejected", command_type="CloseSlot", reason="SLOT_UNKNOWN"))
    assert not board.departments
    assert board.refusals == {"SLOT_UNKNOWN": 1}


def registered(
    doctor_id: str, schedule: list[dict[str, Any]], name: str = "Dr A", department: str = "ent"
) -> Happening:
    return an_event("DoctorRegistered", department, doctor_id=doctor_id, name=name, schedule=schedule)


def an_event(kind: str, department: str = "ent", at_ms: int = 0, **data: Any) -> Happening:
    where = {"facility_id": "f", "department_id": department, "date": DATE}
    return Happening(What.EVENT, at_ms, kind, {**where, **data}, 5.0)


# The words


def test_every_event_of_the_day_is_said_in_words_and_no_patient_is_named(told: list[Happening]) -> None:
    board, said = Board(DATE), {}
    for happening in told:
        board.take(happening)
        line = in_words(happening, board)
        assert (line is None) == (happening.what is What.COMMAND)
        if line is not None:
            said[line.kind] = line
            assert "{" not in line.text
            assert "None" not in line.text
            assert "nobody" not in line.text or line.kind == "CommandRejected"
            assert happening.data.get("patient_id", "p-") not in line.text
    assert len(said) == 18, "17 kinds of events, and the unreadable"


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("TokenConfirmed", {}, "#7 has a seat with Dr Rao at 09:00"),
        ("TokenConfirmed", {"source": "EMERGENCY"}, "EMERGENCY #7 has a seat with Dr Rao at 09:00"),
        ("TokenWaitlisted", {"doctor_id": None, "position": 3}, "#7 waits for 09:00, place 3"),
        (
            "TokenPreempted",
            {"doctor_id": None, "lost_doctor_id": "dr-rao", "reason": "EMERGENCY", "by_token_id": "f.ent.20261123.12"},
            "#7 loses its seat with Dr Rao: emergency #12 needs it",
        ),
        (
            "TokenPreempted",
            {"doctor_id": None, "lost_doctor_id": "dr-rao", "reason": "DOCTOR_UNAVAILABLE"},
            "#7 loses its seat with Dr Rao: Dr Rao is away",
        ),
        ("TokenPromoted", {"reason": "NO_SHOW"}, "#7 moves up to Dr Rao: somebody did not come"),
        (
            "TokenReassigned",
            {"from_doctor_id": "dr-unknown", "reason": "DOCTOR_UNAVAILABLE"},
            "#7 goes from dr-unknown to Dr Rao: dr-unknown is away",
        ),
        ("TokenUpgraded", {"source": "EMERGENCY", "from_source": "PAID"}, "#7 is an EMERGENCY now"),
    ],
)
def test_what_is_said_of_a_token(kind: str, data: dict[str, Any], words: str) -> None:
    board = Board(DATE)
    board.take(registered("dr-rao", [], "Dr Rao"))
    token = {"slot": "09:00-10:00", "token_no": 7, "source": "PAID", "status": "CONFIRMED", "doctor_id": "dr-rao"}
    line = in_words(an_event(kind, **{**token, **data}), board)
    assert line is not None
    assert line.text == words


# The ticker and the pace


def a_line(kind: str, *, is_alarm: bool = False) -> Line:
    return Line(0, "ent", kind, kind, "", is_alarm)


def test_where_few_lines_come_all_are_shown_in_their_order() -> None:
    ticker = Ticker(0)
    for second in range(1, 5):
        for kind in "ab":
            ticker.add(a_line(f"{kind}{second}"))
        ticker.turn(second)
    assert [line.kind for line in ticker.shown] == ["a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"]


def test_where_many_come_alarms_go_first_and_rare_kinds_before_common_ones() -> None:
    ticker = Ticker(0)
    for tenth in range(1, 101):
        for _ in range(20):
            ticker.add(a_line("common"))
        if tenth % 10 == 0:
            ticker.add(a_line("rare"))
        if tenth % 10 == 5:
            ticker.add(a_line("alarm", is_alarm=True))
        ticker.turn(tenth / 10)
    shown = Counter(line.kind for line in ticker.shown)
    assert shown["alarm"] == 10
    assert shown["rare"] == 10
    assert 50 < shown["common"] < 70


def test_the_pace_is_that_of_the_last_two_seconds() -> None:
    pace = Pace(100.0)
    assert pace.decisions_per_s(100.0) == 0
    for tenth in range(1, 101):
        for _ in range(10 if tenth <= 50 else 2):
            pace.take(an_event("TokenCalled"))
        rate = pace.decisions_per_s(100 + tenth / 10)
    assert rate == pytest.approx(20, rel=0.06)
    assert (pace.decided, pace.answer_ms(50), pace.answer_ms(99)) == (600, 5.0, 5.0)


# The picture


def drawn(board: Board, width: int, height: int, lines: list[Line] | None = None) -> list[str]:
    pace = Pace(0)
    picture = draw(Moment("A hospital's day", board, pace, lines or [], 123.4), width, height)
    assert [line.cell_len for line in picture] == [width] * height
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as shown:
        console.print(Group(*picture), end="")
    return shown.get().splitlines()


def lines_of(told: list[Happening], board: Board) -> list[Line]:
    return [line for happening in told if (line := in_words(happening, board))]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("hour", [0, 6, 9, 11, 18])
def test_the_picture_fills_the_terminal_to_the_cell_at_any_time(
    told: list[Happening], width: int, height: int, hour: int
) -> None:
    so_far = [happening for happening in told if happening.at_ms < hour * 60 * MINUTE_MS]
    board = board_of(so_far)
    drawn(board, width, height, lines_of(so_far, board))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_the_picture_shows_seats_waiting_serving_events_and_figures(
    told: list[Happening], width: int, height: int
) -> None:
    so_far = [happening for happening in told if happening.at_ms < 10.5 * 60 * MINUTE_MS]
    board = board_of(so_far)
    picture = drawn(board, width, height, lines_of(so_far, board))
    text = "\n".join(picture)
    assert "Monday 23 November 2026" in picture[0]
    assert " 10:2" in picture[0]
    for department in board.departments.values():
        row = next(line for line in picture if line.startswith(f" {department.name[:8]}"))
        for slot in board.slots:
            seats, waiting = department.seats(slot), department.pools[slot].waiting
            assert f"{seats.taken}/{seats.offered}" + (f"+{waiting}" if waiting else "") in row
        assert row.split("│")[0].split()[-1] == str(department.here)
        for doctor in department.doctors.values():
            if doctor.serving is not None:
                assert f"#{doctor.serving.token_no}" in text
                assert doctor.name.removeprefix("Dr ") in text
    assert lines_of(so_far, board)[-1].text[:30] in text
    assert "123 decisions/s" in picture[-1]


def test_at_200_columns_every_doctor_has_a_line_of_their_own(told: list[Happening]) -> None:
    picture = drawn(board_of(told), 200, 50)
    assert sum(line.startswith("   Dr ") for line in picture) == 13


def many_departments(count: int, name: Callable[[int], str]) -> Board:
    board = Board(DATE)
    slots = [f"{hour:02d}:00-{hour + 1:02d}:00" for hour in range(6, 20)]
    for number in range(count):
        for doctor in range(3):
            schedule = [{"slot": slot, "capacity": 500} for slot in slots]
            board.take(registered(f"dr-{doctor}", schedule, f"Dr {'Longname ' * 20}{doctor}", name(number)))
        for token in range(3):
            seat: dict[str, Any] = {"slot": slots[5], "source": "PAID", "status": "CALLED", "doctor_id": f"dr-{token}"}
            number_of = {"token_id": f"t{token}", "token_no": 12_345 + token}
            board.take(an_event("TokenCalled", name(number), 11 * 60 * MINUTE_MS, **seat, **number_of))
    return board


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_twenty_departments_with_long_names_fit(width: int, height: int) -> None:
    drawn(many_departments(20, lambda number: f"{number:02d}-{'x' * 29}"), width, height)


def test_departments_without_room_are_counted_and_named() -> None:
    picture = drawn(many_departments(20, "ward-{:02d}".format), 80, 24)
    table = [line for line in picture if line.startswith(" ward-")]
    more = next(line for line in picture if line.startswith(" and "))
    assert more.startswith(f" and {20 - len(table)} more: ward-{len(table):02d}, ")
    assert sum(line.startswith(" ward-") for line in drawn(many_departments(20, "ward-{:02d}".format), 80, 50)) == 20


def test_of_more_slots_than_fit_the_present_ones_are_shown() -> None:
    header = drawn(many_departments(1, lambda _: "ent"), 80, 24)[2].split()
    assert header[0] == "10:00", "the last one that is over at 11:00"
    assert header[-2:] == ["here", "now"]


def test_a_day_on_which_nothing_happened_is_drawn_too() -> None:
    assert "nobody is on duty yet" in drawn(Board(DATE), 80, 24)[2]


def test_a_watch_that_is_no_terminal_says_plain_lines(
    told: list[Happening], capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(Console(stderr=True), DATE, "title", live=True) as watch:
        for happening in told:
            watch.take(happening)
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert said.splitlines()[-1].startswith("17:")
    assert f"{sum(happening.what is What.COMMAND for happening in told):,} commands decided" in said


def test_a_watch_on_a_terminal_draws_pictures_and_restores_the_screen(told: list[Happening]) -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    with watching(console, DATE, "title", live=True) as watch:
        for happening in told:
            watch.take(happening)
        until(lambda: "decisions/s" in screen.getvalue(), "a picture is drawn")
    shown = screen.getvalue()
    assert shown.index("\x1b[?1049h") < shown.index("decisions/s") < shown.rindex("\x1b[?1049l")


def test_a_watch_can_be_drawn_while_it_is_told(told: list[Happening]) -> None:
    watch = Watch(DATE, "title")
    for happening in told:
        watch.take(happening)
        if happening.type == "CallNext":
            watch.picture(80, 24)
    assert len(watch.picture(80, 24).renderables) == 24


# The figures, counted once more from the bare events


def test_the_figures_agree_with_an_independent_count(told: list[Happening], board: Board) -> None:
    events = [happening for happening in told if happening.what is What.EVENT]
    figures = Figures.of(board)

    def tokens(*kinds: str, **data: Any) -> set[str]:
        wanted = data.items()
        return {event.data["token_id"] for event in events if event.type in kinds and wanted <= event.data.items()}

    last = {event.data["token_id"]: event.data for event in events if event.type.startswith("Token")}
    asked = {each.data["patient_id"] for each in told if each.what is What.COMMAND and each.type == "RequestToken"}
    assert figures.patients == len(asked)
    assert figures.tokens == len(last)
    assert figures.at_once == len(tokens("TokenConfirmed"))
    assert figures.waitlisted == len(tokens("TokenWaitlisted")) == figures.tokens - figures.at_once
    assert figures.promoted == len(tokens("TokenPromoted"))
    assert figures.reassigned == len(tokens("TokenReassigned"))
    assert figures.ended == Counter(data["status"] for data in last.values())
    assert figures.refusals == Counter(event.data["reason"] for event in events if event.type == "CommandRejected")
    assert figures.unreadable == sum(happening.what is What.DEAD_LETTER for happening in told)

    preempted = tokens("TokenPreempted")
    assert figures.preempted == Counter(last[token]["status"] for token in preempted)
    again = {
        token
        for token in preempted
        for one, other in pairwise(event for event in events if event.data.get("token_id") == token)
        if (one.type, other.type) in {("TokenPreempted", "TokenPromoted"), ("TokenCheckedIn", "TokenPromoted")}
    }
    assert figures.preempted_seated_again == len(again)


def test_emergencies_are_counted_by_how_they_were_seated(told: list[Happening], board: Board) -> None:
    events = [happening for happening in told if happening.what is What.EVENT]
    emergencies = Figures.of(board).emergencies
    stories: dict[str, list[Happening]] = {}
    for event in events:
        if event.type.startswith("Token"):
            stories.setdefault(event.data["token_id"], []).append(event)
    urgent = {token: story for token, story in stories.items() if story[-1].data["source"] == "EMERGENCY"}
    raised = {token for token, story in urgent.items() if any(event.type == "TokenUpgraded" for event in story)}
    seated = {token for token, story in urgent.items() if any(event.data["status"] == "CONFIRMED" for event in story)}
    seated |= {token for token, story in urgent.items() if any(event.data["status"] == "CHECKED_IN" for event in story)}
    later = {
        token
        for token in seated
        if stories[token][0].type == "TokenWaitlisted"
        and not any(event.data.get("reason") == "UPGRADED" for event in stories[token])
        and not any(event.type == "TokenUpgraded" and event.data["status"] != "WAITLISTED" for event in stories[token])
    }
    assert (emergencies.tokens, emergencies.raised) == (len(urgent), len(raised))
    assert (emergencies.at_once, emergencies.later) == (len(seated - later), len(later))
    assert emergencies.never == len(urgent) - len(seated)
    assert emergencies.seated_ms == {"median": 5.0, "longest": 5.0}
    assert emergencies.at_once > 10
    assert 0 < emergencies.wait_minutes < Figures.of(board).wait_minutes["mean"]


def test_waits_are_from_check_in_to_call(told: list[Happening], board: Board) -> None:
    came: dict[str, int] = {}
    waits = []
    for happening in told:
        if happening.type == "TokenCheckedIn":
            came[happening.data["token_id"]] = happening.at_ms
        elif happening.type == "TokenCalled":
            waits.append((happening.at_ms - came[happening.data["token_id"]]) / MINUTE_MS)
    wait = Figures.of(board).wait_minutes
    assert wait["mean"] == pytest.approx(fmean(waits), abs=0.05)
    assert wait["longest"] == pytest.approx(max(waits), abs=0.05)
    assert min(waits) >= 0


def test_utilisation_is_seats_used_of_seats_offered(board: Board) -> None:
    figures = Figures.of(board)
    seated = Counter(
        (department.name, token.doctor_id)
        for department in board.departments.values()
        for token in department.tokens.values()
        if token.status in {Status.COMPLETED, Status.CALLED}
    )
    assert {(doctor.department, doctor.doctor_id): doctor.used for doctor in figures.doctors} == dict(seated)
    assert all(doctor.served == doctor.used <= doctor.offered or doctor.share > 1 for doctor in figures.doctors)
    left = [doctor for doctor in figures.doctors if doctor.share == 1]
    assert left, "a doctor who left offered no more than was used"


def test_an_empty_day_has_figures_and_a_summary() -> None:
    figures = Figures.of(Board(DATE))
    assert (figures.patients, figures.tokens, figures.emergencies.tokens) == (0, 0, 0)
    said = text_of(Outcome(Summary(Day(1, DATE, patients=0)), figures, Audit()))
    assert "0 patients asked for a token" in said
    assert "the audit holds" in said


# The report


def an_outcome(told: list[Happening], audited: Audit) -> Outcome:
    played = Summary(DAY)
    played.answered_ms = [happening.answered_ms for happening in told if happening.answered_ms is not None]
    return Outcome(played, Figures.of(board_of(told)), audited)


def text_of(outcome: Outcome, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as said:
        console.print(report.summary(outcome))
    return said.get()


def test_what_postgres_has_of_the_day_is_told(told: list[Happening]) -> None:
    outcome = replace(an_outcome(told, Audit()), kept=Kept(tokens=1412, seen=1300, no_shows=31, preemptions=7))
    said = " ".join(text_of(outcome).split())
    assert "1,412 tokens in PostgreSQL, asked in SQL: 1,300 seen, 31 did not come, 7 seats lost" in said
    assert outcome.as_json()["history"] == {"tokens": 1412, "seen": 1300, "no_shows": 31, "preemptions": 7}


def test_the_report_is_written_whole_and_replaces_the_last_one(tmp_path: Path) -> None:
    engine = MemoryEngine(partitions=4)
    told = list(happenings(DAY, engine))
    outcome = an_outcome(told, audit(engine))
    folder = tmp_path / "deep" / "report"
    report.prepare(folder)
    assert "not come to its end" in (folder / "report.txt").read_text()
    report.write(outcome, folder)
    text = (folder / "report.txt").read_text()
    assert "the audit holds" in text
    assert "I8 holds" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    written = json.loads((folder / "report.json").read_text())
    assert written == json.loads(json.dumps(outcome.as_json()))
    assert written["holds"] is True
    assert written["figures"]["emergencies"]["tokens"] == outcome.figures.emergencies.tokens
    assert sum(len(records) for (kind, _), records in engine.topics.items() if kind is Kind.COMMANDS) == sum(
        happening.what is What.COMMAND for happening in told
    )
    report.prepare(folder)
    assert not (folder / "report.json").exists(), "a demo that fails must not leave an older one's figures"


def test_a_broken_invariant_is_named_in_the_summary(told: list[Happening]) -> None:
    broken = Audit()
    broken.breach(Invariant.I4, "a gap", RecordName("events", 0, 7))
    said = text_of(an_outcome(told, broken), 200)
    assert "the audit does not hold: I4 (events stand in order" in said
    assert "nothing lost" not in said


def test_the_summary_fits_80_columns_and_names_no_patient(told: list[Happening]) -> None:
    said = text_of(an_outcome(told, Audit()))
    assert max(map(len, said.splitlines())) <= 80
    patients = {happening.data["patient_id"] for happening in told if "patient_id" in happening.data}
    assert not any(patient in said for patient in patients)


def test_a_report_that_cannot_be_written_is_refused_before_the_day(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OpdError, match=r"the report cannot be written: .*\ntry: --report"):
        report.prepare(tmp_path / "file" / "report")
