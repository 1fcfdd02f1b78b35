"""Split-conformal prediction: how far off an answer may be, by what held-out images say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mtlface.tasks import Task
from mtlface.training.evaluation import Predictions

LEVELS = (0.8, 0.9, 0.95, 0.99)  # of coverage, that a run's result has the quantiles of


def conformal_quantile(scores: Tensor, level: float) -> tuple[float, int]:
    """The score that regions of this coverage reach to, and how many images say so.

    The ⌈(n + 1) · level⌉-th smallest of n scores: regions hold the truth of a new image with at
    least that probability (Vovk et al. 2005; Lei et al., JASA 2018). Infinite for too few images.

    Args:
        scores: Nonconformity on images that nothing was learnt from, (N,), NaN where missing.
        level: The coverage, in 0..1.
    """
    known = np.sort(scores[~scores.isnan()].double().numpy())
    # Rounded first: (99 + 1) · .9 is a little more than 90 in floats.
    rank = math.ceil(round((len(known) + 1) * level, 9))
    return (float(known[rank - 1]) if rank <= len(known) else math.inf), len(known)


def conformal_quantiles(
    tasks: Mapping[str, Task[Any]], held_out: Predictions
) -> dict[str, dict[str, Any]]:
    """For `result.json`: by task the validation images, and the quantile of each level.

    A level that the images are too few for has none.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        scores = task.nonconformity(held_out.outputs[name], held_out.targets)
        if scores is None:
            continue
        reached = {level: conformal_quantile(scores, level) for level in LEVELS}
        found[name] = {
            "n": reached[LEVELS[0]][1],
            "quantiles": {str(k): q for k, (q, _) in reached.items() if math.isfinite(q)},
        }
    return found
