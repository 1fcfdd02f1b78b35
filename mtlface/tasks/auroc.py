"""AUROC that is undefined where it has no meaning: torchmetrics gives 0 there, or an IndexError."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC, MultilabelAUROC
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

# torchmetrics leaves the elements with this target out, as the label schema has it.
MISSING = -1


def defined_auroc(probability: Tensor, target: Tensor) -> Tensor:
    """The area under the ROC curve of the labelled elements; NaN unless both classes are there.

    Args:
        probability: Of the positive class, (N,).
        target: 0, 1 or −1 where missing, (N,).
    """
    known = target != MISSING
    probability, target = probability[known], target[known]
    if not len(target) or target.min() == target.max():
        return probability.new_tensor(torch.nan)
    return binary_auroc(probability, target)


class DefinedBinaryAUROC(BinaryAUROC):
    """`BinaryAUROC` of (N,) probabilities and targets."""

    def __init__(self) -> None:
        super().__init__(ignore_index=MISSING)

    @override
    def compute(self) -> Tensor:  # type: ignore[override]
        """The area, a scalar."""
        return defined_auroc(dim_zero_cat(self.preds), dim_zero_cat(self.target))


class DefinedMultilabelAUROC(MultilabelAUROC):
    """`MultilabelAUROC` of (N, K) probabilities and targets, an area for each of the K columns."""

    def __init__(self, num_labels: int) -> None:
        super().__init__(num_labels, average="none", ignore_index=MISSING)

    @override
    def compute(self) -> Tensor:  # type: ignore[override]
        """The areas, (K,)."""
        columns = zip(dim_zero_cat(self.preds).T, dim_zero_cat(self.target).T, strict=True)
        return torch.stack([defined_auroc(*column) for column in columns])
