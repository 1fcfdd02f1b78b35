"""Means over steps of the balancer's weights and of the task gradients' sizes and angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

MOST_NAMED = 8  # losses up to which each one, and each pair, has a number of its own


class GradientMeans:
    """Sums and counts, from which means follow; they add up over windows of steps.

    Args:
        names: The T losses.
        state: What `state` gave, to go on from.
    """

    def __init__(self, names: Sequence[str], state: Mapping[str, Tensor] | None = None) -> None:
        self.names = tuple(names)
        size = len(self.names)
        shapes = {"weight": (size,), "norm": (size,), "cosine": (size, size)}
        shapes["conflict"] = (size, size)
        self.sums = {
            kind: torch.zeros(2, *shape, dtype=torch.float64) for kind, shape in shapes.items()
        }  # (sum, count)
        if state:
            self.sums = {kind: state[kind].clone() for kind in self.sums}

    def state(self) -> dict[str, Tensor]:
        """Everything, for a checkpoint."""
        return {kind: sums.clone() for kind, sums in self.sums.items()}

    def add(self, weights: Tensor, present: Tensor, gramians: Tensor | None) -> None:
        """Adds steps.

        Args:
            weights: (steps, T), NaN where a method has none.
            present: (steps, T) bool; an absent task's weight does not count.
            gramians: (looks, T, T), NaN for absent tasks, or None if there was no look.
        """
        weights = torch.where(present, weights, torch.nan)
        self._count("weight", weights.cpu())
        if gramians is None:
            return
        # Measured beforehand on the device, the squares would be one more wait.
        gramians = gramians.cpu().double()
        norms = gramians.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        cosines = gramians / (norms[:, :, None] * norms[:, None, :])
        self._count("norm", norms)
        self._count("cosine", cosines.clamp(-1, 1))
        conflict = torch.where(cosines.isfinite(), (cosines < 0).double(), torch.nan)
        self._count("conflict", conflict)

    def merge(self, other: GradientMeans) -> None:
        """Adds what another one has seen."""
        for kind, sums in self.sums.items():
            sums += other.sums[kind]

    def named(self) -> dict[str, float]:
        """The means by `balance/<kind>/<loss>` or `balance/<kind>/<a>/<b>`, where known.

        With more than eight losses: their smallest and largest, and the mean over pairs.
        """
        means = {kind: sums[0] / sums[1] for kind, sums in self.sums.items()}
        if len(self.names) > MOST_NAMED:
            return {name: value for name, value in _summary(means).items() if value == value}
        found = {}
        for kind in ("weight", "norm"):
            for i, name in enumerate(self.names):
                found[f"balance/{kind}/{name}"] = float(means[kind][i])
        for kind in ("cosine", "conflict"):
            for i, j in combinations(range(len(self.names)), 2):
                pair = f"{self.names[i]}/{self.names[j]}"
                found[f"balance/{kind}/{pair}"] = float(means[kind][i, j])
        return {name: value for name, value in found.items() if value == value}

    def _count(self, kind: str, values: Tensor) -> None:
        known = values.isfinite()
        self.sums[kind][0] += torch.where(known, values.double(), 0.0).sum(dim=0)
        self.sums[kind][1] += known.sum(dim=0)


def _summary(means: Mapping[str, Tensor]) -> dict[str, float]:
    upper = torch.triu(torch.ones_like(means["cosine"], dtype=torch.bool), diagonal=1)
    found = {}
    for kind, values in means.items():
        known = values[upper] if values.ndim == 2 else values
        known = known[known.isfinite()]
        if known.numel():
            found[f"balance/{kind}_min"] = float(known.min())
            found[f"balance/{kind}_mean"] = float(known.mean())
            found[f"balance/{kind}_max"] = float(known.max())
    return found
