"""Replacing the gradient at the shared features by the balanced one."""

from typing import Any

import torch
from torch import Tensor


class _Tap(torch.autograd.Function):
    """The identity; its backward notes the upstream gradient (the loss scale)."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, seen: list[Tensor]) -> Tensor:
        ctx.seen = seen
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.seen[:] = grads
        return grads[0], None


def reroute(loss: Tensor, features: Tensor, gradient: Tensor) -> Tensor:
    """Returns a loss that trains the heads as ``loss`` does, and the trunk with ``gradient``.

    The upstream gradient of the returned loss multiplies both, so loss scaling and gradient
    accumulation are exact. Replacing (rather than adding a correction that cancels the heads'
    gradient) leaves no rounding error of the cancelled part, which in bfloat16 can be
    larger than the balanced gradient itself.

    Args:
        loss: Scalar computed from the features.
        features: ``(B, …)`` the trunk's output. Every gradient that reaches it is replaced.
        gradient: ``(B·…)`` what ``features`` receives for an upstream gradient of 1.

    Returns:
        Scalar with the value of ``loss``.
    """
    seen: list[Tensor] = []
    gradient = gradient.detach().view_as(features)

    def replace(arrived: Tensor) -> Tensor:
        if not seen:  # someone else's pass through this graph
            return arrived
        return (gradient * seen[0]).to(arrived.dtype)

    features.register_hook(replace)  # type: ignore[no-untyped-call]
    tapped: Tensor = _Tap.apply(loss, seen)
    return tapped
