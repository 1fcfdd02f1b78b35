"""What Lightning and torch do at every step for nothing; here they do not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from lightning import Callback
from lightning.pytorch.profilers import PassThroughProfiler

EACH_BATCH = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_validation_batch_start",
    "on_validation_batch_end",
)


def skip_unused_hooks(callbacks: Iterable[Callback]) -> None:
    """Makes Lightning skip the hooks of each batch that a callback leaves as they are, in place.

    Lightning enters its profiler for every hook of every callback, which for a dozen callbacks
    takes as long as a small network's step. What cannot be called it passes over.
    """
    for callback in callbacks:
        for name in EACH_BATCH:
            if getattr(type(callback), name) is getattr(Callback, name):
                setattr(callback, name, None)


class NoProfiler(PassThroughProfiler):
    """Lightning's default profiler, which does nothing either, without a generator per action."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Returns a context that does nothing."""
        return self._nothing


def hide_absent_gpu() -> None:
    """Tells torch once that this machine has no CUDA device, if it has none.

    Optimizers ask at every step, and under Lightning the answer means to load the driver's library
    again: 0.1 ms where there is none.
    """
    if not torch.cuda.is_available():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
