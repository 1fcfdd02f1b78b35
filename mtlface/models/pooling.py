"""Adaptive average pooling that is deterministic where that is asked for."""

import torch
from torch import Tensor, nn


class RepeatableAvgPool2d(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling that gives the same gradient every time, if torch is told to.

    On CUDA the gradient of `nn.AdaptiveAvgPool2d` is added up in no fixed order, which torch
    refuses under ``torch.use_deterministic_algorithms``. There, and only there, it is two matrix
    products, equal to rounding.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns (…, C, H', W') of (…, C, H, W)."""
        wanted = torch.are_deterministic_algorithms_enabled() and input.is_cuda
        return self.multiplied(input) if wanted else super().forward(input)

    def multiplied(self, input: Tensor) -> Tensor:
        """The same as matrix products."""
        size = self.output_size
        wanted = (size, size) if isinstance(size, int) or size is None else tuple(size)
        for axis, bins in zip((-2, -1), wanted, strict=True):
            shares = _shares(input.shape[axis], bins or input.shape[axis], input)
            input = torch.tensordot(input, shares, dims=([axis], [1])).movedim(-1, axis)
        return input


def _shares(length: int, bins: int, like: Tensor) -> Tensor:
    """How much each of `length` places counts in each bin, (bins, length)."""
    place = torch.arange(length, device=like.device)
    number = torch.arange(bins, device=like.device)[:, None]
    # torch's own bounds: bins overlap where they do not divide the length.
    first = number * length // bins
    behind = -(-(number + 1) * length // bins)
    inside = (place >= first) & (place < behind)
    return inside.to(like.dtype) / (behind - first)


def pool_deterministically(trunk: nn.Module) -> None:
    """Turns a trunk's adaptive average pooling into `RepeatableAvgPool2d`, in place."""
    for layer in trunk.modules():
        if type(layer) is nn.AdaptiveAvgPool2d:
            layer.__class__ = RepeatableAvgPool2d
