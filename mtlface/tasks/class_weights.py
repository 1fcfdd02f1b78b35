"""Weights that let rare classes count as much as common ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mtlface.errors import MtlfaceError

BALANCED = "balanced"


class ClassWeights(nn.Module):
    """Weights of C classes, n / (C · n_c), of the training split: every class has the same say.

    The weights average 1 over the training images, so that the loss keeps its size. For two classes
    they are binary cross-entropy's `pos_weight` n₀/n₁, up to one factor for both classes. A class
    that training never shows has weight 1.

    Args:
        shape: (C,), or (K, C) for K labels that each have weights of their own.
    """

    weights: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(shape))

    def learn(self, targets: Tensor) -> None:
        """Takes the weights from class codes, −1 where missing: (N,), or (N, K)."""
        codes = range(self.weights.shape[-1])
        counts = torch.stack([(targets == code).sum(dim=0) for code in codes], dim=-1)
        present = (counts > 0).sum(dim=-1, keepdim=True)
        balanced = counts.sum(dim=-1, keepdim=True) / (present * counts)
        self.weights.copy_(torch.where(counts > 0, balanced, 1.0))

    @override
    def forward(self, losses: Tensor, target: Tensor) -> Tensor:
        """Losses times the weight of each true class; both (B,), or (B, K)."""
        rows = self.weights.expand(*target.shape, -1)
        return losses * rows.gather(-1, target.clamp(min=0)[..., None])[..., 0]


def class_weights(word: str | None, task: str, *shape: int) -> ClassWeights | None:
    """The weights that a config asks for; None for null.

    Raises:
        MtlfaceError: The word is neither `balanced` nor null.
    """
    if word not in (None, BALANCED):
        raise MtlfaceError(
            f"tasks.{task}.class_weights={word}: expected {BALANCED}, which weighs each class by "
            "how rare it is in the training split, or null, which weighs all images alike."
        )
    return None if word is None else ClassWeights(*shape)
