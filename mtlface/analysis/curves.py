"""Curves over the seeds of an arm: learning, cumulative error, calibration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlface.analysis.images import Answers, Predictions, error_curve
from mtlface.analysis.protocol import Arm
from mtlface.data.schema import Label
from mtlface.plots.curves import Curve

Array = NDArray[np.float64]

BINS = 15  # at most, of the expected calibration error (Guo et al. 2017)
IN_A_BIN = 20  # images, so that an observed frequency is one
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


def cumulative_errors(arms: Sequence[Arm], task: str, predictions: Predictions) -> list[Curve]:
    """Cumulative error curves of a task whose error is continuous; the band is ± one sd."""
    errors = {}
    for arm in arms:
        found = [predictions.errors(arm.runs[seed], task) for seed in arm.seeds]
        if found := [e for e in found if len(e)]:
            errors[arm.label] = found
    every = (
        np.concatenate([e for found in errors.values() for e in found]) if errors else np.empty(0)
    )
    if len(np.unique(every)) < CONTINUOUS:
        return []
    # Up to where the best arm has nearly all images: an arm that failed must not set the scale.
    end = 1.5 * min(float(np.quantile(np.concatenate(e), 0.95)) for e in errors.values())
    x = np.linspace(0.0, end, POINTS)
    curves = []
    for label, found in errors.items():
        shares = np.stack([error_curve(e, x) for e in found])
        band = shares.std(axis=0, ddof=1) if len(found) > 1 else None
        curves.append(Curve(label, x, shares.mean(axis=0), band))
    return curves


def reliability_curves(
    arms: Sequence[Arm], predictions: Predictions
) -> dict[str, list[tuple[Curve, float]]]:
    """Label → for each arm its reliability curve (seeds pooled) and calibration error.

    A yes/no label has the probability of its positive class, set against how often that is true.
    A label of several classes has the probability of the class that was predicted, set against how
    often the prediction is right: its confidence.
    """
    found: dict[str, list[tuple[Curve, float]]] = {}
    for arm in arms:
        pooled: dict[str, list[tuple[Array, Array]]] = {}
        for seed in arm.seeds:
            run = arm.runs[seed]
            labels = {info["label"]: task for task, info in run.tasks.items()}
            for label, task in labels.items():
                answers = predictions.answers(run, task)
                if answers is not None and (pair := _chances(answers, run.labels[label])):
                    pooled.setdefault(label, []).append(pair)
        for name, pairs in pooled.items():
            probability = np.concatenate([p for p, _ in pairs])
            truth = np.concatenate([t for _, t in pairs])
            x, y, share, ece = calibration(probability, truth)
            found.setdefault(name, []).append((Curve(arm.label, x, y, weight=share), ece))
    return found


def _chances(answers: Answers, label: Label) -> tuple[Array, Array] | None:
    """Probabilities and whether what they speak of was true, of all labelled answers."""
    known = np.isfinite(answers.truth) & np.isfinite(answers.score)
    if not known.any():
        return None
    several = len(getattr(label, "classes", ())) > 2
    event = answers.prediction == answers.truth if several else answers.truth == 1
    return answers.score[known], event[known].astype(np.float64)


def bins_for(images: int) -> int:
    """How many bins so many images carry: 20 images a bin on average, 2 to 15 bins."""
    return int(np.clip(images // IN_A_BIN, 2, BINS))


def calibration(probability: Array, truth: Array) -> tuple[Array, Array, Array, float]:
    """Mean probability, observed frequency and share of the filled bins; L1 calibration error.

    Args:
        probability: Of the positive class, shape (images,), in 0..1.
        truth: 0 or 1, same shape.
    """
    number = bins_for(len(probability))
    bins = np.clip((probability * number).astype(int), 0, number - 1)
    counts = np.bincount(bins, minlength=number)
    filled = counts > 0
    x = np.bincount(bins, probability, number)[filled] / counts[filled]
    y = np.bincount(bins, truth, number)[filled] / counts[filled]
    share = counts[filled] / len(probability)
    return x, y, share, float(np.sum(share * np.abs(x - y)))
