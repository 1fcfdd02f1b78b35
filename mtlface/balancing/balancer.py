"""The interface of every balancing method: task losses and shared features in, one scalar out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mtlface.balancing.ranks import losses_over_ranks
from mtlface.errors import MtlfaceError

Level = Literal["losses", "features", "parameters"]


@dataclass(frozen=True)
class Balanced:
    """One step's decision.

    Attributes:
        loss: Scalar to be backpropagated once. It is linear in its upstream gradient, so loss
            scaling and gradient accumulation act on it as on any loss.
        weights: ``(T,)``, detached: how much each task's gradient counts in the shared trunk.
            0 for a task that is absent from the batch, NaN where the method has no weights.
        gramian: ``(T, T)``, detached float32: inner products of the task gradients at the
            balancer's level, NaN in the rows and columns of absent tasks; None where the method
            needs no gradients.
    """

    loss: Tensor
    weights: Tensor
    gramian: Tensor | None = None


class Balancer(nn.Module, ABC):
    """Turns several task losses into one step.

    Its parameters, where it has any (learned log-variances), belong in the optimizer, and all of
    its state is in ``state_dict()`` as tensors and plain data. With a single task every balancer
    is the identity. While the trunk is frozen the tasks share nothing that learns: every balancer
    is then the plain sum, and learns nothing. With several processes the loss values, the Gramian
    and the set of present tasks are those of all ranks, so that every rank takes the same decision.

    Args:
        tasks: Names of the losses, in their order. A head with many losses (one an attribute)
            has many entries.
    """

    level: Level = "losses"

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        if not self.tasks:
            raise MtlfaceError("balancing needs at least one task loss, found none.")

    @property
    def fallbacks(self) -> int:
        """At how many steps the method had no finite answer, and the plain sum took its place."""
        return 0

    @property
    def solver_failures(self) -> int:
        """At how many of these steps the gradients were fine, and a solver failed."""
        return 0

    def report(self) -> dict[str, int]:
        """What `result.json` says of how the method fared."""
        return {"fallbacks": self.fallbacks, "solver_failures": self.solver_failures}

    @property
    def needs_losses_after_step(self) -> bool:
        """Whether `update` must be called with the losses recomputed after the optimizer step."""
        return False

    def forward(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Balances one batch.

        Args:
            losses: ``(T,)`` float32 task losses, each already times its task's own weight.
            present: ``(T,)`` bool, False where no row of the batch has the task's label. Such a
                loss is 0 and has no say in the step. On the CPU it costs no wait for the device.
            features: ``(B, D)`` shared features that the losses were computed from.
            shared: Trainable parameters of the trunk that made the features; none while it is
                frozen.

        Returns:
            The scalar to backpropagate, with the weights and the Gramian behind it.

        Raises:
            MtlfaceError: The number of losses is not the number of tasks.
        """
        if losses.shape != (len(self.tasks),):
            raise MtlfaceError(
                f"balancing was built for {len(self.tasks)} task losses "
                f"({', '.join(self.tasks[:5])}{', …' if len(self.tasks) > 5 else ''}), found "
                f"losses of shape {tuple(losses.shape)}. Build it with one name a loss."
            )
        if len(self.tasks) == 1:
            return Balanced(losses[0], torch.ones_like(losses.detach()))
        if not (shared and features.requires_grad):
            return self._plain_sum(losses, present)
        # Gramians and logarithms of losses do not survive half precision.
        with torch.autocast(losses.device.type, enabled=False):
            losses, present = losses_over_ranks(losses, present)
            present = present.cpu()
            if not present.any():
                return Balanced(losses.sum(), torch.zeros_like(losses.detach()))
            return self.balance(losses, present, features, shared)

    def _plain_sum(self, losses: Tensor, present: Tensor) -> Balanced:
        if present.is_cpu and bool(present.all()):
            loss, weights = losses.sum(), torch.ones_like(losses.detach())
        else:
            present = present.to(losses.device)
            loss = torch.where(present, losses, torch.zeros_like(losses)).sum()
            weights = present.to(losses.dtype)
        for parameter in self.parameters():
            # A gradient of 0, not none, which the data-parallel wrapper would wait for.
            loss = loss + 0.0 * parameter.sum()
        return Balanced(loss, weights)

    @abstractmethod
    def balance(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Balances a batch with at least two tasks, of which at least one is present.

        The arguments are those of `forward`; ``present`` is on the CPU.
        """

    def update(self, losses: Tensor, present: Tensor) -> None:
        """Learns from the losses recomputed on the same batch after the optimizer step."""

    def end_epoch(self) -> None:
        """Rolls the history of epoch averages forward; called after each training epoch."""
