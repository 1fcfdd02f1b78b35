"""Losses that torch lacks, and the mean that lets any label be missing."""

import math

import torch
from torch import Tensor, nn


class WingLoss(nn.Module):
    r"""The Wing loss of landmark localisation (Feng et al., CVPR 2018, arXiv:1711.06753).

    .. math::
        wing(x) = w \ln(1 + |x|/\epsilon) \text{ if } |x| < w, \text{ else } |x| - C,
        \quad C = w - w \ln(1 + w/\epsilon)

    It is scale-dependent: `width` and `curvature` are in the units of the coordinates. The
    paper's 10 and 2 are meant for pixels.

    Args:
        width: w, where the logarithmic part ends.
        curvature: ε, smaller is steeper around zero.
        reduction: `none`, `mean` or `sum`.
    """

    def __init__(
        self, width: float = 10.0, curvature: float = 2.0, reduction: str = "none"
    ) -> None:
        super().__init__()
        self.width = width
        self.curvature = curvature
        self.reduction = reduction
        self.offset = width - width * math.log1p(width / curvature)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of two tensors of one shape, of that shape unless reduced."""
        error = (prediction - target).abs()
        near = self.width * torch.log1p(error / self.curvature)
        loss = torch.where(error < self.width, near, error - self.offset)
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()


def masked_mean(per_element: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Returns the mean of `per_element` where `mask` holds, without a device sync.

    It is exactly 0, with a gradient of exactly 0, where the mask holds nowhere.
    Fill missing targets before the loss: a NaN in a loss that the mask drops still makes the
    gradient 0 * NaN.

    Args:
        per_element: Any shape.
        mask: bool, of the same shape.
        dim: The dimension to average over; all of them by default, for a scalar.
    """
    kept = torch.where(mask, per_element, torch.zeros_like(per_element))
    if dim is None:
        kept, mask, dim = kept.flatten(), mask.flatten(), 0
    return kept.sum(dim) / mask.sum(dim).clamp(min=1)
