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
    """A line with its band; all of shape (points,). `band` is half the band's height."""

    label: str
    x: Array
    y: Array
    band: Array | None = None


def forest(rows: Sequence[ForestRow], xlabel: str, title: str) -> Figure:
    """Differences with their intervals, a row each; right of zero is better."""
    groups: dict[str, list[ForestRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    with s.style():
        figure = s.new_figure(1.35 + 0.62 * len(rows) + 0.42 * len(groups))
        axes = figure.add_subplot()
        ticks, position = [], 0.0
        for group, members in groups.items():
            ticks.append((position, group, True))
            position += 0.75
            for row in members:
                _forest_row(axes, row, position)
                ticks.append((position, wrap_name(row.label, 24), False))
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
        axes.set_xlim(min(low, -0.08 * (high - low)), max(high, 0.08 * (high - low)))
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


def learning_curves(panels: Mapping[str, Sequence[Curve]], xlabel: str = "epoch") -> Figure:
    """A panel a metric (its name is the panel's title), a line with a band an arm."""
    return _panels(panels, xlabel, height=2.5)


def error_curves(panels: Mapping[str, Sequence[Curve]]) -> Figure:
    """Cumulative error curves: the share of pictures (0..1) with at most an error.

    Args:
        panels: Name of the error (the x axis) → a curve an arm.
    """
    figure = _panels(panels, None, height=2.8)
    with s.style():
        for axes, name in zip(figure.axes, panels, strict=True):
            axes.set_title("")
            axes.set_xlabel(name)
            axes.set_ylabel("share of pictures with\nat most this error")
            axes.set_ylim(0, 1.02)
            axes.set_xlim(left=0)
    return figure


def reliability(
    panels: Mapping[str, Sequence[Curve]], ece: Mapping[str, Sequence[float]]
) -> Figure:
    """Reliability diagrams: observed frequency against predicted probability, a panel a label.

    Args:
        panels: Label → a curve an arm, both axes in 0..1.
        ece: Label → the expected calibration error of each arm's curve.
    """
    with s.style():
        figure = s.new_figure(4.1 * len(panels))
        for row, (name, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, row + 1)
            axes.plot([0, 1], [0, 1], color=s.GREY, linewidth=1, zorder=1)
            axes.annotate(
                "perfectly calibrated",
                (0.03, 0.055),
                rotation=45,
                color=s.GREY,
                fontsize=8.5,
                rotation_mode="anchor",
                transform_rotates_text=True,
            )
            for i, (curve, error) in enumerate(zip(curves, ece[name], strict=True)):
                label = f"{wrap_name(curve.label, 30)}\nECE {error:.3f}"
                _line(axes, curve, i, label=label, marker=s.marker(i), markersize=4.5)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            axes.set_aspect("equal")
            axes.set_title(name)
            axes.set_xlabel("predicted probability")
            axes.set_ylabel("observed frequency")
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), labelspacing=0.9)
    return figure


def grouped_bars(
    groups: Sequence[str],
    series: Mapping[str, tuple[Array, Array]],
    ylabel: str,
    title: str,
) -> Figure:
    """Horizontal bars: a block a group, a bar an arm, a whisker its spread.

    Args:
        groups: Names of the blocks, shape (groups,).
        series: Arm → (heights, half whiskers), both of shape (groups,); NaN leaves a bar out.
        ylabel: What the bars measure.
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
                color=s.colour(i),
                label=wrap_name(name, 44),
                error_kw={"elinewidth": 1.2, "ecolor": "#222222", "capsize": 2},
            )
        axes.set_yticks(range(len(groups)), list(groups))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(ylabel)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside lower center", ncols=1)
    return figure


def cosine_heat_map(names: Sequence[str], cosines: Array, title: str) -> Figure:
    """Mean cosines between the tasks' gradients; blue agrees, orange conflicts.

    Args:
        names: Tasks, shape (tasks,).
        cosines: Shape (tasks, tasks), in −1..1; NaN where unknown.
        title: The figure's title.
    """
    with s.style():
        size = min(s.WIDTH, 2.4 + 0.55 * len(names))
        figure = s.new_figure(size * 0.92, size)
        axes = figure.add_subplot()
        colours = LinearSegmentedColormap.from_list("conflict", [s.WORSE, "white", s.BETTER])
        image = axes.imshow(cosines, cmap=colours, vmin=-1, vmax=1)
        axes.set_xticks(
            range(len(names)), list(names), rotation=45, ha="right", rotation_mode="anchor"
        )
        axes.set_yticks(range(len(names)), list(names))
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if len(names) <= 12:
            for i, j in np.argwhere(np.isfinite(cosines)):
                dark = abs(cosines[i, j]) > 0.6
                text = f"{cosines[i, j]:.2f}".replace("-", "\N{MINUS SIGN}")
                axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
        bar = figure.colorbar(image, ax=axes, shrink=0.85, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.outline.set_visible(False)
        bar.set_label("cosine of the gradients")
        figure.suptitle(wrap_name(title, 40), x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return figure


def _panels(panels: Mapping[str, Sequence[Curve]], xlabel: str | None, height: float) -> Figure:
    names = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    with s.style():
        figure = s.new_figure(height * len(panels) + 0.27 * len(names) + 0.2)
        for row, (name, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, row + 1)
            for curve in curves:
                _line(axes, curve, names.index(curve.label))
            axes.set_title(name)
            axes.margins(x=0.01)
        if xlabel:
            figure.axes[-1].set_xlabel(xlabel)
            for axes in figure.axes:
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        handles = [
            Line2D([], [], color=s.colour(i), linestyle=s.dashes(i), label=wrap_name(name, 48))
            for i, name in enumerate(names)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=1, handlelength=3)
    return figure


def _line(axes: Any, curve: Curve, i: int, **options: Any) -> None:
    colour = s.colour(i)
    if len(curve.x) == 1:
        options.setdefault("marker", s.marker(i))
    axes.plot(curve.x, curve.y, color=colour, linestyle=s.dashes(i), zorder=3, **options)
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
    anchor = max([mean, *seeds, *(row.interval or ())])
    text = f"{mean:+.2f}".replace("-", "\N{MINUS SIGN}")
    axes.annotate(
        text,
        (anchor, y),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold",
        fontsize=9.5,
        annotation_clip=False,
    )


def _verdict_style(verdict: str) -> tuple[str, str, str]:
    if verdict == "better":
        return s.BETTER, "o", "better"
    if verdict == "worse":
        return s.WORSE, "s", "worse"
    return s.UNDECIDED, "D", "no difference shown"
