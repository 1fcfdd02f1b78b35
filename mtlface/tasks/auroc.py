"""AUROC that is undefined where it has no meaning, of scores as exact as the network gives them.

torchmetrics gives 0 or an IndexError without both classes, and turns logits into float32
probabilities, which are all 1 above a logit of 17.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

# The label schema's code for elements without a label.
MISSING = -1
# What torchmetrics' classification metrics are built with. Its checks of each batch wait for the
# device, and the label schema has checked every code before.
CODES: dict[str, Any] = {"ignore_index": MISSING, "validate_args": False}


def defined_auroc(score: Tensor, target: Tensor) -> Tensor:
    """The area under the ROC curve of the labelled elements; NaN unless both classes are there.

    Args:
        score: Higher for the positive class, in any unit, (N,).
        target: 0, 1 or −1 where missing, (N,).
    """
    known = target != MISSING
    score, target = score[known], target[known]
    if not len(target) or target.min() == target.max():
        return torch.full((), torch.nan, device=score.device)
    # Only the order counts, and ranks keep it where probabilities would tie.
    _, rank = torch.unique(score, return_inverse=True)
    return binary_auroc(rank.double() / len(score), target).float()


class DefinedAUROC(Metric):
    """The area of all scores (N,), or of each column of scores (N, K): a scalar or (K,)."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    @override
    def update(self, score: Tensor, target: Tensor) -> None:
        """Adds scores, such as logits, and targets of one shape; 0, 1 or −1 where missing."""
        self.scores.append(score.detach())
        self.targets.append(target)

    @override
    def compute(self) -> Tensor:
        """The area or areas."""
        scores, targets = dim_zero_cat(self.scores), dim_zero_cat(self.targets)
        if scores.ndim == 1:
            return defined_auroc(scores, targets)
        columns = zip(scores.T, targets.T, strict=True)
        return torch.stack([defined_auroc(*column) for column in columns])
