"""How training went: a panel a loss or metric, a line a split, by epoch."""

from __future__ import annotations

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

SPLITS = ("train", "val")
_BEST: Any = (0, (1, 2))  # the line of the best epoch
FEW_EPOCHS = 12  # up to which each one is marked
_WIDTH, _HEIGHT = 8.4, 2.15  # inches, of the whole and of a row


@dataclass(frozen=True)
class CurvePanel:
    """One axes of the figure.

    Attributes:
        title: What is drawn.
        lines: By split (`train`, `val`): values (epochs,), NaN where there is none.
    """

    title: str
    lines: Mapping[str, NDArray[np.float64]]


def training_curves(
    panels: Sequence[CurvePanel], epochs: NDArray[np.float64], best_epoch: int | None
) -> Figure:
    """Draws the panels in two columns.

    Args:
        panels: In reading order.
        epochs: The epochs (epochs,), from 0.
        best_epoch: The epoch that validation chose; a vertical line marks it.
    """
    rows = -(-len(panels) // 2)
    with s.style():
        figure = s.new_figure(_HEIGHT * rows + 0.5, _WIDTH)
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(rows, 2, i + 1)
            for split, values in panel.lines.items():
                k = SPLITS.index(split)
                mark = s.marker(k) if np.isfinite(values).sum() <= FEW_EPOCHS else ""
                look = {"color": s.colour(k), "linestyle": s.dashes(k), "marker": mark}
                axes.plot(epochs, values, markersize=4, **look)
            if best_epoch is not None and len(epochs) > 1:
                axes.axvline(best_epoch, color=s.GREY, linewidth=1, linestyle=_BEST)
            axes.set_title(wrap_name(panel.title, 40))
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.margins(x=0.02)
            if i >= len(panels) - 2:
                axes.set_xlabel("epoch")
        handles = [
            Line2D([], [], color=s.colour(k), linestyle=s.dashes(k), label=label)
            for k, label in enumerate(("training", "validation"))
        ]
        if best_epoch is not None:
            label = f"best epoch ({best_epoch})"
            handles.append(Line2D([], [], color=s.GREY, linewidth=1, linestyle=_BEST, label=label))
        figure.legend(handles=handles, loc="outside lower left", ncols=3, handlelength=3)
    return figure
