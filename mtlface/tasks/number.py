"""A number by regression: age in years."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
from typing_extensions import override

from mtlface.data.schema import Number
from mtlface.tasks.metrics import CumulativeScore
from mtlface.tasks.task import Batch, Task, spread_around


class NumberTask(Task[Number]):
    """Regression of one number in the label's own unit; evaluation clips it to its range."""

    label_type = Number
    default_primary = "mae"

    @property
    @override
    def outputs(self) -> int:
        return 1

    def value(self, output: Tensor) -> Tensor:
        """Raw output (B, 1) to the number (B,), clipped to the label's range."""
        return output.float()[:, 0].clamp(self.label.low, self.label.high)

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        mask = target.isfinite()
        # A NaN target would poison the gradient even where the mask drops its loss.
        return self.criterion(output.float()[:, 0], torch.where(mask, target, 0.0)), mask

    @override
    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "mae": MeanAbsoluteError(),
                "rmse": MeanSquaredError(squared=False),
                "cs5": CumulativeScore(threshold=5.0),
            }
        )

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        target = batch[self.label.name]
        mask = target.isfinite()
        metrics.update(self.value(output)[mask], target[mask])

    @override
    def constant(self, batch: Batch) -> Tensor:
        targets = batch[self.label.name]
        return targets.nanmean().nan_to_num((self.label.low + self.label.high) / 2)[None]

    @override
    def spread(self, batch: Batch) -> Tensor:
        return spread_around(self.constant(batch), batch[self.label.name][:, None])

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        return {self.label.name: self.value(output).cpu().numpy()}

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        return {f"{self.label.name}_true": batch[self.label.name].cpu().numpy()}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        return (self.value(output) - batch[self.label.name]).abs()

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name,)
