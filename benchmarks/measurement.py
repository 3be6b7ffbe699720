"""What the benchmark measures, piece by piece: each piece gives its figures, and how they are shown."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench import Bench

Figures = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Figures for people, on a terminal and on a page.

    Attributes:
        title: above it.
        columns: its heads; the first column names the rows, the others are numbers.
        rows: cells as text.
        note: below it, what must be known to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Measurement:
    """One piece.

    Attributes:
        name: for `--only`, and in results.
        what: one line that says what is measured.
        measure: does it; the figures must go through JSON unchanged.
        show: makes tables of the figures.
        draw: writes plots of the figures into a folder, and gives their files.
        by_default: whether it is measured unless asked for.
    """

    name: str
    what: str
    measure: Callable[[Bench], Coroutine[Any, Any, Figures]]
    show: Callable[[Figures], list[Table]]
    draw: Callable[[Figures, Path], list[Path]] = field(default=lambda _figures, _folder: [])
    by_default: bool = True


def spread(form: str, values: Sequence[float]) -> str:
    """Give the median and, where there are several values, the lowest and the highest: `41 (39 to 43)`."""
    if not values:
        return ""
    middle = form.format(median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
