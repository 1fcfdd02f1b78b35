"""What a task has to show for a whole split, as plain arrays; figures are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each.

    Attributes:
        classes: The C classes.
        counts: By true and by predicted class, (C, C).
    """

    classes: Sequence[str]
    counts: Array


@dataclass(frozen=True)
class Outcomes:
    """Hits and misses of K yes/no attributes on n images.

    Attributes:
        names: The attributes.
        truth: 1, 0, or NaN where missing, (K, n).
        found: The answers, bool (K, n).
    """

    names: Sequence[str]
    truth: Array
    found: NDArray[np.bool_]


@dataclass(frozen=True)
class Rankings:
    """How well scores put the positive images first.

    Attributes:
        images: How many images it is about.
        scores: By the name of a line, the scores and which of them are positive, both (n,).
    """

    images: int
    scores: Mapping[str, tuple[Array, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Agreement:
    """Predicted numbers beside the true ones, (n,), NaN where missing."""

    truth: Array
    found: Array
    unit: str


Evidence = Confusion | Outcomes | Rankings | Agreement


def confusion(classes: Sequence[str], truth: NDArray[Any], found: NDArray[Any]) -> Confusion | None:
    """The confusion of class names (n,); None where no truth is one of the classes."""
    codes = {name: code for code, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    for true, said in zip(truth, found, strict=True):
        if true in codes:
            counts[codes[true], codes[said]] += 1
    return Confusion(classes, counts) if counts.any() else None
