"""Risk by coverage: what the mean error is if only the surest answers are kept."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name


def risk_coverage_figure(curves: Mapping[str, NDArray[np.float64]]) -> Figure:
    """A panel per task: the mean error of the k surest images, against their share of all.

    Args:
        curves: Task → the mean error for k = 1 … N.
    """
    with s.style():
        figure = s.new_figure(3.4, max(4.0, 3.4 * len(curves)))
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, curves.items(), strict=True):
            share = np.arange(1, len(curve) + 1) / len(curve)
            axes.axhline(curve[-1], color=s.GREY, linewidth=1, zorder=1)
            axes.plot(share, curve, color=s.colour(0))
            axes.set(xlabel="images kept, surest first", ylabel="mean error")
            axes.set_title(wrap_name(name, 24))
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        s.headline(figure, "Does it know what it does not know?")
    return figure
