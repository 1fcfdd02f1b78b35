"""One seed: what other test images would say of two given networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtlface.analysis.crossed import Array, Estimate
from mtlface.analysis.image_metrics import ImageMetric

RESAMPLES, FEWEST = 4999, 999
CELLS = 20_000_000  # resamples × images held at a time
WORK = 100_000_000  # resamples × images in all


def paired_images(
    arm: ImageMetric, reference: ImageMetric, cluster: NDArray[np.int64]
) -> Estimate | None:
    """A paired bootstrap of the metric itself over images, or over the people on them.

    It answers "would other test images change the order of these two networks?" and nothing about
    another training run. The two-sided p is twice the smaller share of resampled differences on
    either side of zero, so that it agrees with the percentile interval.

    Args:
        arm: A metric of N images.
        reference: The same metric of the same images in the same order.
        cluster: Who is on each image, 0 … C−1, (N,); the same number for all images of a person.

    Returns:
        The estimate, or None where no resample differs or too few have a value.
    """
    units = int(cluster.max()) + 1
    total = int(np.clip(WORK // len(cluster), FEWEST, RESAMPLES))
    rng = np.random.default_rng(0)  # the same runs give the same report
    found: list[Array] = []
    batch = max(1, CELLS // len(cluster))
    for start in range(0, total, batch):
        size = min(batch, total - start)
        # Row b draws into its own block of numbers, so that one count serves all rows.
        drawn = rng.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=size * units).reshape(size, units)
        weights = times[:, cluster].astype(np.float64)
        found.append(arm.resampled(weights) - reference.resampled(weights))
    differences = np.concatenate(found)
    differences = differences[np.isfinite(differences)]
    if len(differences) < FEWEST or np.ptp(differences) == 0.0:
        return None
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    low, lower, upper, high = np.quantile(differences, (0.025, 0.05, 0.95, 0.975))
    return Estimate(
        mean=arm.value - reference.value,
        se=float(differences.std(ddof=1)),
        interval=(float(low), float(high)),
        inner=(float(lower), float(upper)),
        p=min(1.0, 2 * (tail + 1) / (len(differences) + 1)),
        df=None,
        seeds=1,
        units=units,
    )
