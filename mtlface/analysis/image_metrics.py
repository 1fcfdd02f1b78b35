"""A metric taken apart into images: what each adds to it, and what it is on resampled images.

Means over images are the easy case. F1, RMSE or AUROC are none, and there the jackknife says what
an image adds: with θ the metric of all images and θ₋ᵢ that without image i,

    c_i = θ + (N − 1) · (mean_j θ₋ⱼ − θ₋ᵢ)

are Tukey's pseudo-values (1958), moved so that their mean is θ itself; for a mean over images they
are the images' own values. Every θ₋ᵢ is computed exactly, and for all images at once.

The definitions are those of the tasks' torchmetrics, in NumPy: a report must not wait for torch.
A test holds both against each other, and a report uses a metric only where it gives the number that
the run wrote down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


class ImageMetric(Protocol):
    """A metric of N images."""

    @property
    def value(self) -> float:
        """The metric of all images."""
        ...

    def contributions(self) -> Array | None:
        """What each image adds, (N,), with the metric as mean; None where that is undefined."""
        ...

    def resampled(self, weights: Array) -> Array:
        """The metric where image i is there weights[b, i] times: (B, N) to (B,)."""
        ...

    def take(self, rows: NDArray[np.int64]) -> ImageMetric:
        """The same of the images in another order."""
        ...


@dataclass(frozen=True)
class OfSums:
    """A function of sums over images: means, RMSE, and everything made of counts.

    Attributes:
        parts: What each image adds to the sums, (N, K).
        function: Sums (…, K) to the metric (…).
    """

    parts: Array
    function: Function

    @property
    def value(self) -> float:
        """The metric of all images."""
        return float(self.function(self.parts.sum(axis=0)))

    def contributions(self) -> Array | None:
        """What each image adds, (N,)."""
        return _centred(self.value, self.function(self.parts.sum(axis=0) - self.parts))

    def resampled(self, weights: Array) -> Array:
        """The metric on resampled images, (B,)."""
        return self.function(weights @ self.parts)

    def take(self, rows: NDArray[np.int64]) -> OfSums:
        """The same of the images in another order."""
        return OfSums(self.parts[rows], self.function)


@dataclass(frozen=True)
class RankArea:
    """The area under the ROC curve, as the mean over columns that have both classes.

    Attributes:
        score: Larger for the positive class, (N, K).
        truth: 1, 0, or NaN where missing, (N, K).
    """

    score: Array
    truth: Array

    @property
    def value(self) -> float:
        """The metric of all images."""
        areas = [area for area, _ in self._columns()]
        return float(np.mean(areas)) if areas else float("nan")

    def contributions(self) -> Array | None:
        """What each image adds, (N,), in O(N log N): without an image, its pairs are gone."""
        total = np.zeros(len(self.score))
        columns = self._columns()
        if not columns:
            return None
        for area, without in columns:
            total += area if without is None else without
        return _centred(self.value, total / len(columns))

    def resampled(self, weights: Array) -> Array:
        """The metric on resampled images, (B,)."""
        areas = []
        for score, truth in zip(self.score.T, self.truth.T, strict=True):
            known = np.flatnonzero(np.isfinite(truth))
            if len(np.unique(truth[known])) == 2:
                order = known[np.argsort(score[known], kind="stable")]
                areas.append(_weighted_area(score[order], truth[order], weights[:, order]))
        return np.asarray(np.mean(areas, axis=0))

    def take(self, rows: NDArray[np.int64]) -> RankArea:
        """The same of the images in another order."""
        return RankArea(self.score[rows], self.truth[rows])

    def _columns(self) -> list[tuple[float, Array]]:
        """For each column with both classes: its area, and the area without each image, (N,)."""
        found = []
        for score, truth in zip(self.score.T, self.truth.T, strict=True):
            positive, negative = score[truth == 1], score[truth == 0]
            p, q = len(positive), len(negative)
            if not (p and q):
                continue
            won = _beaten(positive, np.sort(negative))
            lost = p - _beaten(negative, np.sort(positive))
            pairs = float(won.sum())
            without = np.full(len(score), pairs / (p * q))
            with np.errstate(invalid="ignore", divide="ignore"):
                without[truth == 1] = (pairs - won) / ((p - 1) * q)
                without[truth == 0] = (pairs - lost) / (p * (q - 1))
            found.append((pairs / (p * q), without))
        return found


def mean_of(values: Array) -> OfSums:
    """The mean over images."""
    return OfSums(np.stack([values, np.ones(len(values))], axis=1), ratio)


def ratio(sums: Array) -> Array:
    """sums[…, 0] / sums[…, 1], NaN for 0/0."""
    return _divided(sums[..., 0], sums[..., 1])


def root_of_ratio(sums: Array) -> Array:
    """√(sums[…, 0] / sums[…, 1])."""
    return np.sqrt(ratio(sums))


def share_right(prediction: Array, truth: Array) -> OfSums:
    """Accuracy, the mean over columns of each one's: prediction and truth (N, K), NaN = missing.

    Columns that no image is labelled for are left out.
    """
    known = np.isfinite(truth)
    right = (prediction == truth) & known

    def function(sums: Array) -> Array:
        k = sums.shape[-1] // 2
        return _mean_known(_divided(sums[..., :k], sums[..., k:]))

    return OfSums(np.concatenate([right, known], axis=1).astype(np.float64), function)


def of_counts(
    prediction: Array, truth: Array, function: Callable[[Array, Array, Array], Array]
) -> OfSums:
    """Precision, recall or F1 as the mean over columns, of 0/1 (N, K), NaN where missing.

    Args:
        prediction: Decisions.
        truth: Labels.
        function: (true positives, false positives, false negatives), each (…, K), to (…, K).
    """
    known = np.isfinite(truth)
    hit = (prediction == 1) & (truth == 1)
    false_alarm = (prediction == 1) & (truth == 0)
    miss = (prediction == 0) & (truth == 1)

    def means(sums: Array) -> Array:
        tp, fp, fn, n = np.split(sums, 4, axis=-1)
        return _mean_known(np.where(n > 0, function(tp, fp, fn), np.nan))

    parts = np.concatenate([hit, false_alarm, miss, known], axis=1)
    return OfSums(parts.astype(np.float64), means)


def macro_f1(prediction: Array, truth: Array) -> OfSums:
    """F1 averaged over the classes that occur, as truth or as prediction: codes (N,)."""
    classes = np.union1d(prediction, truth)
    guess, real = prediction[:, None] == classes, truth[:, None] == classes
    parts = np.concatenate([guess & real, guess & ~real, ~guess & real], axis=1)

    def means(sums: Array) -> Array:
        tp, fp, fn = np.split(sums, 3, axis=-1)
        occurs = tp + fp + fn > 0
        return _mean_known(np.where(occurs, f1(tp, fp, fn), np.nan))

    return OfSums(parts.astype(np.float64), means)


def precision(tp: Array, fp: Array, fn: Array) -> Array:
    """Share of the positive answers that are right, NaN without a positive answer."""
    return _divided(tp, tp + fp)


def recall(tp: Array, fp: Array, fn: Array) -> Array:
    """Share of the positive images that are found, NaN without a positive image."""
    return _divided(tp, tp + fn)


def f1(tp: Array, fp: Array, fn: Array) -> Array:
    """Harmonic mean of both; 0 where there is neither a positive answer nor a positive image."""
    return np.nan_to_num(_divided(2 * tp, 2 * tp + fp + fn))


def _centred(value: float, without: Array) -> Array | None:
    """The pseudo-values of the metrics `without` each image, with `value` as their mean."""
    found: Array = value + (len(without) - 1) * (without.mean() - without)
    return found if np.isfinite(found).all() else None


def _divided(a: Array, b: Array) -> Array:
    # Sums without an image are differences of floats: what should be 0 may be 1e-17.
    out = np.full(np.broadcast(a, b).shape, np.nan)
    return np.asarray(np.divide(a, b, out=out, where=b > 1e-9), dtype=np.float64)


def _mean_known(values: Array) -> Array:
    known = np.isfinite(values)
    return _divided(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(float))


def _beaten(scores: Array, others: Array) -> Array:
    """For each score, how many of the sorted others lie below it; a tie counts half."""
    below = np.searchsorted(others, scores, side="left").astype(np.float64)
    return 0.5 * (below + np.searchsorted(others, scores, side="right"))


def _weighted_area(score: Array, truth: Array, weights: Array) -> Array:
    """AUROC of images sorted by score (N,), for each row of weights (B, N)."""
    starts = np.flatnonzero(np.r_[True, np.diff(score) > 0])
    positive = np.add.reduceat(weights * (truth == 1), starts, axis=1)
    negative = np.add.reduceat(weights * (truth == 0), starts, axis=1)
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return _divided((positive * below).sum(axis=1), pairs)
