"""What an aggregator can do, found by trying it rather than by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchjd import Stateful
from torchjd.aggregation import Aggregator, GramianWeightedAggregator, WeightedAggregator

from mtlface.balancing.randomness import fixed_seed
from mtlface.errors import MtlfaceError


@dataclass(frozen=True)
class Traits:
    """What was found out about an aggregator.

    Attributes:
        gramian: Its weights follow from the Gramian of the task gradients alone.
        scale_free: It has no state, and its weights do not change when all gradients are
            multiplied by one number.
    """

    gramian: bool
    scale_free: bool


def find_traits(make: Callable[[], nn.Module], n_tasks: int) -> Traits:
    """Tries an aggregator on random gradients.

    Args:
        make: Builds a fresh aggregator.
        n_tasks: Number of tasks T.

    Raises:
        MtlfaceError: It is not an aggregator, or it does not work for T tasks.
    """
    probe = _probe(n_tasks)
    aggregator = make()
    if not isinstance(aggregator, Aggregator):
        raise MtlfaceError(
            f"balancing: expected an aggregator, found {type(aggregator).__name__}. A weighting "
            "becomes one as the argument of torchjd.aggregation.GramianWeightedAggregator."
        )
    try:
        _call(aggregator, probe)
    except (ValueError, RuntimeError) as error:
        raise MtlfaceError(
            f"balancing: {aggregator} does not work for the {n_tasks} tasks of this run: {error}"
        ) from error
    if not isinstance(aggregator, WeightedAggregator):
        return Traits(gramian=False, scale_free=False)
    if not isinstance(aggregator, GramianWeightedAggregator):
        return Traits(gramian=_depends_on_gramian_only(make, probe), scale_free=False)
    stateful = any(isinstance(module, Stateful) for module in aggregator.modules())
    return Traits(gramian=True, scale_free=not stateful and _is_scale_free(make, probe))


def gramian_weights(aggregator: Any, gramian: Tensor) -> Tensor:
    """Asks an aggregator with the ``gramian`` trait for its weights.

    Args:
        aggregator: A `torchjd.aggregation.WeightedAggregator`.
        gramian: ``(m, m)``.

    Returns:
        ``(m,)`` weights.
    """
    if isinstance(aggregator, GramianWeightedAggregator):
        return aggregator.gramian_weighting(gramian)
    # Any matrix with this Gramian will do; its square root is small.
    values, vectors = torch.linalg.eigh(gramian)
    root = vectors * values.clamp(min=0.0).sqrt()
    weights: Tensor = aggregator.weighting(root)
    return weights


def warm_up(aggregator: nn.Module, n_tasks: int) -> None:
    """Calls an aggregator once, so that what it builds at its first call (a solver) is there."""
    _call(aggregator, _probe(n_tasks))


def _probe(n_tasks: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    # The number of columns occurs in no shape that depends on the number of tasks alone.
    return torch.randn(n_tasks, 2 * n_tasks + 3, generator=generator)


def _call(function: nn.Module, matrix: Tensor) -> Tensor:
    with fixed_seed(0, matrix.device):
        result: Tensor = function(matrix)
    return result


def _depends_on_gramian_only(make: Callable[[], nn.Module], probe: Tensor) -> bool:
    columns = probe.shape[1]
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator))
    here, there = make(), make()
    same = torch.allclose(
        _call(here.get_submodule("weighting"), probe),
        _call(there.get_submodule("weighting"), probe @ rotation),
        atol=1e-3,
    )
    # Statistics of single columns mean that the columns must be the same ones at every step.
    keeps_columns = any(columns in buffer.shape for buffer in here.buffers())
    return same and not keeps_columns


def _is_scale_free(make: Callable[[], nn.Module], probe: Tensor) -> bool:
    gramian = probe @ probe.T / probe.square().sum()
    once = _call(make().get_submodule("gramian_weighting"), gramian)
    scaled = _call(make().get_submodule("gramian_weighting"), 4.0 * gramian)
    return torch.allclose(once, scaled, atol=1e-4)
