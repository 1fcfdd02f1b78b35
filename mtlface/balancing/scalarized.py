"""Balancing by the loss values alone, with any scalarizer of torchjd."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchjd.scalarization import Scalarizer
from typing_extensions import override

from mtlface.balancing.balancer import Balanced, Balancer
from mtlface.balancing.build import build
from mtlface.balancing.narrow import EpochMeans, call_on
from mtlface.balancing.randomness import StepRandomness, fixed_seed
from mtlface.balancing.ranks import losses_over_ranks
from mtlface.balancing.spread import rows_of, to_device
from mtlface.balancing.state import place, restore, snapshot
from mtlface.errors import MtlfaceError


class Scalarized(Balancer):
    """Combines the losses with a `torchjd.scalarization.Scalarizer`.

    What a scalarizer can do decides how it is driven: one with parameters and no ``update`` learns
    them in the model's optimizer; one with ``update`` learns by itself from the losses after the
    step; one with a ``step`` method keeps epoch averages and is stepped by `end_epoch`.

    Tasks absent from a batch: the scalarizer sees the present losses only, with its per-task
    values cut to them. One that keeps epoch averages sees the absent task's own average instead,
    as a constant. Where the combination has no finite derivative (a geometric mean with a loss of
    exactly 0), the step is the plain sum, and `fallbacks` counts it.

    Args:
        tasks: Names of the losses.
        scalarizer: Constructor of the scalarizer (``_partial_: true`` in a config); the number
            of tasks is passed to it if it asks for ``shape`` or ``n_tasks``.

    Raises:
        MtlfaceError: The scalarizer cannot be built, or refuses a vector of T losses.
    """

    def __init__(self, tasks: Sequence[str], scalarizer: Callable[..., Scalarizer]) -> None:
        super().__init__(tasks)
        self._fallbacks = self._told = 0
        self._uncounted: Tensor | None = None  # on the device: to look would be a wait
        self.scalarizer: nn.Module | None = None
        self._unregistered: tuple[nn.Module, ...] = ()
        self._before: tuple[Tensor, Tensor] | None = None
        self._device: torch.device | None = None
        self._randomness = StepRandomness()
        self.epoch_means: EpochMeans | None = None
        if len(self.tasks) == 1:
            return
        method = build(scalarizer, len(self.tasks))
        _try_out(method, len(self.tasks))
        learned = next(method.parameters(), None) is not None
        if learned and not hasattr(method, "update"):
            self.scalarizer = method
        else:
            # Out of the module tree: its parameters must not reach the model's optimizer (it
            # has its own) nor a data-parallel wrapper (they have no gradient).
            self._unregistered = (method,)
        if callable(getattr(method, "step", None)):
            self.epoch_means = EpochMeans(len(self.tasks))

    @property
    @override
    def fallbacks(self) -> int:
        if self._uncounted is not None:
            self._fallbacks += int(self._uncounted)
            self._uncounted = None
        return self._fallbacks

    @property
    def needs_losses_after_step(self) -> bool:
        """True if the scalarizer learns from the losses after the step."""
        return len(self.tasks) > 1 and hasattr(self._method(), "update")

    def balance(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Combines the losses."""
        with self._randomness.next_step(losses.device):
            found = self._combine(losses, present)
        learned = list(self.parameters())
        weights, *slopes = torch.autograd.grad(found, [losses, *learned], allow_unused=True)
        # Decided on the device, without a look from here.
        fine = weights.isfinite().all()
        plain = torch.ones_like(weights)
        if not bool(present.all()):
            plain = to_device(present, losses.device).to(weights.dtype)
        weights = torch.where(fine, weights, plain)
        value = torch.where(fine, found.detach(), (losses.detach() * plain).sum())
        loss = (weights * losses).sum()
        for parameter, slope in zip(learned, slopes, strict=True):
            if slope is not None:
                slope = torch.where(fine, slope, 0.0)
                loss = loss + ((parameter - parameter.detach()) * slope).sum()
        loss = loss + (value - loss).detach()
        failed = (~fine).long()
        self._uncounted = failed if self._uncounted is None else self._uncounted + failed
        self._before = (losses.detach(), present)
        return Balanced(loss, weights)

    def update(self, losses: Tensor, present: Tensor) -> None:
        """Lets the scalarizer learn from the losses after the step.

        A task absent from the batch is taken to have moved like the mean of the present ones, and
        what is learned about it stays as it is. Losses that are not finite teach nothing.
        """
        if not self.needs_losses_after_step or self._before is None:
            return
        before, here = self._before
        self._before = None
        after, present = losses_over_ranks(losses.detach(), present)
        here = here & present.cpu()
        if not bool(here.any()):
            return
        method = self._method()
        absent = not bool(here.all())
        held: list[tuple[nn.Parameter, Tensor]] = []
        if absent:
            index, there = rows_of(here, losses.device), to_device(here, losses.device)
            before = torch.where(there, before, before.index_select(0, index).mean())
            after = torch.where(there, after, after.index_select(0, index).mean())
            held = [(p, p.detach().clone()) for p in method.parameters() if p.shape == here.shape]
        if not bool((before.isfinite() & after.isfinite()).all()):
            return
        with torch.no_grad():
            method(before)  # torchjd remembers the losses of its last call as those before
        method.update(after)
        with torch.no_grad():
            for parameter, value in held:  # Adam turns even a rounding error into a full step
                parameter.copy_(torch.where(there, parameter, value))

    def end_epoch(self) -> None:
        """Rolls the epoch averages forward, and warns of steps without finite weights."""
        if (count := self.fallbacks) > self._told:
            warnings.warn(
                f"balancing: {self._method()} had no finite weights for the losses of "
                f"{count - self._told} steps of this epoch; their plain sum took its place.",
                stacklevel=2,
            )
            self._told = count
        if self.epoch_means is not None:
            self._method().step()
            self.epoch_means.end_epoch()

    def get_extra_state(self) -> dict[str, Any]:
        """Returns what ``state_dict()`` does not see: histories, own optimizers, random state."""
        state: dict[str, Any] = {
            "step": self._randomness.step,
            "seed": self._randomness.seed,
            "fallbacks": self.fallbacks,
        }
        if len(self.tasks) > 1:
            state["scalarizer"] = snapshot(self._method(), tensors=self.scalarizer is None)
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Puts the state of `get_extra_state` back."""
        self._randomness.step, self._randomness.seed = state["step"], state["seed"]
        self._fallbacks = self._told = state["fallbacks"]
        self._uncounted = None
        if len(self.tasks) > 1:
            restore(self._method(), state["scalarizer"])
            self._device = None

    def _method(self) -> Any:
        return self.scalarizer if self.scalarizer is not None else self._unregistered[0]

    def _combine(self, losses: Tensor, present: Tensor) -> Tensor:
        method = self._method()
        if self.scalarizer is None and self._device != losses.device:
            place(method, losses.device)
            self._device = losses.device
        try:
            scalar: Tensor
            if self.epoch_means is not None:
                scalar = method(self.epoch_means.fill(losses, present))
            elif bool(present.all()):
                scalar = method(losses)
            else:
                scalar = call_on(method, losses, rows_of(present, losses.device))
        except ValueError as error:
            raise MtlfaceError(
                f"balancing: {method} refuses the losses {losses.tolist()} of the tasks "
                f"{', '.join(self.tasks)}: {error} Choose a method that takes them."
            ) from error
        return scalar


def _try_out(method: nn.Module, size: int) -> None:
    """Calls a copy once, so that a wrong argument is found at composition, not at step 1."""
    try:
        with fixed_seed(0, torch.device("cpu")):
            copy.deepcopy(method)(torch.ones(size))
    except (ValueError, RuntimeError, TypeError) as error:
        raise MtlfaceError(
            f"balancing: {method} does not take the {size} losses of this run: {error}"
        ) from error
