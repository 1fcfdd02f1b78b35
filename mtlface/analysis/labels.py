"""The labels of a data set as columns of numbers, for its exploration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtlface.data.schema import Binary, Label, Labels, Multilabel, Points


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


def parts(labels: Labels) -> set[str]:
    """The labels that are an attribute of another one."""
    lists = [label.names for label in labels.values() if isinstance(label, Multilabel)]
    return {name for names in lists for name in names}


def missing(label: Label, frame: pd.DataFrame) -> int:
    """How many pictures lack the label, or a part of it."""
    values = label.values(frame).reshape(len(frame), -1)
    lacks = np.isnan(values) if np.isnan(label.missing) else values == label.missing
    return int(lacks.any(axis=1).sum())
