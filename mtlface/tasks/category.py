"""One of several classes: ancestry, expression, pose, age group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from typing_extensions import override

from mtlface.data.schema import Category
from mtlface.errors import MtlfaceError
from mtlface.tasks.auroc import CODES
from mtlface.tasks.calibration import BINS
from mtlface.tasks.class_weights import class_weights as weights_of
from mtlface.tasks.evidence import Evidence, confusion
from mtlface.tasks.prediction import (
    TRUE,
    Prediction,
    Remark,
    class_prediction,
    class_remarks,
    sets_of,
)
from mtlface.tasks.task import Batch, Task, names_of, unlikeliness, where_labelled


class CategoryTask(Task[Category]):
    """Classification by softmax, with a logit a class.

    Metrics: `accuracy`; `f1_macro`, the mean over the classes that occur; `top<k>`, the share of
    images whose class is among the k likeliest, where there are more than k classes; `ece`, the
    expected calibration error of the answer's probability (15 bins, L1).

    Args:
        top_k: k of `top<k>`.
        class_weights: `balanced`: rare classes count as much as common ones, by their frequencies
            in the training split; None: all images count alike.
        kwargs: As for `Task`; `loss` takes (logits (B, C), classes (B,)).

    Raises:
        MtlfaceError: The label has fewer than two classes, or a setting is not possible.
    """

    label_type = Category
    default_primary = "accuracy"

    def __init__(self, *, top_k: int = 3, class_weights: str | None = None, **kwargs: Any) -> None:
        self.top_k = top_k
        super().__init__(**kwargs)
        if len(self.label.classes) < 2:
            raise MtlfaceError(
                f"Task '{self.name}' needs two classes or more, but the label '{self.label.name}' "
                f"of this data has {len(self.label.classes)}. Take another label or other data."
            )
        if top_k < 2:
            raise MtlfaceError(
                f"tasks.{self.name}.top_k={top_k}: expected 2 or more; top 1 is the accuracy."
            )
        self.class_weights = weights_of(class_weights, self.name, len(self.label.classes))

    @property
    @override
    def outputs(self) -> int:
        return len(self.label.classes)

    def logits(self, output: Tensor) -> Tensor:
        """Raw outputs (B, …) to a logit a class (B, C), float32."""
        return output.float()

    @override
    def initialise(self, batch: Batch) -> None:
        super().initialise(batch)
        if self.class_weights is not None:
            self.class_weights.learn(batch[self.label.name])

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        loss: Tensor = self.criterion(self.logits(output), target.clamp(min=0))
        return loss if self.class_weights is None else self.class_weights(loss, target), target >= 0

    @override
    def metrics(self) -> MetricCollection:
        classes = len(self.label.classes)
        common: dict[str, Any] = {"num_classes": classes, **CODES}
        found: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(average="micro", **common),
            "f1_macro": MulticlassF1Score(average="macro", **common),
            "ece": MulticlassCalibrationError(n_bins=BINS, norm="l1", **common),
            "confusion": MulticlassConfusionMatrix(**common),
        }
        if classes > self.top_k:
            top = MulticlassAccuracy(average="micro", top_k=self.top_k, **common)
            found[f"top{self.top_k}"] = top
        return MetricCollection(found)

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        # Probabilities, because torchmetrics takes logits that happen to be in 0..1 for some.
        metrics.update(self.logits(output).softmax(dim=1), batch[self.label.name])

    @override
    def scalars(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # Where nothing is labelled, torchmetrics counts 0 of 0 as 0.
        labelled = computed["confusion"].sum() > 0
        found = super().scalars(computed)
        return {name: torch.where(labelled, value, torch.nan) for name, value in found.items()}

    @override
    def constant(self, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        counts = torch.bincount(target[target >= 0], minlength=len(self.label.classes))
        prior = counts.float() / counts.sum().clamp(min=1)
        return prior.clamp(min=1e-8).log()

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        probability, found = self.logits(output).softmax(dim=1).max(dim=1)
        name, name_probability = self.prediction_columns
        return {
            name: names_of(self.label.classes, found),
            name_probability: probability.cpu().numpy(),
        }

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        codes = batch[self.label.name]
        return {self.label.name + TRUE: names_of(self.label.classes, codes)}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        return where_labelled(self.logits(output).argmax(dim=1) != target, target >= 0)

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        logits = torch.stack([self.logits(output) for output in outputs])
        likely = logits.double().log_softmax(dim=2)
        return (likely.logsumexp(dim=0) - math.log(len(outputs))).float()

    @override
    def probabilities(self, output: Tensor) -> Tensor:
        return self.logits(output).softmax(dim=1)

    @override
    def explained(self, output: Tensor) -> Tensor:
        return self.logits(output).max(dim=1).values

    @property
    @override
    def explains(self) -> str:
        return "the logit of its answer"

    @override
    def doubt(self, output: Tensor) -> Tensor:
        return 1 - self.probabilities(output).max(dim=1).values

    @override
    def nonconformity(self, output: Tensor, batch: Batch) -> Tensor:
        return unlikeliness(self.probabilities(output), self.positions(batch))

    @override
    def region(
        self, output: Tensor, size: Tensor, quantile: float
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        found = sets_of(self.label.classes, self.probabilities(output).cpu().numpy(), quantile)
        return {f"{self.label.name}_set": found[0]}, found[1]

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name, f"{self.label.name}_probability")

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        name, probability = self.prediction_columns
        return class_prediction(row, name, float(row[probability]))

    @override
    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        name, probability = self.prediction_columns
        return class_remarks(row, name, float(row[probability]))

    @override
    def evidence(self, columns: Mapping[str, np.ndarray]) -> Iterator[Evidence]:
        name = self.label.name
        found = confusion(self.label.classes, columns[name + TRUE], columns[name])
        if found is not None:
            yield found

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        return {f"{self.label.name}_probability": self.logits(output).softmax(dim=1)}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        classes = list(self.label.classes)
        return {
            f"{self.label.name}_probability": {
                "kind": "category",
                "shape": ["batch", len(classes)],
                "classes": classes,
                "meaning": "probability of each class; the largest is the answer",
            }
        }
