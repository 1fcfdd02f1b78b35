"""What several processes must agree on before they weigh their tasks."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Returns the number of processes that train together, 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def losses_over_ranks(losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Gives every rank the mean loss values, and the tasks that any rank has a label of.

    Args:
        losses: ``(T,)`` this rank's losses.
        present: ``(T,)`` bool.

    Returns:
        Losses whose value is the mean over the ranks that have the task, and whose gradient is
        this rank's own (the data-parallel wrapper averages gradients later), and the union of
        ``present``.
    """
    if world_size() == 1:
        return losses, present
    here = present.to(losses.device, losses.dtype)
    total = torch.stack([losses.detach() * here, here])  # (2, T)
    dist.all_reduce(total)
    mean = total[0] / total[1].clamp(min=1.0)
    return losses + (mean - losses).detach(), total[1] > 0


def gramian_over_ranks(gramian: Tensor) -> Tensor:
    """Returns the feature Gramian of the whole batch of all ranks.

    The loss of the whole batch is the mean of the ranks' losses, and the features of different
    ranks are different coordinates: the Gramian is the sum over ranks divided by their number
    squared.

    Args:
        gramian: ``(T, T)`` of this rank.
    """
    ranks = world_size()
    if ranks > 1:
        dist.all_reduce(gramian)
        gramian = gramian / ranks**2
    return gramian


def jacobian_over_ranks(jacobian: Tensor) -> Tensor:
    """Returns the mean over ranks of the parameter Jacobian ``(T, P)``."""
    ranks = world_size()
    if ranks > 1:
        dist.all_reduce(jacobian)
        jacobian = jacobian / ranks
    return jacobian
