"""What is left of a demo: a summary for people, the same and all figures as files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.auditor.command import print_report
from services.auditor.report import Report as Audit
from services.demo.figures import Figures, Utilisation
from services.demo.history import Kept
from services.demo.view import long_date
from services.demo.words import REFUSALS
from services.errors import OpdError
from services.simulator.play import Summary, percentiles
from services.stack.state import replace_file

_ENDS = {
    "COMPLETED": "seen by the doctor",
    "CALLED": "with the doctor",
    "CHECKED_IN": "still in the hall",
    "CONFIRMED": "still expected",
    "WAITLISTED": "still waiting",
    "CANCELLED": "cancelled",
    "NO_SHOW": "did not come",
    "EXPIRED": "waited in vain until the slot closed",
}
_TEXT_WIDTH = 100


@dataclass(frozen=True)
class Outcome:
    """A demo that was played to its end; `kept` is what PostgreSQL has of it, if it has all."""

    played: Summary
    figures: Figures
    audit: Audit
    kept: Kept | None = None

    def as_json(self) -> dict[str, Any]:
        """Give everything for machines."""
        return {
            "holds": self.audit.holds,
            "day": self.played.as_json(),
            "figures": self.figures.as_json(),
            "audit": self.audit.as_json(),
            "history": self.kept and self.kept._asdict(),
        }


def prepare(folder: Path) -> None:
    """Make the report's folder.

    Raises:
        OpdError: it cannot be made, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "report.txt", "The demo that began here has not come to its end.\n")
        (folder / "report.json").unlink(missing_ok=True)
    except OSError as error:
        raise OpdError(f"the report cannot be written: {error}\ntry: --report with another folder") from error


def write(outcome: Outcome, folder: Path) -> None:
    """Write `report.json` and `report.txt`."""
    text = StringIO()
    console = Console(file=text, width=_TEXT_WIDTH, highlight=False, color_system=None)
    console.print(summary(outcome))
    print_report(outcome.audit, console)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    replace_file(folder / "report.txt", "\n".join(lines) + "\n")
    replace_file(folder / "report.json", json.dumps(outcome.as_json(), indent=2) + "\n")


def summary(outcome: Outcome) -> RenderableType:
    """Say how the day went, to somebody who runs a hospital."""
    day = outcome.played.day
    title = f"{long_date(day.day)}: {day.doctors} doctors, {day.patients} patients, seed {day.seed}"
    return Group(
        Text(title, "bold"),
        Text(),
        _facts(_of_patients(outcome.figures)),
        Text(),
        Text("Seats used, by doctor", "bold"),
        Padding(_seats(outcome.figures.doctors), (0, 2)),
        Text(),
        Text("Can it be relied upon?", "bold"),
        _facts(_of_the_system(outcome)),
    )


Fact = tuple[str, str]


def _facts(facts: Sequence[Fact]) -> Table:
    table = Table.grid(padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for figure, text in facts:
        table.add_row(f"  {figure}", Text(text))
    return table


def _of_patients(figures: Figures) -> list[Fact]:
    ended, wait = figures.ended, figures.wait_minutes
    served = ended.get("COMPLETED", 0) + ended.get("CALLED", 0)
    facts = [
        (f"{figures.patients:,}", f"patients asked for a token; {figures.tokens:,} tokens were issued"),
        (f"{figures.at_once:,}", "had a seat at once"),
        (f"{figures.waitlisted:,}", f"began on the waitlist; {figures.promoted:,} moved up when a seat came free"),
        *_of_emergencies(figures),
        *_of_preempted(figures),
        (f"{figures.reassigned:,}", "went to a colleague, because their doctor was away or for an emergency"),
        (f"{ended.get('CANCELLED', 0):,}", "cancelled"),
        (f"{ended.get('NO_SHOW', 0):,}", "did not come"),
        (f"{ended.get('EXPIRED', 0):,}", "waited in vain until their slot closed"),
        (f"{served:,}", "were seen by a doctor"),
    ]
    if served:
        text = f"minutes from check-in to call on average; half waited {wait['median']:.0f}, the longest"
        facts.append((f"{wait['mean']:.0f}", f"{text} {wait['longest']:.0f}"))
    return facts


def _of_emergencies(figures: Figures) -> list[Fact]:
    emergencies = figures.emergencies
    if not emergencies.tokens:
        return [("0", "emergencies")]
    text = f"emergencies ({emergencies.raised:,} of them had a token already): {emergencies.at_once:,} seated at once"
    if emergencies.at_once:
        seated_ms = emergencies.seated_ms
        text += f", half within {seated_ms['median']:.0f} ms, the slowest after {seated_ms['longest']:.0f} ms"
    if emergencies.later:
        text += f"; {emergencies.later:,} when a seat came free"
    if emergencies.never:
        text += f"; {emergencies.never:,} not, for nobody's seat could be taken"
    return [(f"{emergencies.tokens:,}", text)]


def _of_preempted(figures: Figures) -> list[Fact]:
    total = sum(figures.preempted.values())
    if not total:
        return [("0", "lost a seat that they had")]
    ends = ", ".join(f"{count:,} {_ENDS[status]}" for status, count in figures.preempted.items())
    again = f"{figures.preempted_seated_again:,} of them got another one"
    return [(f"{total:,}", f"lost a seat that they had, {again}; in the end: {ends}")]


def _seats(doctors: Sequence[Utilisation]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", overflow="ellipsis", max_width=20)
    table.add_column()
    departments: dict[str, list[str]] = {}
    for doctor in doctors:
        # A name and its figure stay on one line.
        said = f"{doctor.name.removeprefix('Dr ')} {doctor.share:.0%}".replace(" ", "\N{NO-BREAK SPACE}")
        departments.setdefault(doctor.department, []).append(said)
    for department, said_of_doctors in departments.items():
        table.add_row(department, Text(", ".join(said_of_doctors)))
    return table


def _of_the_system(outcome: Outcome) -> list[Fact]:
    played, audit = outcome.played, outcome.audit
    answers = percentiles(played.answered_ms)
    answered = f"half answered within {answers[50]:.0f} ms, 99 % within {answers[99]:.0f} ms"
    refused = ", ".join(f"{count} {REFUSALS[reason]}" for reason, count in _three_commonest(outcome.figures.refusals))
    facts = [
        (f"{audit.commands:,}", f"commands, {audit.events:,} events; {answered}"),
        (
            f"{played.over_http:,}",
            "of the commands over HTTP, by the walk-ins of one department; the others through Kafka",
        ),
        (f"{played.refusals.total():,}", f"refused with a reason: {refused}" if refused else "refused"),
        (f"{audit.dead_letters:,}", "unreadable records put aside; nothing was held up by them"),
    ]
    if outcome.kept is not None:
        kept = outcome.kept
        text = f"tokens in PostgreSQL, asked in SQL: {kept.seen:,} seen, {kept.no_shows:,} did not come"
        facts.append((f"{kept.tokens:,}", f"{text}, {kept.preemptions:,} seats lost"))
    if audit.holds:
        facts.append(("yes", "the audit holds: nothing overbooked, nothing lost, nothing decided twice"))
    else:
        broken = ", ".join(f"{invariant} ({invariant.meaning})" for invariant in audit.broken)
        facts.append(("NO", f"the audit does not hold: {broken}"))
    return facts


def _three_commonest(refusals: dict[str, int]) -> list[tuple[Any, int]]:
    return sorted(refusals.items(), key=lambda each: -each[1])[:3]
