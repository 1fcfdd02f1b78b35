"""One torchjd aggregator for every set of tasks that batches bring."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mtlface.balancing.build import build
from mtlface.balancing.jacobian import gramian
from mtlface.balancing.randomness import StepRandomness, fixed_seed
from mtlface.balancing.spread import to_device
from mtlface.balancing.state import place, restore, snapshot
from mtlface.balancing.traits import find_traits, gramian_weights, warm_up

_CPU = torch.device("cpu")


class AggregatorBank:
    """Asks torchjd for weights, whichever tasks are present.

    Aggregators with state refuse, or forget everything, when the number of tasks changes. So every
    set of present tasks has an aggregator of its own, made at its first batch: for example one for
    batches with all labels and one for batches without ages. Constructor arguments with one value
    a task (preference vectors) are cut to the set. A task that is alone in a batch has nothing to
    be balanced against: its weight is 1.

    Weights are computed on the CPU in float32: T×T problems are bound by latency, several solvers
    work there anyway, and states need no device.

    Args:
        factory: Constructor of the aggregator.
        n_tasks: Number of tasks T.

    Attributes:
        traits: What the aggregator can do.
        fallbacks: Steps at which it gave no finite answer, so that all present tasks had weight 1:
            zero or non-finite gradients, or a solver that failed.
        solver_failures: Those of them at which the gradients were fine and the solver failed.
    """

    def __init__(self, factory: Callable[..., nn.Module], n_tasks: int) -> None:
        self._factory = factory
        self._n_tasks = n_tasks
        self._members: dict[tuple[bool, ...], nn.Module] = {}
        self._randomness = StepRandomness()
        self.traits = find_traits(lambda: build(factory, n_tasks), n_tasks)
        self.fallbacks = self.solver_failures = 0

    def weights(self, gram: Tensor, present: Tensor) -> Tensor:
        """Returns the weights of the present tasks.

        Args:
            gram: ``(m, m)`` Gramian of the m present tasks.
            present: ``(T,)`` bool on the CPU.

        Returns:
            ``(m,)`` float32 on the device of ``gram``, always finite.
        """
        if len(gram) == 1:
            return torch.ones(1, device=gram.device)
        # The one wait of a step: from here to the weights everything is on the CPU.
        return to_device(self._solved(gram.to("cpu"), present), gram.device)

    def _solved(self, matrix: Tensor, present: Tensor) -> Tensor:
        equal = torch.ones(len(matrix))
        if not bool(matrix.isfinite().all()):
            # Mixed precision skips such a step; it must not enter the method's state either.
            return self._fall_back("the task gradients are not finite", equal)
        mean_square = matrix.diagonal().mean()
        if not mean_square > 0:
            # No gradient, no information: the heads' own steps are all there is.
            return self._fall_back("all task gradients are zero", equal)
        if self.traits.scale_free:
            # torchjd's solvers take a Gramian with a trace below 1e-4 for zero, and gradients of
            # batch means at the features are that small; a free scale costs nothing to fix.
            matrix = matrix / mean_square
        matrix = matrix.float()
        member = self._member(present)
        try:
            with self._randomness.next_step(_CPU), torch.no_grad():
                found = gramian_weights(member, matrix).float()
        except Exception as error:
            # Each solver library has its own exceptions for a problem that it cannot solve; that
            # the method works in principle was tried at construction.
            self.solver_failures += 1
            return self._fall_back(f"{type(error).__name__}: {error}", equal)
        if not bool(found.isfinite().all()):
            self.solver_failures += 1
            found = self._fall_back("its weights are not finite", equal)
        return found

    def aggregate(self, jacobian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the aggregated gradient, and the weights behind it where there are any.

        Args:
            jacobian: ``(m, P)`` gradients of the m present tasks.
            present: ``(T,)`` bool on the CPU.

        Returns:
            ``(P,)`` gradient, and ``(m,)`` weights, NaN where the method has none.
        """
        if self.traits.gramian or len(jacobian) == 1:
            weights = self.weights(gramian(jacobian), present)
            return weights @ jacobian, weights
        member = self._member(present)
        place(member, jacobian.device)
        nothing = torch.full((len(jacobian),), torch.nan, device=jacobian.device)
        with self._randomness.next_step(jacobian.device), torch.no_grad():
            gradient: Tensor = member(jacobian)
        if not bool(gradient.isfinite().all()):
            ones = self._fall_back("its gradient is not finite", torch.ones_like(nothing))
            return ones @ jacobian, ones
        return gradient, nothing

    def state(self) -> dict[str, Any]:
        """Returns the state as tensors and plain data."""
        return {
            "step": self._randomness.step,
            "seed": self._randomness.seed,
            "fallbacks": self.fallbacks,
            "solver_failures": self.solver_failures,
            "members": {
                "".join(str(int(here)) for here in present): snapshot(member)
                for present, member in self._members.items()
            },
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Puts the state of `state` back."""
        self._randomness.step, self._randomness.seed = state["step"], state["seed"]
        self.fallbacks = state["fallbacks"]
        self.solver_failures = state.get("solver_failures", 0)
        self._members.clear()
        for bits, saved in state["members"].items():
            present = torch.tensor([bit == "1" for bit in bits])
            member = self._member(present)
            warm_up(member, int(present.sum()))
            restore(member, saved)

    def _member(self, present: Tensor) -> nn.Module:
        key = tuple(present.tolist())
        if key not in self._members:
            with fixed_seed(0, _CPU):
                self._members[key] = build(self._factory, self._n_tasks, present)
        return self._members[key]

    def _fall_back(self, reason: str, weights: Tensor) -> Tensor:
        self.fallbacks += 1
        warnings.warn(
            f"balancing: no weights at this step ({reason}); all present tasks count 1.",
            stacklevel=2,
        )
        return weights
