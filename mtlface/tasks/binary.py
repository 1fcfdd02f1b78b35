"""Yes or no: gender, or any single attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryConfusionMatrix,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    MulticlassF1Score,
)
from typing_extensions import override

from mtlface.data.schema import Binary
from mtlface.tasks.auroc import MISSING, DefinedAUROC
from mtlface.tasks.metrics import without_zero_by_zero
from mtlface.tasks.task import Batch, Task, names_of, where_labelled


class BinaryTask(Task[Binary]):
    """Binary classification with a logit for the positive class.

    Args:
        logits: 1, or 2 for a head that has an output for each class; the logit is then their
            difference, so that binary cross-entropy equals the two-class cross-entropy.
        kwargs: As for `Task`; `loss` takes (logit, target in 0/1).
    """

    label_type = Binary
    default_primary = "accuracy"

    def __init__(self, *, logits: int = 1, **kwargs: Any) -> None:
        self.logits = logits
        super().__init__(**kwargs)

    @property
    @override
    def outputs(self) -> int:
        return self.logits

    def logit(self, output: Tensor) -> Tensor:
        """Raw output (B, 1 or 2) to the logit of the positive class (B,), float32."""
        output = output.float()
        return output[:, -1] - output[:, 0] if self.logits == 2 else output[:, 0]

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        loss = self.criterion(self.logit(output), target.clamp(min=0).float())
        return loss, target >= 0

    @override
    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(ignore_index=MISSING),
                "precision": BinaryPrecision(ignore_index=MISSING),
                "recall": BinaryRecall(ignore_index=MISSING),
                "f1": BinaryF1Score(ignore_index=MISSING),
                "f1_macro": MulticlassF1Score(2, average="macro", ignore_index=MISSING),
                "auroc": DefinedAUROC(),
                "confusion": BinaryConfusionMatrix(ignore_index=MISSING),
            }
        )

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        logit = self.logit(output)
        # Each metric takes the arguments that it has.
        metrics.update(preds=(logit > 0).long(), score=logit, target=batch[self.label.name])

    @override
    def scalars(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return without_zero_by_zero(super().scalars(computed), computed["confusion"])

    @override
    def constant(self, batch: Batch) -> Tensor:
        targets = batch[self.label.name]
        share = targets[targets >= 0].float().mean().clamp(1e-4, 1 - 1e-4).nan_to_num(0.5)
        logit = share.logit()
        return torch.stack((-logit / 2, logit / 2)) if self.logits == 2 else logit[None]

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        logit = self.logit(output)
        name, name_probability = self.prediction_columns
        return {
            name: names_of(self.label.classes, (logit > 0).long()),
            # In float64, or sure answers would tie.
            name_probability: logit.cpu().double().sigmoid().numpy(),
        }

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        codes = batch[self.label.name]
        return {f"{self.label.name}_true": names_of(self.label.classes, codes)}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        return where_labelled((self.logit(output) > 0).long() != target, target >= 0)

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name, f"{self.label.name}_probability")
