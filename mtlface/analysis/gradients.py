"""What the gradient monitor saw: do the tasks' gradients agree at the shared features?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from mtlface.analysis import wording as w
from mtlface.analysis.comparison import Comparison
from mtlface.analysis.protocol import Arm

ALIKE = 0.05  # cosines within this of zero neither agree nor pull against each other
MOST = 8  # arms that are told one by one


def mean_cosines(arm: Arm) -> dict[tuple[str, str], float]:
    """Pair of tasks → mean cosine of their gradients over steps and seeds."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in arm.runs.values():
        for key, value in run.metrics.items():
            parts = key.split("/")
            if parts[:2] == ["balance", "cosine"] and len(parts) == 4:
                values[parts[2], parts[3]].append(value)
    return {pair: float(np.mean(numbers)) for pair, numbers in values.items()}


def gradients(comparison: Comparison) -> list[str]:
    """A sentence per arm of two tasks: a matrix of one number needs no figure."""
    found = []
    for arm in comparison.arms:
        cosines = mean_cosines(arm)
        if len(cosines) == 1:
            ((one, other), cosine) = next(iter(cosines.items()))
            how = "pull against each other" if cosine < 0 else "agree"
            how = "neither agree nor pull against each other" if abs(cosine) < ALIKE else how
            found.append(
                f"Gradients of {comparison.names[arm.label]}: those of {one} and {other} {how} at "
                f"the shared features (mean cosine {w.number(cosine, 2, signed=True)}, "
                f"{w.many(len(arm.seeds), 'seed')})."
            )
    return found if len(found) <= MOST else []
