"""Forest plots: differences with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

# Colour, marker and name of an answer.
VERDICTS = {
    "better": (s.BETTER, "o", "better"),
    "worse": (s.WORSE, "s", "worse"),
    "shown equal": (s.EQUAL, "^", "shown equal"),
}


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot.

    Attributes:
        label: What is compared.
        group: Rows of a group stand together under its name.
        values: The paired differences, one a seed.
        interval: Lower and upper end, None where there is none.
        verdict: `better`, `worse`, `shown equal`, or anything else.
    """

    label: str
    group: str
    values: Sequence[float]
    interval: tuple[float, float] | None
    verdict: str


def forest(rows: Sequence[ForestRow], xlabel: str, title: str) -> Figure:
    """Differences with their intervals, a row each; right of zero is better."""
    groups: dict[str, list[ForestRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    with s.style():
        # Many rows stand as close as their labels allow.
        many = len(rows) > 24
        width = 30 if many else 24
        lines = max(wrap_name(row.label, width).count("\n") + 1 for row in rows)
        height = min(0.62, 0.12 + 0.14 * lines) if many else 0.62
        figure = s.new_figure(1.35 + height * len(rows) + 0.42 * len(groups))
        axes = figure.add_subplot()
        ticks, position = [], 0.0
        for group, members in groups.items():
            ticks.append((position, group, True))
            position += 0.75
            for row in members:
                _forest_row(axes, row, position)
                ticks.append((position, wrap_name(row.label, width), False))
                position += 1.0
            position += 0.15
        axes.axvline(0, color="black", linewidth=1.2, zorder=1)
        axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks])
        for text, (_, _, is_group) in zip(axes.get_yticklabels(), ticks, strict=True):
            text.set_fontweight("bold" if is_group else "normal")
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set_ylim(position - 0.3, -0.5)
        low, high = axes.get_xlim()
        low, high = min(low, 0.0), max(high, 0.0)
        # Room for the numbers that stand beside the longest intervals.
        left = 0.2 if any(_outwards(row) < 0 for row in rows) else 0.05
        axes.set_xlim(low - left * (high - low), high + 0.17 * (high - low))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(xlabel)
        s.headline(figure, title)
        present = {_verdict_style(row.verdict)[2] for row in rows}
        handles = [
            Line2D([], [], color=c, marker=m, markersize=7, linewidth=2, label=label)
            for c, m, label in map(_verdict_style, (*VERDICTS, ""))
            if label in present
        ]
        if any(len(row.values) > 1 for row in rows):
            tick = Line2D([], [], color=s.GREY, marker="|", linestyle="", markersize=9)
            tick.set_label("one seed")
            handles.append(tick)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _forest_row(axes: Any, row: ForestRow, y: float) -> None:
    colour, marker, _ = _verdict_style(row.verdict)
    if row.interval:
        axes.plot(
            row.interval, [y, y], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=3
        )
    seeds = list(row.values)
    if len(seeds) > 1:
        axes.plot(seeds, [y + 0.24] * len(seeds), "|", color=s.GREY, markersize=7, zorder=2)
    mean = float(np.mean(seeds))
    axes.plot([mean], [y], marker, color=colour, markersize=8, zorder=4)
    outwards = _outwards(row)
    anchor = outwards * max(outwards * value for value in _extent(row))
    text = f"{mean:+.2f}".replace("-", "\N{MINUS SIGN}")
    axes.annotate(
        text,
        (anchor, y),
        xytext=(outwards * 7, 0),
        textcoords="offset points",
        ha="right" if outwards < 0 else "left",
        va="center",
        color=colour,
        fontweight="bold",
        fontsize=9.5,
        annotation_clip=False,
    )


def _extent(row: ForestRow) -> list[float]:
    return [*row.values, *(row.interval or ())]


def _outwards(row: ForestRow) -> int:
    """Where a row's number stands: left (−1) of an interval that ends before zero, else right."""
    return -1 if max(_extent(row)) < 0 else 1


def _verdict_style(verdict: str) -> tuple[str, str, str]:
    return VERDICTS.get(verdict, (s.UNDECIDED, "D", "undecided"))
