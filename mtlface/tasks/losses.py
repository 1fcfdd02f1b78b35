"""Losses that torch lacks, and the mask that lets every label be missing somewhere."""

import math
from collections.abc import Callable

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


def labelled(target: Tensor) -> Tensor:
    """Returns where a target holds a label, bool of its shape: NaN and negative classes do not.

    Args:
        target: Floats with NaN, or classes (an integer type) with -1, where the label is missing.
    """
    return ~target.isnan() if target.is_floating_point() else target >= 0


def masked_loss(
    criterion: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor
) -> Tensor:
    """Returns the mean loss over what is labelled, a scalar; 0 where nothing is.

    Args:
        criterion: An elementwise loss (`reduction="none"`), such as
            `nn.BCEWithLogitsLoss(reduction="none")`. Its result has the shape of `target`.
        prediction: Of the shape that the criterion takes.
        target: Any shape, with NaN (floats) or -1 (classes) where the label is missing.
    """
    mask = labelled(target)
    # Filled before the loss: a NaN behind a mask still turns the gradient into 0 * NaN = NaN.
    known = torch.where(mask, target, torch.zeros_like(target))
    return masked_mean(criterion(prediction, known), mask)


def masked_mean(per_element: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Returns the mean of `per_element` where `mask` holds, without a device sync.

    It is exactly 0, with a gradient of exactly 0, where the mask holds nowhere.

    Args:
        per_element: Any shape.
        mask: bool, of the same shape.
        dim: The dimension to average over; all of them by default, for a scalar.
    """
    kept = torch.where(mask, per_element, torch.zeros_like(per_element))
    if dim is None:
        kept, mask, dim = kept.flatten(), mask.flatten(), 0
    return kept.sum(dim) / mask.sum(dim).clamp(min=1)
