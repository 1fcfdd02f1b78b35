"""Bars of several arms, side by side."""

from collections.abc import Mapping, Sequence

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
