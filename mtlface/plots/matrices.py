"""Matrices as figures: confusion, correlations, cosines of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]
MOST_NUMBERS = 13  # rows or columns up to which a cell has room for its number
_AGREE = LinearSegmentedColormap.from_list("correlation", [s.WORSE, "white", s.BETTER])
_SHARE = LinearSegmentedColormap.from_list("share", ["white", s.BETTER])


def confusion_matrix(names: Sequence[str], counts: Array, title: str) -> Figure:
    """Rows are the truth, columns the prediction; the shade is the share of the row.

    Args:
        names: Classes, shape (classes,).
        counts: Pictures, shape (classes, classes).
        title: The figure's title.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    few = len(names) <= MOST_NUMBERS
    with s.style():
        side = min(1.1 * s.WIDTH, 2.3 + (0.75 if few else 0.2) * len(names))
        figure = s.new_figure(side - 0.5, side + 0.3)
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap=_SHARE, vmin=0, vmax=1)
        _name_axes(axes, names, names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if few:
            for i, j in np.ndindex(counts.shape):
                share = shares[i, j]
                text = f"{counts[i, j]:,.0f}" + ("" if np.isnan(share) else f"\n{share:.0%}")
                colour = "white" if share > 0.55 else "black"
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9.5)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.5, 1], format="{x:.0%}")
        bar.outline.set_visible(False)
        bar.set_label("share of the true class")
        _title(figure, title)
    return figure


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Array,
    title: str,
    label: str,
    limit: float = 1.0,
) -> Figure:
    """Numbers around zero; blue is positive, orange negative, NaN is left grey.

    Args:
        rows: Names, shape (rows,).
        columns: Names, shape (columns,).
        values: Shape (rows, columns).
        title: The figure's title.
        label: What the numbers are.
        limit: The number that has the full colour.
    """
    few = len(columns) <= MOST_NUMBERS
    with s.style():
        wide = min(9.0, 2.6 + (0.55 if few else 0.22) * len(columns))
        rows = [wrap_name(name, 34) for name in rows]
        lines = sum(name.count("\n") + 1 for name in rows)
        figure = s.new_figure(1.9 + (0.3 if few else 0.22) * lines, max(s.WIDTH, wide))
        axes = figure.add_subplot()
        axes.set_facecolor("#DDDDDD")
        image = axes.imshow(values, cmap=_AGREE, vmin=-limit, vmax=limit, aspect="auto")
        _name_axes(axes, rows, columns, fontsize=9.5 if few else 8)
        if few:
            for i, j in np.argwhere(np.isfinite(values)):
                text = f"{values[i, j]:z.2f}".replace("-", "\N{MINUS SIGN}")
                colour = "white" if abs(values[i, j]) > 0.6 * limit else "black"
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
        bar = figure.colorbar(image, ax=axes, shrink=min(1.0, max(0.4, 8 / len(rows))), aspect=25)
        bar.outline.set_visible(False)
        bar.set_label(label)
        _title(figure, title)
    return figure


def _name_axes(axes: Any, rows: Sequence[str], columns: Sequence[str], **text: float) -> None:
    axes.set_xticks(
        range(len(columns)), list(columns), rotation=45, ha="right", rotation_mode="anchor", **text
    )
    axes.set_yticks(range(len(rows)), list(rows), **text)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _title(figure: Figure, title: str) -> None:
    width = round(10.5 * figure.get_figwidth())
    text = wrap_name(title, width)
    s.headline(figure, text)
