"""Lines of several arms: learning, cumulative errors, reliability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]
FLAT = 10  # from this ratio of the largest value to the upper quartile on, the axis is logarithmic


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
            axes.set_ylabel("share of images with\nat most this error")
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
            if xlabel and _flattened(curves):
                axes.set_yscale("log")
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


def _flattened(curves: Sequence[Curve]) -> bool:
    """Whether a few high values (the first epochs) would press all others onto the axis."""
    values = np.concatenate([curve.y for curve in curves])
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return False
    return bool(values.max() > FLAT * np.quantile(values, 0.75))


def _line(axes: Any, curve: Curve, i: int) -> None:
    colour = s.colour(i)
    axes.plot(curve.x, curve.y, color=colour, linestyle=s.dashes(i), zorder=3)
    if curve.weight is not None or len(curve.x) == 1:
        sizes = 30.0 if curve.weight is None else 12 + 160 * curve.weight
        axes.scatter(curve.x, curve.y, s=sizes, color=colour, marker=s.marker(i), zorder=4)
    if curve.band is not None:
        low, high = curve.y - curve.band, curve.y + curve.band
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
