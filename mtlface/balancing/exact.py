"""MGDA, FairGrad and Nash-MTL as torchjd's aggregators, with solvers that do not stop early.

torchjd's own MGDA takes a fixed number of Frank-Wolfe steps, which leaves a duality gap as large
as the step at forty tasks; its FairGrad and Nash-MTL return their start values for gradients far
from 1, which batch means at the features are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchjd.aggregation import GramianWeightedAggregator, Weighting
from torchjd.linalg import PSDMatrix

from mtlface.balancing.solvers import Vector, fair, min_norm


class _Solved(Weighting[PSDMatrix]):
    """Weights that are the solution of a problem on the Gramian, in float64."""

    def __init__(self, solve: Callable[[Vector], Vector]) -> None:
        super().__init__()
        self.solve = solve

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        found = self.solve(gramian.detach().cpu().double().numpy())
        return torch.as_tensor(found, dtype=gramian.dtype, device=gramian.device)


class MGDAWeighting(_Solved):
    """The weights of `MGDA`, for methods that build on them (CR-MOGM)."""

    def __init__(self) -> None:
        super().__init__(min_norm)


class MGDA(GramianWeightedAggregator):
    r"""The shortest vector in the convex hull of the task gradients (Désidéri 2012).

    .. math:: \min_w \lVert J^\top w \rVert \quad \text{subject to } w \succeq 0, \sum_i w_i = 1

    Example:
        >>> MGDA()(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([0.4000, 0.8000])
    """

    def __init__(self) -> None:
        super().__init__(MGDAWeighting())


class FairGrad(GramianWeightedAggregator):
    r"""α-fair weights (Ban & Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024).

    They solve :math:`J J^\top w = w^{-1/\alpha}`; α = 0 is the mean gradient.

    Args:
        alpha: 0 is the mean, 1 Nash bargaining, a large number serves the worst task first.

    Raises:
        ValueError: `alpha` is negative.
    """

    def __init__(self, alpha: float) -> None:
        if alpha < 0:
            raise ValueError(f"alpha should be 0 or more. Found alpha = {alpha}.")
        self.alpha = alpha
        super().__init__(_Solved(self._weights))

    def _weights(self, gramian: Vector) -> Vector:
        if self.alpha == 0:
            return np.full(len(gramian), 1 / len(gramian))
        return fair(gramian, self.alpha)


class NashMTL(GramianWeightedAggregator):
    r"""The Nash bargaining solution (Navon et al., ICML 2022, arXiv:2202.01017).

    The weights solve :math:`J J^\top w = 1 / w`, a problem that its authors approach by a sequence
    of convex programmes and that Newton's method solves at once.

    Args:
        max_norm: Largest norm of the weighted gradient, which is √T without a bound; 0 for none.

    Raises:
        ValueError: `max_norm` is negative.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        if max_norm < 0:
            raise ValueError(f"max_norm should be 0 or more. Found max_norm = {max_norm}.")
        self.max_norm = max_norm
        super().__init__(_Solved(self._weights))

    def _weights(self, gramian: Vector) -> Vector:
        weights = fair(gramian, 1.0)
        norm = float(np.sqrt(weights @ gramian @ weights))
        return weights * (self.max_norm / norm) if norm > self.max_norm > 0 else weights
