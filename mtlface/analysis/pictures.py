"""What a run's `test_predictions.csv` tells picture by picture."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.analysis.results import Run

FILE = "test_predictions.csv"
ERROR = "/error"
PROBABILITY = "_probability"
TRUE = "_true"

Array = NDArray[np.float64]


def read_predictions(run: Run) -> pd.DataFrame | None:
    """Reads a run's test predictions; None where it has none or the file cannot be read."""
    path: Path = run.folder / FILE
    try:
        return pd.read_csv(path, low_memory=False)
    except (OSError, ValueError):
        return None


def picture_errors(table: pd.DataFrame, task: str) -> pd.Series:
    """Returns a task's errors by picture (lower is better), of the labelled pictures only."""
    if task + ERROR not in table or "image" not in table:
        return pd.Series(dtype=np.float64)
    errors = pd.Series(
        pd.to_numeric(table[task + ERROR], errors="coerce").to_numpy(np.float64),
        index=table["image"].astype(str),
    )
    return errors[~errors.index.duplicated()].dropna()


def paired_errors(arm: Run, reference: Run, task: str) -> tuple[Array, Array] | None:
    """Returns two runs' errors of the pictures that both predicted, in one order, or None."""
    tables = read_predictions(arm), read_predictions(reference)
    if tables[0] is None or tables[1] is None:
        return None
    ours, theirs = (picture_errors(t, task) for t in tables if t is not None)
    shared = ours.index.intersection(theirs.index)
    if shared.empty:
        return None
    return ours[shared].to_numpy(np.float64), theirs[shared].to_numpy(np.float64)


def error_curve(errors: Array, thresholds: Array) -> Array:
    """Returns the share of pictures whose error is at most each threshold."""
    ordered = np.sort(errors)
    return np.searchsorted(ordered, thresholds, side="right") / max(1, len(ordered))


def probabilities(
    table: pd.DataFrame, labels: Iterable[str]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Collects predicted probabilities and whether the positive class was true.

    Args:
        table: Test predictions.
        labels: Labels of tasks that have a figure of their own; every other column with a
            probability (the attributes of a multilabel task) is pooled under `attributes`.

    Returns:
        Name → (probability of the positive class, truth as 0/1), labelled pictures only.
    """
    pools: dict[str, list[tuple[Array, Array]]] = {}
    own = set(labels)
    for column in table.columns:
        name = str(column).removesuffix(PROBABILITY)
        if name == column or name + TRUE not in table or name not in table:
            continue
        pair = _probability_and_truth(table, name)
        if pair is not None:
            pools.setdefault(name if name in own else "attributes", []).append(pair)
    return {
        name: (np.concatenate([p for p, _ in pairs]), np.concatenate([t for _, t in pairs]))
        for name, pairs in pools.items()
    }


def _probability_and_truth(table: pd.DataFrame, name: str) -> tuple[Array, Array] | None:
    rows = table[[name + PROBABILITY, name, name + TRUE]].dropna()
    if rows.empty:
        return None
    probability = rows[name + PROBABILITY].to_numpy(np.float64)
    # The file names classes but not which one is positive: it is what a probability above ½ means.
    above, below = rows[name][probability > 0.5], rows[name][probability <= 0.5]
    if not above.empty:
        truth = rows[name + TRUE] == above.mode().iloc[0]
    else:
        truth = rows[name + TRUE] != below.mode().iloc[0]
    return probability, truth.to_numpy(np.float64)
