"""Task gradients at the shared features and at the shared parameters."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlface.errors import MtlfaceError


def feature_jacobian(losses: Tensor, features: Tensor) -> Tensor:
    """Returns each loss's gradient at the shared features, in one pass through the heads.

    Args:
        losses: ``(m,)`` losses; their graph is kept.
        features: ``(B, …)`` features that the losses were computed from.

    Returns:
        ``(m, B·…)`` float32, detached.
    """
    # The gradient of a batch mean is about 1/B, too small for float16. A power of two is exact.
    scale = 2.0 ** math.ceil(math.log2(max(features.shape[0], 1)))
    directions = scale * torch.eye(losses.numel(), device=losses.device, dtype=losses.dtype)
    try:
        found = torch.autograd.grad(
            losses,
            features,
            directions,
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )[0]
    except RuntimeError:
        # Some operators (and compiled heads) have no batched backward.
        rows = [_gradient(losses, features, direction) for direction in directions]
        found = torch.stack(rows)
    if found is None:
        return losses.new_zeros(losses.numel(), features.numel(), dtype=torch.float32)
    return found.detach().flatten(1).float() / scale


def parameter_jacobian(
    feature_rows: Tensor, features: Tensor, shared: Sequence[nn.Parameter]
) -> Tensor:
    """Takes gradients at the features down to the trunk's parameters, a pass a task.

    Args:
        feature_rows: ``(m, B·…)`` from `feature_jacobian`.
        features: ``(B, …)``; its graph is kept.
        shared: Trunk parameters with P values together.

    Returns:
        ``(m, P)`` float32, detached.
    """
    rows = []
    for row in feature_rows:
        peak = row.abs().max()
        # Largest entry between 1/2 and 1, for trunks in float16; a power of two is exact.
        scale = torch.where(peak > 0, torch.exp2(-torch.ceil(torch.log2(peak))), 1.0)
        direction = (row * scale).view_as(features).to(features.dtype)
        grads = _parameter_gradients(features, shared, direction)
        rows.append(torch.cat([grad.flatten().float() for grad in grads]) / scale)
    return torch.stack(rows)


def gramian(jacobian: Tensor) -> Tensor:
    """Returns the inner products of a Jacobian's rows, in float64 where the device has it.

    Float64 keeps the squares of huge gradients finite, and TensorFloat-32 out.
    """
    wide = jacobian if jacobian.device.type == "mps" else jacobian.double()
    return wide @ wide.T


def _gradient(losses: Tensor, features: Tensor, direction: Tensor) -> Tensor:
    with _explained():
        (grad,) = torch.autograd.grad(
            losses, features, direction, retain_graph=True, allow_unused=True
        )
    return torch.zeros_like(features) if grad is None else grad


def _parameter_gradients(
    features: Tensor, shared: Sequence[nn.Parameter], direction: Tensor
) -> list[Tensor]:
    with _explained():
        grads = torch.autograd.grad(
            features, list(shared), direction, retain_graph=True, allow_unused=True
        )
    return [torch.zeros_like(p) if g is None else g for p, g in zip(shared, grads, strict=True)]


@contextmanager
def _explained() -> Iterator[None]:
    """Turns the compiler's refusal of a second backward pass into a word to the user."""
    try:
        yield
    except RuntimeError as error:
        if "donated" not in str(error):
            raise
        raise MtlfaceError(
            "balancing: this method goes through compiled layers more than once a step, and "
            "they were compiled for one pass. Switch compilation off, or set "
            "torch._functorch.config.donated_buffer = False."
        ) from error
