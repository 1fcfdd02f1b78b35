"""What a data set holds: bars and histograms of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]


def share_bars(names: Sequence[str], shares: Array, title: str, xlabel: str) -> Figure:
    """Horizontal bars of shares in 0..1, with the number beside each.

    Args:
        names: Shape (bars,).
        shares: Shape (bars,); NaN where unknown.
        title: The figure's title.
        xlabel: What the shares are of.
    """
    with s.style():
        figure = s.new_figure(1.2 + 0.25 * len(names))
        axes = figure.add_subplot()
        axes.axvline(0.5, color=s.GREY, linewidth=0.8, zorder=1)
        axes.barh(range(len(names)), np.nan_to_num(shares), height=0.75, color=s.BETTER)
        for i, share in enumerate(shares):
            text = "unknown" if np.isnan(share) else f"{share:.1%}"
            axes.text(np.nan_to_num(share) + 0.01, i, text, va="center", fontsize=8.5)
        _rows(axes, names)
        axes.set_xlim(0, max(0.55, 1.18 * float(np.nanmax(np.nan_to_num(shares), initial=0.0))))
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel(xlabel)
        _title(figure, title)
    return figure


def count_bars(counts: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """Horizontal bars of counts, a row a name, stacked by split.

    Args:
        counts: Name → split → pictures; every name has the same splits.
        title: The figure's title.
    """
    names = list(counts)
    splits = list(next(iter(counts.values())))
    with s.style():
        figure = s.new_figure(1.4 + 0.27 * len(names))
        axes = figure.add_subplot()
        start = np.zeros(len(names))
        for k, split in enumerate(splits):
            values = np.array([counts[name][split] for name in names], dtype=float)
            axes.barh(range(len(names)), values, left=start, height=0.75, color=s.colour(k),
                      label=split, edgecolor="white", linewidth=0.5)  # fmt: skip
            start = start + values
        for i, total in enumerate(start):
            axes.annotate(f"{total:,.0f}", (total, i), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=8.5)  # fmt: skip
        _rows(axes, [wrap_name(name, 26) for name in names])
        axes.set_xlim(0, 1.14 * float(start.max(initial=1)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("pictures")
        _title(figure, title)
        figure.legend(loc="outside lower left", ncols=len(splits))
    return figure


def histogram_by_group(groups: Mapping[str, Array], title: str, xlabel: str, low: float,
                       high: float) -> Figure:  # fmt: skip
    """One histogram a group above each other's axis, as outlines that stay visible.

    Args:
        groups: Group → its numbers.
        title: The figure's title.
        xlabel: What the numbers are.
        low: Where the bins begin.
        high: Where they end.
    """
    count = int(min(60, max(12, round((high - low) / 2))))
    bins = np.linspace(low, high, 1 + count).tolist()
    with s.style():
        figure = s.new_figure(3.4)
        axes = figure.add_subplot()
        for k, (name, values) in enumerate(groups.items()):
            label = f"{name} (n = {len(values):,})"
            look = {"color": s.colour(k), "linestyle": s.dashes(k)}
            axes.hist(values, bins, histtype="step", linewidth=1.8, label=label, **look)
            axes.hist(values, bins, color=s.colour(k), alpha=0.14)
        axes.set_xlim(low, high)
        axes.set(xlabel=xlabel, ylabel="pictures")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        _title(figure, title)
        figure.legend(loc="outside lower left", ncols=2, handlelength=3)
    return figure


def _rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _title(figure: Figure, title: str) -> None:
    s.headline(figure, wrap_name(title, 58))
