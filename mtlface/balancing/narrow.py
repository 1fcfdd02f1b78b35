"""Calling a scalarizer on the tasks that a batch has, without those that it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mtlface.balancing.spread import to_device


def call_on(module: nn.Module, losses: Tensor, index: Tensor) -> Tensor:
    """Calls a scalarizer on some of its tasks only.

    Parameters, buffers and tensor attributes with one value a task are cut to these tasks for the
    call. The cut is part of the graph, so the parameters of the other tasks get a gradient of
    exactly zero.

    Args:
        module: The scalarizer.
        losses: ``(T,)`` all losses.
        index: ``(m,)`` which tasks to keep, on the device of the losses.

    Returns:
        The scalar.
    """
    size = losses.numel()
    named = [*module.named_parameters(), *module.named_buffers()]
    cut = {name: t.index_select(0, index) for name, t in named if _is_per_task(t, size)}
    with _cut_attributes(module, index, size):
        scalar: Tensor = functional_call(module, cut, (losses.index_select(0, index),))
    return scalar


def _is_per_task(value: object, size: int) -> bool:
    return isinstance(value, Tensor) and value.shape == (size,)


@contextmanager
def _cut_attributes(module: nn.Module, index: Tensor, size: int) -> Iterator[None]:
    whole = [
        (sub, name, value)
        for sub in module.modules()
        for name, value in vars(sub).items()
        if _is_per_task(value, size)
    ]
    for sub, name, value in whole:
        setattr(sub, name, value.index_select(0, index.to(value.device)))
    try:
        yield
    finally:
        for sub, name, value in whole:
            setattr(sub, name, value)


class EpochMeans(nn.Module):
    """Stand-in losses for absent tasks, for methods that average losses over an epoch.

    The stand-in is the task's mean over the epoch so far, which leaves that mean where it is;
    before the first label of an epoch, the previous epoch's mean; before the first label of all,
    the mean of the present tasks.

    Args:
        size: Number of tasks T.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(size))
        self.register_buffer("count", torch.zeros(size))
        self.register_buffer("previous", torch.full((size,), torch.nan))
        self.total: Tensor
        self.count: Tensor
        self.previous: Tensor

    def fill(self, losses: Tensor, present: Tensor) -> Tensor:
        """Returns ``(T,)`` losses with constants for the absent tasks, and counts the present.

        Args:
            losses: ``(T,)``.
            present: ``(T,)`` bool on the CPU.
        """
        values = losses.detach()
        if bool(present.all()):
            self.total, self.count = self.total + values, self.count + 1
            return losses
        present = to_device(present, losses.device)
        here = present.to(values.dtype)
        mean = (values * here).sum() / here.sum()
        stand_in = torch.where(self.previous.isnan(), mean, self.previous)
        stand_in = torch.where(self.count > 0, self.total / self.count.clamp(min=1), stand_in)
        self.total = self.total + values * here
        self.count = self.count + here
        return torch.where(present, losses, stand_in)

    def end_epoch(self) -> None:
        """Makes this epoch's means the previous ones."""
        means = self.total / self.count.clamp(min=1)
        self.previous = torch.where(self.count > 0, means, self.previous)
        self.total, self.count = torch.zeros_like(self.total), torch.zeros_like(self.count)
