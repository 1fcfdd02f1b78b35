"""Does sharing widen the gap between groups of people? Each arm's gap against its twin's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtlface.analysis.crossed import Array
from mtlface.analysis.differences import (
    Difference,
    Metric,
    at_any_budget,
    difference_of_scores,
    in_one_family,
)
from mtlface.analysis.image_metrics import OfSums
from mtlface.analysis.images import ImageScores, Predictions
from mtlface.analysis.references import Statement
from mtlface.analysis.results import Run

FEWEST = 20  # labelled test images of a group that takes part, as `min_group` of evaluate


def gap_differences(
    statements: Sequence[Statement],
    verdicts: Sequence[Difference],
    predictions: Predictions,
) -> list[Difference]:
    """What sharing does to the gap between the best and the worst group, a family of its own.

    Seed by seed and image by image, as any other metric: the gap of the groups' metrics is itself
    a function of sums over images. A positive difference is a wider gap.

    Args:
        statements: What the arms are compared with; those on sharing count.
        verdicts: The differences of the primary metrics, whose smallest effects count here too.
        predictions: The runs' test predictions.
    """
    of_pair = {(d.arm, d.reference, d.metric.task): d for d in verdicts}
    found = []
    for s in statements:
        d = of_pair.get((s.arm.label, s.reference.label, s.task))
        if s.kind != "sharing" or d is None:
            continue
        for column in s.arm.runs[d.seeds[0]].groups:
            pairs: dict[int, tuple[ImageScores, ImageScores]] = {}
            for seed in d.seeds:
                ours, theirs = (
                    gap_scores(predictions, a.runs[seed], d.metric, column)
                    for a in (s.arm, s.reference)
                )
                if ours is not None and theirs is not None:
                    pairs[seed] = ours, theirs
            if pairs:
                metric = Metric(s.task, f"{d.metric.name} gap by {column}", False, True)
                found.append(difference_of_scores(s, metric, pairs, predictions, d.effect))
    return at_any_budget(in_one_family(found))


def gap_scores(
    predictions: Predictions, run: Run, metric: Metric, column: str
) -> ImageScores | None:
    """The gap of one run, image by image; None without two large groups, or for an area of ranks.

    Args:
        predictions: The runs' test predictions.
        run: The run.
        metric: The metric of each group.
        column: The column of groups.
    """
    scores = predictions.scores(run, metric.task, metric.name)
    groups = predictions.groups(run, column)
    if scores is None or not isinstance(scores.metric, OfSums):
        return None
    of_image = np.array([groups.get(str(image), "") for image in scores.images], dtype=np.str_)
    names, counts = np.unique(of_image[of_image != ""], return_counts=True)
    large = names[counts >= FEWEST]
    if len(large) < 2:
        return None
    rows = np.flatnonzero(np.isin(of_image, large))
    gap = gap_of(scores.metric.take(rows), np.searchsorted(large, of_image[rows]), len(large))
    return ImageScores(scores.images[rows], scores.people[rows], gap)


def gap_of(metric: OfSums, group: NDArray[np.int64], count: int) -> OfSums:
    """The difference between the largest and the smallest of the groups' metrics.

    Args:
        metric: Of all images, (N,).
        group: The group of each image, 0 … count − 1, (N,).
        count: How many groups.
    """
    width = metric.parts.shape[1]
    parts = np.zeros((len(group), count, width))
    parts[np.arange(len(group)), group] = metric.parts

    def gap(sums: Array) -> Array:
        values = metric.function(sums.reshape(*sums.shape[:-1], count, width))
        return np.asarray(values.max(axis=-1) - values.min(axis=-1))

    return OfSums(parts.reshape(len(group), -1), gap)
