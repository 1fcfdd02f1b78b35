"""The tables of an exploration: pictures by split, what each label is, what was left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtlface.analysis.labels import missing, parts
from mtlface.analysis.table import Table
from mtlface.data.schema import Binary, Label, Multilabel, Number, Points
from mtlface.data.table import FaceTable

MOST_OMITTED = 100  # rows that a page lists; result files of runs list them all


def split_table(table: FaceTable) -> Table:
    """Pictures by split."""
    total = len(table)
    rows = [(name, f"{n:,}", f"{n / total:.1%}") for name, n in table.counts.items()]
    return Table("Pictures", ("split", "pictures", "share"), (*rows, ("all", f"{total:,}", "")))


def label_table(table: FaceTable) -> Table:
    """What every label is, and how many pictures lack it."""
    rows, attributes = [], parts(table.labels)
    for label in table.labels.values():
        if label.name in attributes:
            continue
        lacking = missing(label, table.frame)
        share = f"{lacking:,} ({lacking / len(table):.1%})" if lacking else "0"
        rows.append((label.name, label.kind, _content(label, table.frame), share))
    note = "Missing: pictures without the label, or without a part of it."
    if attributes:
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
