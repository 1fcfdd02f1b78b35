"""How well classes and numbers are told: ROC, precision and recall, agreement, rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtlface.plots import style as s
from mtlface.plots.labels import wrap_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """The curves of one label, all shares in 0..1.

    Attributes:
        fpr: False positive rates, shape (thresholds,).
        tpr: True positive rates, shape (thresholds,).
        recall: Shape (cuts,).
        precision: Shape (cuts,).
        auroc: Area under the ROC curve.
        positives: Share of positive pictures: the precision of a guess.
    """

    fpr: Array
    tpr: Array
    recall: Array
    precision: Array
    auroc: float
    positives: float


def roc_and_precision(curves: Mapping[str, Decision], title: str) -> Figure:
    """ROC on the left, precision against recall on the right, a line a label.

    Args:
        curves: Label → its curves.
        title: The figure's title.
    """
    with s.style():
        figure = s.new_figure(4.75 + 0.12 * len(curves), 8.0)
        roc, pr = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color=s.GREY, linewidth=1, zorder=1)
        for i, (name, curve) in enumerate(curves.items()):
            look = {"color": s.colour(i), "linestyle": s.dashes(i)}
            label = f"{wrap_name(name, 40)}  AUROC {curve.auroc:.3f}"
            roc.plot(curve.fpr, curve.tpr, label=label, **look)
            pr.plot(curve.recall, curve.precision, drawstyle="steps-post", **look)
            pr.axhline(curve.positives, color=s.colour(i), linewidth=0.8, alpha=0.5, zorder=1)
        roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
        pr.set(xlabel="recall", ylabel="precision", title="Precision and recall")
        for axes in (roc, pr):
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.03)
            axes.set_aspect("equal")
        s.headline(figure, title)
        figure.legend(loc="outside lower left", ncols=2, handlelength=3)
    return figure


def agreement(truth: Array, found: Array, title: str, unit: str) -> Figure:
    """Predicted against true numbers, with the line on which they are equal.

    Args:
        truth: Shape (pictures,).
        found: Shape (pictures,).
        title: The figure's title.
        unit: What both are measured in.
    """
    known = np.isfinite(truth) & np.isfinite(found)
    truth, found = truth[known], found[known]
    with s.style():
        figure = s.new_figure(4.6)
        axes = figure.add_subplot()
        low, high = float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))
        axes.plot([low, high], [low, high], color=s.GREY, linewidth=1, zorder=1)
        if len(truth) > 2000:
            image = axes.hexbin(truth, found, gridsize=45, cmap="Blues", bins="log", mincnt=1)
            figure.colorbar(image, ax=axes, shrink=0.8).set_label("pictures")
        else:
            axes.scatter(truth, found, s=14, color=s.BETTER, alpha=0.45, linewidths=0)
        axes.set_aspect("equal")
        suffix = f" ({unit})" if unit else ""
        axes.set(xlabel=f"true{suffix}", ylabel=f"predicted{suffix}")
        mae = float(np.abs(found - truth).mean())
        axes.set_title(f"n = {len(truth):,}, mean absolute error {mae:.2f}", fontweight="normal")
        s.headline(figure, title)
    return figure


def outcome_bars(names: Sequence[str], shares: Mapping[str, Array], title: str) -> Figure:
    """A bar an attribute, cut into right and wrong answers.

    Args:
        names: Attributes, shape (attributes,).
        shares: Outcome → its share of the pictures (attributes,), in 0..1; in the order in which
            they are drawn: true positives, false negatives, false positives, true negatives.
        title: The figure's title.
    """
    colours = (s.OKABE_ITO[0], s.OKABE_ITO[1], s.OKABE_ITO[4], s.OKABE_ITO[5])
    with s.style():
        figure = s.new_figure(1.5 + 0.26 * len(names), 7.0)
        axes = figure.add_subplot()
        start = np.zeros(len(names))
        for (outcome, values), colour in zip(shares.items(), colours, strict=True):
            axes.barh(range(len(names)), values, left=start, height=0.8, color=colour,
                      label=outcome, edgecolor="white", linewidth=0.6)  # fmt: skip
            start = start + values
        axes.set_yticks(range(len(names)), list(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of the pictures")
        s.headline(figure, title)
        figure.legend(loc="outside lower left", ncols=2)
    return figure
