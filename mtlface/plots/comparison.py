"""Figures that compare arms, drawn from plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot.

    Attributes:
        label: What is compared.
        group: Rows of a group stand together under its name.
        values: The paired differences, one a seed.
        interval: Lower and upper end, None where there is none.
        verdict: `better`, `worse`, or anything else.
    """

    label: str
    group: str
    values: Sequence[float]
    interval: tuple[float, float] | None
    verdict: str


@dataclass(frozen=True)
class Curve:
    """A line, all arrays of shape (points,).

    Attributes:
        label: Whose line it is.
        band: Half the height of the band around it.
        weight: Share of the data behind each point, in 0..1; it sets the size of the points.
    """

    label: str
    x: Array
    y: Array
    band: Array | None = None
    weight: Array | None = None


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
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        present = {_verdict_style(row.verdict)[2] for row in rows}
        handles = [
            Line2D([], [], color=c, marker=m, markersize=7, linewidth=2, label=label)
            for c, m, label in map(_verdict_style, ("better", "worse", ""))
            if label in present
        ]
        handles.append(
            Line2D([], [], color=s.GREY, marker="|", linestyle="", markersize=9, label="one seed")
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def learning_curves(
    panels: Mapping[str, Sequence[Curve]], order: Sequence[str], xlabel: str = "epoch"
) -> Figure:
    """A panel a metric (its name is the panel's title), a line with a band an arm.

    Args:
        panels: Metric → a curve an arm.
        order: All arms of the report, so that an arm has one colour in every figure.
        xlabel: What the x axis counts.
    """
    return _panels(panels, order, xlabel, height=2.5)


def error_curves(panels: Mapping[str, Sequence[Curve]], order: Sequence[str]) -> Figure:
    """Cumulative error curves: the share of pictures (0..1) with at most an error.

    Args:
        panels: Name of the error (the x axis) → a curve an arm.
        order: All arms of the report, so that an arm has one colour in every figure.
    """
    figure = _panels(panels, order, None, height=2.8)
    with s.style():
        for axes, name in zip(figure.axes, panels, strict=True):
            axes.set_title("")
            axes.set_xlabel(name)
            axes.set_ylabel("share of pictures with\nat most this error")
            axes.set_ylim(0, 1.02)
            axes.set_xlim(left=0)
    return figure


def reliability(panels: Mapping[str, Sequence[Curve]], order: Sequence[str]) -> Figure:
    """Reliability diagrams: observed frequency against predicted probability, a panel a label.

    Args:
        panels: Label → a curve an arm, both axes in 0..1; `weight` is the share of pictures.
        order: All arms of the report, so that an arm has one colour in every figure.
    """
    figure = _panels(panels, order, None, height=4.6)
    with s.style():
        for axes in figure.axes:
            axes.plot([0, 1], [0, 1], color=s.GREY, linewidth=1, zorder=1)
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(-0.03, 1.03)
            axes.set_aspect("equal")
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("observed frequency")
    return figure


def grouped_bars(
    groups: Sequence[str],
    series: Mapping[str, tuple[Array, Array]],
    order: Sequence[str],
    xlabel: str,
    title: str,
) -> Figure:
    """Horizontal bars: a block a group, a bar an arm, a whisker its spread.

    Args:
        groups: Names of the blocks, shape (groups,).
        series: Arm → (heights, half whiskers), both of shape (groups,); NaN leaves a bar out.
        order: All arms of the report, so that an arm has one colour in every figure.
        xlabel: What the bars measure.
        title: The figure's title.
    """
    thickness = 0.82 / len(series)
    with s.style():
        figure = s.new_figure(
            1.5 + 0.27 * len(series) + max(0.45, 0.22 * len(series)) * len(groups)
        )
        axes = figure.add_subplot()
        for i, (name, (heights, spread)) in enumerate(series.items()):
            positions = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * thickness
            axes.barh(
                positions,
                heights,
                height=thickness * 0.9,
                xerr=np.where(np.isfinite(spread), spread, 0.0),
                color=s.colour(order.index(name)),
                label=wrap_name(name, 44),
                error_kw={"elinewidth": 1.2, "ecolor": "#222222", "capsize": 2},
            )
        axes.set_yticks(range(len(groups)), list(groups))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(xlabel)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside lower left", ncols=1)
    return figure


def cosine_heat_map(names: Sequence[str], cosines: Array, title: str) -> Figure:
    """Mean cosines between the tasks' gradients; blue agrees, orange conflicts.

    Args:
        names: Tasks, shape (tasks,).
        cosines: Shape (tasks, tasks), in −1..1; NaN where unknown.
        title: The figure's title.
    """
    with s.style():
        figure = s.new_figure(min(0.85 * s.WIDTH, 1.9 + 0.65 * len(names)))
        _heat_map(figure, names, names, cosines, title)
    return figure


def cosines_of_arms(arms: Sequence[str], pairs: Sequence[str], cosines: Array) -> Figure:
    """Mean cosines between pairs of tasks, a row an arm; blue agrees, orange conflicts.

    Args:
        arms: Shape (arms,).
        pairs: Names of pairs of tasks, shape (pairs,).
        cosines: Shape (arms, pairs), in −1..1; NaN where unknown.
    """
    rows = [wrap_name(name, 34) for name in arms]
    lines = sum(name.count("\n") + 1 for name in rows)
    with s.style():
        figure = s.new_figure(1.9 + 0.24 * max(lines, len(rows)))
        axes = _heat_map(figure, rows, pairs, cosines, "Do the tasks' gradients agree?")
        axes.set_aspect("auto")
    return figure


def _heat_map(
    figure: Figure, rows: Sequence[str], columns: Sequence[str], cosines: Array, title: str
) -> Any:
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("conflict", [s.WORSE, "white", s.BETTER])
    image = axes.imshow(cosines, cmap=colours, vmin=-1, vmax=1)
    axes.set_xticks(
        range(len(columns)), list(columns), rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if len(columns) <= 12:
        for i, j in np.argwhere(np.isfinite(cosines)):
            dark = abs(cosines[i, j]) > 0.6
            text = f"{cosines[i, j]:.2f}".replace("-", "\N{MINUS SIGN}")
            axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
    bar = figure.colorbar(image, ax=axes, shrink=0.85, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.set_label("cosine of the gradients")
    figure.suptitle(wrap_name(title, 40), x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return axes


def _panels(
    panels: Mapping[str, Sequence[Curve]], order: Sequence[str], xlabel: str | None, height: float
) -> Figure:
    present = {curve.label for curves in panels.values() for curve in curves}
    with s.style():
        figure = s.new_figure(height * len(panels) + 0.25 * len(present) + 0.2)
        for row, (name, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, row + 1)
            for curve in curves:
                _line(axes, curve, order.index(curve.label))
            axes.set_title(name)
            axes.margins(x=0.01)
            if xlabel:
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        if xlabel:
            figure.axes[-1].set_xlabel(xlabel)
        handles = [
            Line2D([], [], color=s.colour(i), linestyle=s.dashes(i), label=wrap_name(name, 48))
            for i, name in enumerate(order)
            if name in present
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=1, handlelength=3)
    return figure


def _line(axes: Any, curve: Curve, i: int) -> None:
    colour = s.colour(i)
    axes.plot(curve.x, curve.y, color=colour, linestyle=s.dashes(i), zorder=3)
    if curve.weight is not None or len(curve.x) == 1:
        sizes = 30.0 if curve.weight is None else 12 + 160 * curve.weight
        axes.scatter(curve.x, curve.y, s=sizes, color=colour, marker=s.marker(i), zorder=4)
    if curve.band is not None:
        low, high = curve.y - curve.band, curve.y + curve.band
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)


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
    if verdict == "better":
        return s.BETTER, "o", "better"
    if verdict == "worse":
        return s.WORSE, "s", "worse"
    return s.UNDECIDED, "D", "no difference shown"
