"""What a task says of one image, ready to be shown: in words, and as points to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUE = "_true"  # the suffix of the columns that hold the truth


@dataclass(frozen=True)
class Prediction:
    """One image's answer of a task, in human units.

    Attributes:
        words: The answer as people say it; empty where it is only drawn.
        probability: How likely the network holds this answer, 0..1; None where it does not say.
        std: The standard deviation of the answer, in its own unit; None where it does not say.
        points: Where to draw, (K, 2), x and y in pixels of the image on disk, NaN where there is no
            point; None where there is nothing to draw.
    """

    words: str = ""
    probability: float | None = None
    std: float | None = None
    points: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Remark:
    """A line below an image about a prediction and the truth.

    Attributes:
        text: The line.
        right: Whether the prediction is right; None where that is no yes or no.
    """

    text: str
    right: bool | None = None


def class_prediction(row: Mapping[str, Any], name: str, probability: float) -> Prediction:
    """The prediction of a class: its label's name, the class, and its probability."""
    return Prediction(f"{name} {row[name]} {probability:.2f}", probability)


def class_remarks(row: Mapping[str, Any], name: str, probability: float) -> list[Remark]:
    """One line: the class with its probability, and the true class where it is another one."""
    found, truth = str(row[name]), row[name + TRUE]
    text = f"{found} {probability:.0%}"
    if not isinstance(truth, str) or not truth:
        return [Remark(text)]
    return [Remark(text if truth == found else f"{text}, is {truth}", truth == found)]


def sets_of(
    classes: Sequence[str], probability: NDArray[np.float32], quantile: float
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The classes that a conformal set holds, and how many they are.

    Args:
        classes: Their names, K.
        probability: Of each, (N, K).
        quantile: A class belongs to the set if 1 − its probability is no larger.

    Returns:
        Names with `|` between them, the likeliest first, (N,), and their number, (N,).
    """
    inside = 1 - probability <= quantile
    order = np.argsort(-probability, axis=1, kind="stable")
    names = np.array(
        [
            "|".join(classes[k] for k in row if held[k])
            for row, held in zip(order, inside, strict=True)
        ],
        dtype=object,
    )
    return names, inside.sum(axis=1)


def points_of(row: Mapping[str, Any], columns: Sequence[str]) -> NDArray[np.float64]:
    """Points (K, 2) from the columns x, y, x, y, …; NaN where a cell is empty or absent."""
    cells = [row.get(column) for column in columns]
    flat = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    return flat.reshape(-1, 2)
