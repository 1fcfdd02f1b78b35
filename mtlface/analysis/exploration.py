"""What is in a data set: counts, balance, gaps and correlations of its labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtlface.analysis.table import Table
from mtlface.data.decode import decode
from mtlface.data.schema import Binary, Category, Label, Labels, Multilabel, Number, Points
from mtlface.data.table import SPLITS, FaceTable
from mtlface.errors import MtlfaceError
from mtlface.plots import distributions, matrices
from mtlface.plots.panels import Caption, Panel

MOST_CLASSES = 40  # of which a figure shows the counts
MOST_OMITTED = 100  # rows that a page lists; result files of runs list them all
NAMED = 3  # attributes below a sample picture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A figure with the name of its file and what a reader sees in it."""

    name: str
    caption: str
    figure: Figure


def split_table(table: FaceTable) -> Table:
    """Pictures by split."""
    total = len(table)
    rows = [(name, f"{n:,}", f"{n / total:.1%}") for name, n in table.counts.items()]
    return Table("Pictures", ("split", "pictures", "share"), (*rows, ("all", f"{total:,}", "")))


def label_table(table: FaceTable) -> Table:
    """What every label is, and how many pictures lack it."""
    rows, parts = [], _parts(table.labels)
    for label in table.labels.values():
        if label.name in parts:
            continue
        missing = _missing(label, table.frame)
        share = f"{missing:,} ({missing / len(table):.1%})" if missing else "0"
        rows.append((label.name, label.kind, _content(label, table.frame), share))
    note = "Missing: pictures without the label, or without a part of it."
    if parts:
        note += " Each attribute is also a label of its own."
    return Table("Labels", ("label", "kind", "content", "missing"), tuple(rows), note)


def omitted_table(table: FaceTable) -> Table | None:
    """What the reader left out, or None."""
    if not table.omitted:
        return None
    rows = [
        (o.file, "" if o.row is None else str(o.row), o.reason)
        for o in table.omitted[:MOST_OMITTED]
    ]
    note = f"The first {MOST_OMITTED} of {len(table.omitted):,}." if rows[99:] else ""
    return Table("Left out", ("file", "row", "reason"), tuple(rows), note)


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
    missing = {label.name: _missing(label, frame) / len(frame) for label in labels.values()}
    if gaps := {name: share for name, share in missing.items() if share}:
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


def yes_no(labels: Labels, frame: pd.DataFrame) -> pd.DataFrame:
    """Every yes/no column as 0, 1 or NaN, (N, K).

    A label that says the same as an attribute (gender and CelebA's `Male`) is there once.
    """
    attributes, others = pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.index)
    for label in labels.values():
        if isinstance(label, Multilabel):
            found = pd.DataFrame(label.values(frame), frame.index, list(label.names))
            attributes = pd.concat([attributes, found.astype(float)], axis=1)
    for label in labels.values():
        if not isinstance(label, Binary) or label.name in attributes:
            continue
        values = label.values(frame).astype(float)
        if not any(np.array_equal(values, known) for known in attributes.to_numpy().T):
            plain = label.classes == Binary.classes
            others[label.name if plain else f"{label.name}: {label.classes[1]}"] = values
    every = pd.concat([others, attributes], axis=1)
    return every.where(every >= 0)


def coordinates(labels: Labels, frame: pd.DataFrame) -> pd.DataFrame:
    """Every landmark coordinate, (N, 2K), in pixels of the picture on disk."""
    names = [c for label in labels.values() if isinstance(label, Points) for c in label.columns]
    return frame[names].astype(float)


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


def samples(table: FaceTable, count: int, seed: int) -> list[Panel]:
    """Pictures drawn at random, with their labels; those that cannot be read are passed over."""
    order = np.random.default_rng(seed).permutation(len(table))
    found: list[Panel] = []
    for row in order[: 2 * count]:
        line = table.frame.iloc[[int(row)]]
        try:
            image = decode((table.root / str(line["image"].iloc[0])).read_bytes())
        except (MtlfaceError, OSError):
            continue
        height, width = image.shape[:2]
        names = coordinates(table.labels, line).to_numpy().reshape(-1, 2)
        points = (names + 0.5) / (width, height) if len(names) else None
        captions = list(_sample_captions(table.labels, line))
        found.append(Panel(image, width / height, captions, points))
        if len(found) == count:
            break
    return found


def _parts(labels: Labels) -> set[str]:
    """The labels that are an attribute of another one."""
    lists = [label.names for label in labels.values() if isinstance(label, Multilabel)]
    return {name for names in lists for name in names}


def _sample_captions(labels: Labels, line: pd.DataFrame) -> Iterator[Caption]:
    yield Caption(str(line["image"].iloc[0]).rsplit("/", 1)[-1])
    words, parts = [], _parts(labels)
    for label in labels.values():
        if label.name in parts or isinstance(label, Points | Multilabel):
            continue
        value = label.values(line)[0]
        if isinstance(label, Number):
            words += [] if np.isnan(value) else [f"{label.name} {value:g}"]
        elif isinstance(label, Binary | Category) and value >= 0 and label.classes:
            words.append(label.classes[int(value)])
    if words:
        yield Caption(", ".join(words))
    for label in labels.values():
        if isinstance(label, Multilabel):
            codes = label.values(line)[0]
            has = [name for name, code in zip(label.names, codes, strict=True) if code == 1]
            yield from (Caption(name) for name in has[:NAMED])


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


def _missing(label: Label, frame: pd.DataFrame) -> int:
    values = label.values(frame).reshape(len(frame), -1)
    lacks = np.isnan(values) if np.isnan(label.missing) else values == label.missing
    return int(lacks.any(axis=1).sum())


def _content(label: Label, frame: pd.DataFrame) -> str:
    if isinstance(label, Multilabel):
        return f"{len(label.names)} attributes"
    if isinstance(label, Points):
        return ", ".join(label.names)
    values = label.values(frame)
    if isinstance(label, Number):
        known = values[np.isfinite(values)]
        if not len(known):
            return "none known"
        return f"{known.min():g} to {known.max():g} {label.unit}, median {np.median(known):g}"
    if isinstance(label, Binary):
        counts = [int((values == k).sum()) for k in (0, 1)]
        pairs = zip(label.classes, counts, strict=True)
        return ", ".join(f"{name} {n:,}" for name, n in pairs)
    codes, pictures = np.unique(values[values >= 0], return_counts=True)
    if not len(codes):
        return "none known"
    return f"{len(codes):,} classes of {pictures.min():,} to {pictures.max():,} pictures"
