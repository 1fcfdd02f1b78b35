"""A number by regression: age in years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
from typing_extensions import override

from mtlface.data.schema import Number
from mtlface.tasks.evidence import Agreement, Evidence
from mtlface.tasks.metrics import CumulativeScore
from mtlface.tasks.prediction import TRUE, Prediction, Remark
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

    @override
    def explained(self, output: Tensor) -> Tensor:
        return output.float()[:, 0]  # not clipped, which would end its gradient

    @property
    @override
    def explains(self) -> str:
        return f"the {self.label.name}"

    @override
    def nonconformity(self, output: Tensor, batch: Batch) -> Tensor:
        return self.error(output, batch)

    @override
    def region(
        self, output: Tensor, size: Tensor, quantile: float
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        value = self.value(output).cpu().numpy()
        low, high = ((value + side * quantile).clip(*self.label.bounds) for side in (-1, 1))
        return {f"{self.label.name}_low": low, f"{self.label.name}_high": high}, high - low

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name,)

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        name, unit = self.label.name, self.label.unit
        return Prediction(f"{name} {row[name]:.0f} {unit}".rstrip())

    @override
    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        name = self.label.name
        truth = float(row[name + TRUE])
        known = "" if np.isnan(truth) else f", is {truth:.0f}"
        return [Remark(f"{name} {float(row[name]):.0f}{known}")]

    @override
    def evidence(self, columns: Mapping[str, np.ndarray]) -> Iterator[Evidence]:
        truth = np.asarray(columns[self.label.name + TRUE], dtype=float)
        if np.isfinite(truth).any():
            found = np.asarray(columns[self.label.name], dtype=float)
            yield Agreement(truth, found, self.label.unit)

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        return {self.label.name: self.value(output)}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        label = self.label
        return {
            label.name: {
                "kind": "number",
                "shape": ["batch"],
                "unit": label.unit,
                "range": [label.low, label.high],
                "meaning": f"{label.name} in {label.unit}",
            }
        }
