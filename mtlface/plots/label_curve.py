"""The benefit of sharing by the number of labels, with the zero that it crosses."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from mtlface.plots import style as s


def label_curve_figure(
    labels: Sequence[int],
    benefit: NDArray[np.float64],
    intervals: Sequence[tuple[float, float] | None],
    crossover: tuple[float, float] | None,
    title: str,
) -> Figure:
    """A line through the means with its intervals, a dot per seed, and the crossover's band.

    Args:
        labels: How many labels, (F,).
        benefit: In percent, by seed and number, (S, F).
        intervals: Of each mean, (F,).
        crossover: Its interval in labels, or None.
        title: The figure's title.
    """
    means = benefit.mean(axis=0)
    ends = [i or (m, m) for i, m in zip(intervals, means, strict=True)]
    with s.style():
        figure = s.new_figure(3.6, 6.4)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.axhline(0, color=s.GREY, linewidth=1, zorder=1)
        if crossover is not None:
            low, high = (float(np.clip(end, labels[0], labels[-1])) for end in crossover)
            axes.axvspan(low, high, color=s.GREY, alpha=0.25, linewidth=0, zorder=0)
        axes.fill_between(
            labels, [low for low, _ in ends], [high for _, high in ends],
            color=s.colour(0), alpha=0.18, linewidth=0,
        )  # fmt: skip
        axes.plot(labels, means, color=s.colour(0), marker="o")
        for row in benefit:
            axes.plot(labels, row, color=s.colour(0), marker=".", linestyle="", alpha=0.5)
        axes.set_xticks(labels)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.minorticks_off()
        axes.set(xlabel="training labels", ylabel="sharing, % of the twin; up is better")
        s.headline(figure, title)
    return figure
