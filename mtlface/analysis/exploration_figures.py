"""The figures of an exploration: balance, gaps, histograms and correlations of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtlface.analysis.labels import coordinates, missing, yes_no
from mtlface.data.schema import Binary, Category, Labels, Number
from mtlface.data.table import SPLITS, FaceTable
from mtlface.plots import distributions, matrices

MOST_CLASSES = 40  # of which a figure shows the counts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A figure with the name of its file and what a reader sees in it."""

    name: str
    caption: str
    figure: Figure


def figures(table: FaceTable) -> Iterator[Shown]:
    """Every figure that the labels have something for, drawn one at a time."""
    labels, frame = table.labels, table.frame
    answers = yes_no(labels, frame)
    if not answers.empty:
        shares = answers.mean().to_numpy(dtype=float)
        yield Shown(
            "label_balance",
            "Share of labelled pictures that have it. Far from one half, accuracy flatters: look "
            "at F1 and AUROC too.",
            distributions.share_bars(
                list(answers.columns), shares, "Label balance", "share with it"
            ),
        )
    yield from _class_counts(labels, frame)
    shares_missing = {label.name: missing(label, frame) / len(frame) for label in labels.values()}
    if gaps := {name: share for name, share in shares_missing.items() if share}:
        yield Shown(
            "missing_labels",
            "Share of pictures without the label. They cost nothing in training and are counted in "
            "no metric of that task.",
            distributions.share_bars(
                list(gaps), np.array(list(gaps.values())), "Missing labels", "share missing"
            ),
        )
    yield from _numbers(labels, frame)
    answers = answers.loc[:, answers.nunique() > 1]  # what never varies correlates with nothing
    if answers.shape[1] > 1:
        yield Shown(
            "attribute_correlations",
            "Pearson correlation between yes/no labels. What goes together in the data is learnt "
            "together; it need not hold elsewhere.",
            _heat_map(answers, answers, "Correlations of attributes"),
        )
    places = coordinates(labels, frame)
    if not answers.empty and not places.empty:
        yield Shown(
            "attributes_by_landmarks",
            "Pearson correlation between yes/no labels and landmark coordinates in pixels of the "
            "picture; x grows to the right, y downwards.",
            _heat_map(answers, places, "Attributes against landmark coordinates"),
        )


def correlations(rows: pd.DataFrame, columns: pd.DataFrame) -> Array:
    """Pearson correlations of two sets of columns over the rows that both have, (K, L).

    NaN where a column does not vary.
    """
    a, b = rows.to_numpy(dtype=float), columns.to_numpy(dtype=float)
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    # Centred beforehand: the sums below would lose digits to the means.
    a = np.where(known_a, a - np.nanmean(a, axis=0), 0.0)
    b = np.where(known_b, b - np.nanmean(b, axis=0), 0.0)
    ka, kb = known_a.astype(float), known_b.astype(float)
    n, sum_a, sum_b = ka.T @ kb, a.T @ kb, ka.T @ b
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = a.T @ b - sum_a * sum_b / n
        variance_a = (a**2).T @ kb - sum_a**2 / n
        variance_b = ka.T @ b**2 - sum_b**2 / n
        tiny = 1e-9 * n
        varies = (variance_a > tiny) & (variance_b > tiny)
        return np.where(varies, covariance / np.sqrt(variance_a * variance_b), np.nan)


def _class_counts(labels: Labels, frame: pd.DataFrame) -> Iterator[Shown]:
    for label in labels.values():
        if isinstance(label, Category) and 1 < len(label.classes) <= MOST_CLASSES:
            codes, splits = label.values(frame), frame["split"].to_numpy()
            counts = {
                name: {split: int(((codes == k) & (splits == split)).sum()) for split in SPLITS}
                for k, name in enumerate(label.classes)
            }
            caption = f"Pictures of each {label.name}, by split."
            yield Shown(f"counts_{label.name}", caption, distributions.count_bars(
                counts, f"Pictures by {label.name}"))  # fmt: skip


def _numbers(labels: Labels, frame: pd.DataFrame) -> Iterator[Shown]:
    by = next((label for label in labels.values() if isinstance(label, Binary)), None)
    for label in labels.values():
        if not isinstance(label, Number):
            continue
        values = label.values(frame).astype(float)
        known = np.isfinite(values)
        groups = {label.name: values[known]}
        if by is not None:
            codes = by.values(frame)
            groups = {name: values[known & (codes == k)] for k, name in enumerate(by.classes)}
        by_name = "" if by is None else f" by {by.name}"
        unit = f" ({label.unit})" if label.unit else ""
        yield Shown(
            f"{label.name}_histogram",
            f"How often each {label.name} occurs{by_name}.",
            distributions.histogram_by_group(
                groups,
                f"{label.name.capitalize()}{by_name}",
                f"{label.name}{unit}",
                label.low,
                label.high,
            ),
        )


def _heat_map(rows: pd.DataFrame, columns: pd.DataFrame, title: str) -> Figure:
    values = correlations(rows, columns)
    if rows is columns:
        np.fill_diagonal(values, np.nan)  # always 1, and so the only thing to be seen
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    limit = min(1.0, max(0.2, np.ceil(10 * largest) / 10)) if np.isfinite(largest) else 1.0
    return matrices.heat_map(
        list(rows.columns), list(columns.columns), values, title, "Pearson correlation", limit
    )
