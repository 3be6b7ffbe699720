"""Plots for `docs/benchmarks/`: small, and the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.rcParams.update({"svg.hashsalt": "opd", "svg.fonttype": "none", "font.size": 9})
WIDTH_IN = 7.5
ROW_IN = 0.34


def bars(path: Path, what: str, names: Sequence[str], values: Sequence[Sequence[float]]) -> Path:
    """Draw medians with lowest and highest."""
    figure, axes = _rows(what, names)
    middles = [median(own) for own in values]
    below = [middle - min(own) for middle, own in zip(middles, values, strict=True)]
    above = [max(own) - middle for middle, own in zip(middles, values, strict=True)]
    axes.barh(names, middles, xerr=(below, above), color="#4c78a8", error_kw={"capsize": 3, "linewidth": 1})
    return _saved(figure, path)


def stacked_bars(path: Path, what: str, names: Sequence[str], values: Sequence[Mapping[str, float]]) -> Path:
    """Draw sums with their parts."""
    figure, axes = _rows(what, names)
    left = [0.0] * len(names)
    for part in dict.fromkeys(part for own in values for part in own):
        widths = [own.get(part, 0.0) for own in values]
        axes.barh(names, widths, left=left, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_xscale("symlog", linthresh=50)
    axes.legend(loc="lower right", frameon=False)
    return _saved(figure, path)


def points(path: Path, what: str, names: Sequence[str], values: Mapping[str, Sequence[float | None]]) -> Path:
    """Draw several values of each name, on a logarithmic scale."""
    figure, axes = _rows(what, names)
    for (label, own), marker in zip(values.items(), "o|x^", strict=False):
        there = [(value, name) for value, name in zip(own, names, strict=True) if value is not None]
        axes.scatter([value for value, _ in there], [name for _, name in there], label=label, marker=marker)
    axes.set_xscale("log")
    axes.legend(loc="lower right", frameon=False)
    return _saved(figure, path)


def line(path: Path, what: str, over: str, xs: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Path:
    """Draw values over something, from 0."""
    figure = Figure(figsize=(WIDTH_IN, 3), layout="constrained")
    axes = figure.subplots()
    for label, values in lines.items():
        axes.plot(xs, values, label=label)
    axes.set_ylim(bottom=0)
    axes.set(xlabel=over, ylabel=what)
    axes.legend(frameon=False)
    return _saved(figure, path)


def _rows(what: str, names: Sequence[str]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, 0.8 + ROW_IN * len(names)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_xlabel(what)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
