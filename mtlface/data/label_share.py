"""A share of one label's training values, the others left as they are: for label curves."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.data.schema import Label, Labels


def hidden_rows(
    labels: Labels, frame: pd.DataFrame, shares: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.bool_]]:
    """Which rows lose which label.

    What is kept is drawn evenly from the label's strata (classes, tenths of ages) and *nested*: a
    larger share of the same seed keeps all that a smaller one keeps.

    Args:
        labels: The label schema.
        frame: The training rows.
        shares: Label → the share of its values to keep, above 0 and up to 1.
        seed: Keys the draw.

    Returns:
        By label a bool for each row (N,), True where the value is hidden.

    Raises:
        MtlfaceError: There is no such label.
    """
    return {
        name: _hidden(labels.require(name, asked_by="data.label_fraction"), frame, share, seed)
        for name, share in shares.items()
    }


def _hidden(label: Label, frame: pd.DataFrame, share: float, seed: int) -> NDArray[np.bool_]:
    known = known_rows(label, frame)
    strata = label.strata(frame)
    codes = np.zeros(len(frame), dtype=np.int64) if strata is None else strata
    # The label's name, so that two labels are not cut alike.
    draw = np.random.default_rng((seed, zlib.crc32(label.name.encode()))).random(len(frame))
    rows = np.flatnonzero(known)
    place = np.empty(len(rows))  # within its stratum, in 0..1: equal parts of all come first
    for code in np.unique(codes[rows]):
        own = np.flatnonzero(codes[rows] == code)
        order = np.argsort(draw[rows[own]], kind="stable")
        place[own[order]] = (np.arange(len(own)) + 0.5) / len(own)
    kept = rows[np.lexsort((draw[rows], place))][: max(1, round(share * len(rows)))]
    hidden = np.ones(len(frame), dtype=bool)
    hidden[kept] = False
    return hidden


def known_rows(label: Label, frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have the label, or a part of it, (N,)."""
    values = label.values(frame).reshape(len(frame), -1)
    known: Any = np.isfinite(values) if values.dtype.kind == "f" else values >= 0
    found: NDArray[np.bool_] = known.any(axis=1)
    return found
