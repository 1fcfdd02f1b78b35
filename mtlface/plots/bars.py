"""Bars of several arms, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]


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
        s.headline(figure, title)
        figure.legend(loc="outside lower left", ncols=1)
    return figure


@dataclass(frozen=True)
class AbsoluteBar:
    """A metric of one arm.

    Attributes:
        label: Whose it is.
        mean: The length of the bar.
        values: One per seed.
        ends: Both ends of the whisker, or None.
    """

    label: str
    mean: float
    values: Sequence[float]
    ends: tuple[float, float] | None


def absolute_bars(panels: Mapping[str, tuple[Sequence[AbsoluteBar], float | None]]) -> Figure:
    """A panel per metric: a bar per arm, ticks for its seeds, a line for the constant predictor.

    Args:
        panels: Title → the bars, and what the constant predictor reaches.
    """
    heights = [0.55 + 0.36 * len(bars) for bars, _ in panels.values()]
    with s.style():
        figure = s.new_figure(sum(heights) + 0.55)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, (title, (bars, constant)) in zip(grid[:, 0], panels.items(), strict=True):
            for y, bar in enumerate(bars):
                axes.barh(y, bar.mean, height=0.62, color=s.BARS, zorder=2)
                if bar.ends:
                    axes.plot(bar.ends, [y, y], color="#222222", linewidth=1.4, zorder=4)
                if len(bar.values) > 1:
                    marks = [y] * len(bar.values)
                    axes.plot(bar.values, marks, "|", color=s.BETTER, markersize=9, zorder=3)
            highest = max([b.mean for b in bars] + [b.ends[1] for b in bars if b.ends])
            if constant is not None:
                axes.axvline(constant, color=s.WORSE, linestyle=s.dashes(1), zorder=5)
                highest = max(highest, constant)
            decimals = max(0, 2 - int(np.floor(np.log10(highest)))) if highest > 0 else 2
            for y, bar in enumerate(bars):
                axes.annotate(
                    f"{bar.mean:.{decimals}f}",
                    (1, y),
                    xycoords=("axes fraction", "data"),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9.5,
                )
            axes.set_yticks(range(len(bars)), [wrap_name(bar.label, 34) for bar in bars])
            axes.set_ylim(len(bars) - 0.4, -0.6)
            axes.set_xlim(0, 1.04 * highest)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.set_title(title)
    return figure
