"""What tasks share: all of a trunk, its first stages, mixtures of trunks, or experts.

Every way has the same two halves: a backbone that all tasks share, and a branch for each task from
the shared features to those that its head reads. Hard sharing is the one with empty branches.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from mtlface.models.backbone import Backbone, Freezable
from mtlface.models.stages import cut, require_stages, stages_of

# Misra et al. 2016, section 5: a task begins with most of its own activations.
OWN = 0.9


@dataclass(frozen=True)
class Trunks:
    """What a way of sharing starts from.

    Attributes:
        first: The backbone, which the way of sharing may take apart.
        another: Builds one more, with other random weights.
        name: What errors call the backbone.
        size: (height, width) of the images in pixels.
    """

    first: Backbone
    another: Callable[[], Backbone]
    name: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Shared:
    """A network without its heads.

    Attributes:
        backbone: Images (B, 3, H, W) to the features that all tasks share: (B, D) of one trunk,
            (B, C, H', W') of its first stages, (B, N, D) of N trunks.
        branches: For each task a module from the shared features and the images, (B, 3, H, W) in
            0..255, to the features (B, D) that its head reads.
    """

    backbone: Backbone
    branches: Mapping[str, nn.Module]


class Unbranched(nn.Module):
    """No branch: the head reads the shared features."""

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Returns the features (B, D) as they are."""
        return features


class Tail(Freezable):
    """The rest of a trunk, as a task's own: from the shared stages' features to (B, D)."""

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Returns features (B, D) of those after the shared stages, (B, C, H', W')."""
        found: Tensor = self.trunk(features)
        return found


def hard(trunks: Trunks, tasks: Sequence[str]) -> Shared:
    """One trunk for all tasks (Caruana 1997)."""
    return Shared(trunks.first, {task: Unbranched() for task in tasks})


def split(trunks: Trunks, tasks: Sequence[str], stages: int) -> Shared:
    """The first stages of one trunk for all tasks, a copy of the rest for each.

    With 0 stages tasks share the pixels only, and each learns what its single-task network learns.

    Raises:
        MtlfaceError: The trunk cannot be cut there.
    """
    backbone = trunks.first
    backbone.trunk, rest = cut(backbone.trunk, [stages], trunks.name, trunks.size)
    return Shared(backbone, {task: Tail(copy.deepcopy(rest)) for task in tasks})


class CrossStitch(nn.Module):
    r"""Trunks of one kind that mix what they give after each stage (Misra et al. 2016).

    After stage $l$ trunk $i$ goes on with $\sum_j \alpha^l_{ij} x_j$ of the activations $x_j$ of
    all. Mixtures begin with 0.9 of the trunk's own and the rest in equal shares, as in the
    paper, which lets each channel have its own $\alpha$; here a stage has one matrix. That of the
    last stage is no part of this module: its rows are the tasks' own (`Mixture`).

    Args:
        trunks: T trunks, each as its parts in their order.

    Attributes:
        mixing: For each stage but the last the matrix $\alpha^l$ (T, T).
    """

    def __init__(self, trunks: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(nn.ModuleList(parts) for parts in trunks)
        inner = len(trunks[0]) - 1
        self.mixing = nn.ParameterList(_mostly_own(len(trunks)) for _ in range(inner))

    def forward(self, images: Tensor) -> Tensor:
        """Returns features (B, T, D) of normalised images (B, 3, H, W)."""
        now = [images] * len(self.trunks)
        stages = zip(*self.trunks, strict=True)
        for number, parts in enumerate(stages):
            now = [part(x) for part, x in zip(parts, now, strict=True)]
            if number < len(self.mixing):
                now = [_weighted(row, now) for row in self.mixing[number]]
        return torch.stack(now, dim=1)


class Mixture(nn.Module):
    """A task's row of the last stage's cross-stitch matrix.

    Args:
        weights: (T,), with which it begins.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.detach().clone())

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Returns the mixture (B, D) of T trunks' features (B, T, D)."""
        return _weighted(self.weights, features.unbind(1))


def cross_stitch(trunks: Trunks, tasks: Sequence[str]) -> Shared:
    """A trunk for each task, and learnt mixtures of them after each stage (`CrossStitch`).

    All trunks begin with the weights that a single-task network begins with.

    Raises:
        MtlfaceError: The trunk has no stages.
    """
    backbone = trunks.first
    stages = stages_of(backbone.trunk)
    require_stages(stages, trunks.name)
    parts = cut(backbone.trunk, range(1, len(stages)), trunks.name, trunks.size)
    backbone.trunk = CrossStitch([copy.deepcopy(parts) for _ in tasks])
    rows = _mostly_own(len(tasks))
    return Shared(backbone, {task: Mixture(row) for task, row in zip(tasks, rows, strict=True)})


class Experts(nn.Module):
    """Trunks side by side.

    Args:
        trunks: E trunks, each from normalised images to features (B, D).
    """

    def __init__(self, trunks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)

    def forward(self, images: Tensor) -> Tensor:
        """Returns features (B, E, D) of normalised images (B, 3, H, W)."""
        return torch.stack([trunk(images) for trunk in self.trunks], dim=1)


class Gate(nn.Module):
    r"""A task's mixture of experts by image: $\mathrm{softmax}(W x)$, $x$ the pixels.

    Args:
        pixels: 3HW, how many values an image has.
        experts: E.
    """

    def __init__(self, pixels: int, experts: int) -> None:
        super().__init__()
        self.scores = nn.Linear(pixels, experts, bias=False)

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Returns the mixture (B, D) of the experts' features (B, E, D).

        Args:
            features: (B, E, D).
            images: (B, 3, H, W), uint8 or float in 0..255.
        """
        pixels = images.flatten(1).float() / 127.5 - 1
        shares = self.scores(pixels).softmax(dim=1)
        return torch.einsum("be,bed->bd", shares, features)


def mmoe(trunks: Trunks, tasks: Sequence[str], experts: int) -> Shared:
    """Experts for all tasks, and a gate for each (Ma et al. 2018).

    An expert is a whole trunk, each with random weights of its own; pretrained, they all begin with
    the same. A gate is linear in the pixels, without a bias, as in the paper's equation 6.
    """
    backbone = trunks.first
    others = [trunks.another().trunk for _ in range(experts - 1)]
    backbone.trunk = Experts([backbone.trunk, *others])
    pixels = 3 * prod(trunks.size)
    return Shared(backbone, {task: Gate(pixels, experts) for task in tasks})


WAYS: dict[str, Callable[..., Shared]] = {
    "hard": hard,
    "split": split,
    "cross_stitch": cross_stitch,
    "mmoe": mmoe,
}
"""By the word of the key `sharing`; a number after it is the argument that follows the tasks."""


def _mostly_own(count: int) -> nn.Parameter:
    other = (1 - OWN) / (count - 1)
    return nn.Parameter(torch.full((count, count), other).fill_diagonal_(OWN))


def _weighted(weights: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The sum of equal-shaped tensors, each times its weight."""
    total = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        total = total + weight * part
    return total
