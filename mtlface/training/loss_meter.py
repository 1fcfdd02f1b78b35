"""Mean losses of an epoch, kept on the device so that a step never waits for a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

NEVER = 2**62
WINDOW = 50  # batches that are added up together: a step then launches nothing here


class LossMeter(nn.Module):
    """Averages losses over labels and remembers the first step at which each was not finite.

    Args:
        names: The T losses.
    """

    sums: Tensor
    counts: Tensor
    first_bad_step: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        # Not part of a checkpoint: an epoch that is resumed starts from its beginning.
        self.register_buffer("sums", torch.zeros(len(names)), persistent=False)
        self.register_buffer("counts", torch.zeros(len(names)), persistent=False)
        self.register_buffer("first_bad_step", torch.full((len(names),), NEVER), persistent=False)
        self._pending: list[tuple[Tensor, Tensor, int]] = []

    def update(self, losses: Tensor, labelled: Tensor, step: int) -> None:
        """Adds a batch.

        Args:
            losses: (T,), each a mean over the batch's labels, 0 where there is none.
            labelled: (T,), over how many labels each is the mean.
            step: The optimizer step.
        """
        self._pending.append((losses.detach(), labelled, step))
        if len(self._pending) == WINDOW:
            self._add_up()

    @torch.no_grad()
    def _add_up(self) -> None:
        if not self._pending:
            return
        losses, labelled = (torch.stack(part) for part in zip(*self._rows(), strict=True))
        steps = torch.tensor([step for _, _, step in self._pending])
        if losses.is_cuda:  # from pageable memory the copy would wait for the device
            steps = steps.pin_memory().to(losses.device, non_blocking=True)
        self._pending = []
        self.sums += (losses * labelled).sum(dim=0)
        self.counts += labelled.sum(dim=0)
        bad = torch.where(losses.isfinite(), NEVER, steps[:, None])
        torch.minimum(self.first_bad_step, bad.amin(dim=0), out=self.first_bad_step)

    def _rows(self) -> list[tuple[Tensor, Tensor]]:
        return [(losses, labelled) for losses, labelled, _ in self._pending]

    def running(self) -> dict[str, float]:
        """The means since the last `compute`, by name; waits for the device, of this rank alone."""
        self._add_up()
        means = (self.sums / self.counts.clamp(min=1)).tolist()
        return dict(zip(self.names, means, strict=True))

    def compute(self, split: str, strategy: Strategy) -> dict[str, Tensor]:
        """The means since the last call by `<split>/loss/<name>`; their sum is `<split>/loss`."""
        self._add_up()
        both = torch.stack((self.sums, self.counts))
        sums, counts = strategy.reduce(both, reduce_op="sum")
        means = sums / counts.clamp(min=1)
        self.sums.zero_()
        self.counts.zero_()
        named = {f"{split}/loss/{name}": mean for name, mean in zip(self.names, means, strict=True)}
        return {f"{split}/loss": means.sum()} | named

    def bad(self) -> tuple[str, int] | None:
        """The loss that was not finite first, and at which step; waits for the device.

        All ranks get the same answer, so that they stop together.
        """
        self._add_up()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.first_bad_step, torch.distributed.ReduceOp.MIN)
        step, which = self.first_bad_step.min(dim=0)
        return None if step == NEVER else (self.names[int(which)], int(step))
