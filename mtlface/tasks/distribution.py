"""A number with a probability for each of its values: ages as ranks, classes or bells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from mtlface.errors import MtlfaceError
from mtlface.tasks.distributions import FEWEST, MOST, Distribution, count_of, expectation, variance
from mtlface.tasks.metrics import LogLikelihood, RankConsistency
from mtlface.tasks.number import NumberTask
from mtlface.tasks.prediction import Prediction
from mtlface.tasks.task import Batch


class DistributionTask(NumberTask):
    """One number by a distribution over the whole units of its label's range (years: 0 … 116).

    Besides a number's metrics it has `nll`, the mean −ln p of the true value, and where the outputs
    are ranks `rank_consistency`, the share of images whose P(y > k) never rise with k.

    Args:
        loss: What the outputs mean, and how they are taught.
        kwargs: As for `Task`.

    Raises:
        MtlfaceError: The label's range is not of 3 to 1000 whole units, or `loss` is none of
            `mtlface.tasks.distributions`.
    """

    def __init__(self, *, loss: Distribution, **kwargs: Any) -> None:
        if not isinstance(loss, Distribution):
            raise MtlfaceError(
                f"Task '{kwargs['name']}' learns a distribution, and its loss should be one of "
                "Coral, Corn, CrossEntropy, LabelDistribution and MeanVariance of mtlface.tasks. "
                f"Found {type(loss).__name__}: take task=age for a loss of one output."
            )
        super().__init__(loss=loss, **kwargs)

    @property
    def distribution(self) -> Distribution:
        """What the outputs mean."""
        found: Distribution = self.criterion  # type: ignore[assignment]
        return found

    @property
    def values(self) -> int:
        """K, the number of values."""
        found = count_of(self.label.low, self.label.high)
        if found is None:
            unit = self.label.unit or "unit"
            raise MtlfaceError(
                f"Task '{self.name}' learns a probability for each whole {unit} of "
                f"'{self.label.name}', which goes from {self.label.low:g} to "
                f"{self.label.high:g}: expected {FEWEST} to {MOST} whole values. Take a task of "
                "one output, such as task=age."
            )
        return found

    @property
    @override
    def outputs(self) -> int:
        return self.distribution.outputs(self.values)

    @override
    def value(self, output: Tensor) -> Tensor:
        return self.distribution.position(output) + self.label.low

    @override
    def explained(self, output: Tensor) -> Tensor:
        # The expectation, because a count of ranks has no gradient.
        return expectation(self.distribution.probabilities(output))

    @property
    @override
    def explains(self) -> str:
        return f"the expected {self.label.name}"

    def std(self, output: Tensor) -> Tensor:
        """Raw outputs (B, outputs) to the distribution's standard deviation (B,), in units."""
        return variance(self.distribution.probabilities(output)).clamp(min=0).sqrt()

    def _positions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        mask = target.isfinite()
        return torch.where(mask, target - self.label.low, 0.0), mask

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target, known = self._positions(batch)
        losses, counted = self.distribution(output, target)
        return losses, known if counted is None else counted & known[:, None]

    @override
    def losses(self, output: Tensor, batch: Batch, whole: bool = False) -> tuple[Tensor, Tensor]:
        # That every image has the label does not mean that each of its losses counts.
        return super().losses(output, batch, whole and not self.distribution.ordinal)

    @override
    def metrics(self) -> MetricCollection:
        more: dict[str, Any] = {"nll": LogLikelihood()}
        if self.distribution.ordinal:
            more["rank_consistency"] = RankConsistency()
        return MetricCollection({**dict(super().metrics().items()), **more})

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        target, known = self._positions(batch)
        probabilities = self.distribution.probabilities(output)
        at_truth = probabilities.gather(1, target.round().long()[:, None])[:, 0]
        numbers = (self.value(output)[known], batch[self.label.name][known])
        views = {
            "nll": (at_truth[known],),
            "rank_consistency": (self.distribution.exceedance(output)[known],),
        }
        for name, metric in metrics.items():
            metric.update(*views.get(name, numbers))

    @override
    def constant(self, batch: Batch) -> Tensor:
        target, known = self._positions(batch)
        middle = torch.full((1,), (self.values - 1) / 2, device=target.device)
        return self.distribution.constant(target[known] if known.any() else middle, self.values)

    @override
    def spread(self, batch: Batch) -> Tensor:
        return torch.ones(1, device=batch[self.label.name].device)  # logits

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        return self.distribution.combined(outputs.float())

    @override
    def probabilities(self, output: Tensor) -> Tensor:
        return self.distribution.probabilities(output)

    @override
    def positions(self, batch: Batch) -> Tensor:
        target, known = self._positions(batch)
        return torch.where(known, target.round().long(), -1)

    @override
    def doubt(self, output: Tensor) -> Tensor:
        return self.std(output)

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        return {
            **super().columns(output, size),
            f"{self.label.name}_std": self.std(output).cpu().numpy(),
        }

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name, f"{self.label.name}_std")

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        name, unit = self.label.name, self.label.unit
        std = float(row[f"{name}_std"])
        return Prediction(f"{name} {row[name]:.0f} ± {std:.0f} {unit}".rstrip(), std=std)

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        probabilities = self.distribution.probabilities(output)
        return {**super().exported(output), f"{self.label.name}_probabilities": probabilities}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        label = self.label
        return {
            **super().described(),
            f"{label.name}_probabilities": {
                "kind": "distribution",
                "shape": ["batch", self.values],
                "unit": label.unit,
                "range": [label.low, label.high],
                "meaning": f"probability of each whole {label.unit or 'unit'} from {label.low:g} "
                f"to {label.high:g}",
            },
        }
