"""Curves over the seeds of an arm: learning, cumulative error, calibration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.analysis.pictures import error_curve, picture_errors, probabilities, read_predictions
from mtlface.analysis.protocol import Arm
from mtlface.plots.curves import Curve

Array = NDArray[np.float64]

BINS = 15  # of the expected calibration error (Guo et al. 2017)
POINTS = 200
CONTINUOUS = 30  # an error with fewer distinct values is a rate: its cumulative curve says nothing


def learning_curve(arm: Arm, key: str) -> Curve | None:
    """Mean of a logged metric by epoch over the seeds that reached it; the band is ± one sd."""
    by_seed = {}
    for seed in arm.seeds:
        try:
            table = pd.read_csv(arm.runs[seed].folder / "metrics.csv")
        except (OSError, ValueError):
            continue
        if "epoch" in table and key in table:
            values = pd.to_numeric(table[key], errors="coerce")
            by_seed[seed] = values.groupby(table["epoch"]).last()
    wide = pd.DataFrame(by_seed).sort_index()
    mean = wide.mean(axis=1).dropna()
    if mean.empty:
        return None
    band = wide.std(axis=1).reindex(mean.index).to_numpy(np.float64)
    x = mean.index.to_numpy(np.float64)
    return Curve(arm.label, x, mean.to_numpy(np.float64), band if np.isfinite(band).any() else None)


def cumulative_errors(arms: Sequence[Arm], task: str) -> list[Curve]:
    """Cumulative error curves of a task whose error is continuous; the band is ± one sd."""
    errors = {}
    for arm in arms:
        tables = [read_predictions(arm.runs[seed]) for seed in arm.seeds]
        found = [picture_errors(t, task).to_numpy(np.float64) for t in tables if t is not None]
        if found := [e for e in found if len(e)]:
            errors[arm.label] = found
    every = (
        np.concatenate([e for found in errors.values() for e in found]) if errors else np.empty(0)
    )
    if len(np.unique(every)) < CONTINUOUS:
        return []
    # Up to where the best arm has nearly all pictures: an arm that failed must not set the scale.
    end = 1.5 * min(float(np.quantile(np.concatenate(e), 0.95)) for e in errors.values())
    x = np.linspace(0.0, end, POINTS)
    curves = []
    for label, found in errors.items():
        shares = np.stack([error_curve(e, x) for e in found])
        band = shares.std(axis=0, ddof=1) if len(found) > 1 else None
        curves.append(Curve(label, x, shares.mean(axis=0), band))
    return curves


def reliability_curves(
    arms: Sequence[Arm], labels: Sequence[str]
) -> dict[str, list[tuple[Curve, float]]]:
    """Label → for each arm its reliability curve (seeds pooled) and calibration error."""
    found: dict[str, list[tuple[Curve, float]]] = {}
    for arm in arms:
        pooled: dict[str, list[tuple[Array, Array]]] = {}
        for seed in arm.seeds:
            table = read_predictions(arm.runs[seed])
            for name, pair in (probabilities(table, labels) if table is not None else {}).items():
                pooled.setdefault(name, []).append(pair)
        for name, pairs in pooled.items():
            probability = np.concatenate([p for p, _ in pairs])
            truth = np.concatenate([t for _, t in pairs])
            x, y, share, ece = calibration(probability, truth)
            found.setdefault(name, []).append((Curve(arm.label, x, y, weight=share), ece))
    return found


def calibration(probability: Array, truth: Array) -> tuple[Array, Array, Array, float]:
    """Mean probability, observed frequency and share of the filled bins; L1 calibration error.

    Args:
        probability: Of the positive class, shape (pictures,), in 0..1.
        truth: 0 or 1, same shape.
    """
    bins = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    x = np.bincount(bins, probability, BINS)[filled] / counts[filled]
    y = np.bincount(bins, truth, BINS)[filled] / counts[filled]
    share = counts[filled] / len(probability)
    return x, y, share, float(np.sum(share * np.abs(x - y)))
