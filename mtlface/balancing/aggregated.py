"""Balancing by the task gradients, with any aggregator of torchjd."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchjd.aggregation import Aggregator
from typing_extensions import override

from mtlface.balancing.balancer import Balanced, Balancer
from mtlface.balancing.bank import AggregatorBank
from mtlface.balancing.jacobian import (
    feature_jacobian,
    gramian,
    parameter_jacobian,
)
from mtlface.balancing.ranks import gramian_over_ranks, jacobian_over_ranks
from mtlface.balancing.reroute import reroute
from mtlface.balancing.spread import rows_of, spread, spread_square
from mtlface.errors import MtlfaceError


class Aggregated(Balancer):
    """Combines the task gradients with a `torchjd.aggregation.Aggregator`.

    The trunk is trained with the combined gradient, every head with its own task's gradient, as in
    torchjd's ``mtl_backward``: weights may be 0 or negative (MGDA, IMTL-G, Aligned-MTL), and a head
    must not stop learning, or unlearn, for the sake of the trunk. The loss has the value of
    the plain sum.

    - ``level="features"``: one pass through the heads gives all gradients at the shared features;
      their T×T Gramian gives the weights; one backward pass trains the trunk with the weighted
      sum. For aggregators whose weights follow from the Gramian.
    - ``level="parameters"``: a backward pass a task through the trunk gives the full Jacobian of
      the shared parameters. Exact, and for any aggregator; memory is T times the trunk.

    Absent tasks have no row in the Jacobian. An aggregator with state keeps one state for each set
    of present tasks (`AggregatorBank`).

    Args:
        tasks: Names of the losses.
        aggregator: Constructor of the aggregator (``_partial_: true`` in a config); the number of
            tasks is passed to it if it asks for ``n_tasks``.
        level: Where gradients are compared.

    Raises:
        MtlfaceError: The aggregator cannot be built, lacks a package, does not work for T
            tasks, or needs the other level.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        aggregator: Callable[..., Aggregator],
        level: Literal["features", "parameters"] = "features",
    ) -> None:
        super().__init__(tasks)
        if level not in ("features", "parameters"):
            raise MtlfaceError(
                f"balancing.level: expected features or parameters, found {level!r}."
            )
        self.level = level
        self._bank: AggregatorBank | None = None
        if len(self.tasks) == 1:
            return
        self._bank = AggregatorBank(aggregator, len(self.tasks))
        if level == "features" and not self._bank.traits.gramian:
            raise MtlfaceError(
                f"balancing: {getattr(aggregator, 'func', aggregator).__name__} combines single "
                "entries of the parameters' gradients and has no form that needs only their inner "
                "products at the features. Set balancing.level=parameters."
            )

    @property
    @override
    def fallbacks(self) -> int:
        return 0 if self._bank is None else self._bank.fallbacks

    @property
    @override
    def solver_failures(self) -> int:
        return 0 if self._bank is None else self._bank.solver_failures

    def balance(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Combines the gradients of the present tasks."""
        assert self._bank is not None  # one task never gets here
        index = rows_of(present, losses.device)
        kept = losses.index_select(0, index)
        rows = feature_jacobian(kept, features)
        if self.level == "features":
            gram = gramian_over_ranks(gramian(rows))
            weights = self._bank.weights(gram, present)
            loss = reroute(kept.sum(), features, weights @ rows)
        else:
            jacobian = jacobian_over_ranks(parameter_jacobian(rows, features, shared))
            gram = gramian(jacobian)
            gradient, weights = self._bank.aggregate(jacobian, present)
            loss = reroute(kept.sum(), features, torch.zeros_like(rows[0]))
            loss = loss + _carrier(shared, gradient)
        return Balanced(
            loss, spread(weights, index, len(losses)), spread_square(gram, index, len(losses))
        )

    def get_extra_state(self) -> dict[str, Any]:
        """Returns the aggregators' state; they are not part of the module tree."""
        return {} if self._bank is None else self._bank.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Puts the state of `get_extra_state` back."""
        if self._bank is not None:
            self._bank.load_state(state)


def _carrier(shared: Sequence[nn.Parameter], gradient: Tensor) -> Tensor:
    """Returns a zero whose derivative by the shared parameters is ``gradient`` ``(P,)``."""
    pieces = torch.split(gradient.detach(), [p.numel() for p in shared])
    total = gradient.new_zeros(())
    for parameter, piece in zip(shared, pieces, strict=True):
        # p − p.detach() is exactly 0, so the reported loss keeps its value.
        step = (parameter - parameter.detach()).flatten()
        total = total + (step * piece).sum()
    return total
