"""Yes or no: gender, or any single attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from mtlface.tasks.auroc import CODES, DefinedAUROC
from mtlface.tasks.class_weights import class_weights as weights_of
from mtlface.tasks.evidence import Evidence, Rankings, confusion
from mtlface.tasks.metrics import without_zero_by_zero
from mtlface.tasks.prediction import (
    Prediction,
    Remark,
    class_prediction,
    class_remarks,
    sets_of,
)
from mtlface.tasks.task import Batch, Task, names_of, unlikeliness, where_labelled


class BinaryTask(Task[Binary]):
    """Binary classification with a logit for the positive class.

    Args:
        logits: 1, or 2 for a head that has an output for each class; the logit is then their
            difference, so that binary cross-entropy equals the two-class cross-entropy.
        class_weights: `balanced`: the rarer class counts as much as the other one, by their
            frequencies in the training split; None: all images count alike.
        kwargs: As for `Task`; `loss` takes (logit, target in 0/1).
    """

    label_type = Binary
    yes_no = True
    default_primary = "accuracy"

    def __init__(self, *, logits: int = 1, class_weights: str | None = None, **kwargs: Any) -> None:
        self.logits = logits
        super().__init__(**kwargs)
        self.class_weights = weights_of(class_weights, self.name, 2)

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
        loss: Tensor = self.criterion(self.logit(output), target.clamp(min=0).float())
        return loss if self.class_weights is None else self.class_weights(loss, target), target >= 0

    @override
    def initialise(self, batch: Batch) -> None:
        super().initialise(batch)
        if self.class_weights is not None:
            self.class_weights.learn(batch[self.label.name])

    @override
    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(**CODES),
                "precision": BinaryPrecision(**CODES),
                "recall": BinaryRecall(**CODES),
                "f1": BinaryF1Score(**CODES),
                "f1_macro": MulticlassF1Score(2, average="macro", **CODES),
                "auroc": DefinedAUROC(),
                "confusion": BinaryConfusionMatrix(**CODES),
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

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        members = torch.stack([self.logit(output) for output in outputs])
        # In float64, and with both sides, or sure members would be infinitely sure together.
        yes, no = (side.double().sigmoid().mean(dim=0) for side in (members, -members))
        logit = (yes.log() - no.log()).float()
        return torch.stack((-logit / 2, logit / 2), dim=1) if self.logits == 2 else logit[:, None]

    @override
    def probabilities(self, output: Tensor) -> Tensor:
        logit = self.logit(output)
        return torch.stack(((-logit).sigmoid(), logit.sigmoid()), dim=1)

    @override
    def explained(self, output: Tensor) -> Tensor:
        logit = self.logit(output)
        return torch.where(logit > 0, logit, -logit)  # |logit|, with a gradient at 0 too

    @property
    @override
    def explains(self) -> str:
        return "the logit of its answer"

    @override
    def doubt(self, output: Tensor) -> Tensor:
        return (-self.logit(output).abs()).sigmoid()

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

    def _answer_probability(self, row: Mapping[Any, Any]) -> float:
        """The probability of the class that the row names; the column is that of the second."""
        probability = float(row[f"{self.label.name}_probability"])
        return 1 - probability if row[self.label.name] == self.label.classes[0] else probability

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        return class_prediction(row, self.label.name, self._answer_probability(row))

    @override
    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        return class_remarks(row, self.label.name, self._answer_probability(row))

    @override
    def evidence(self, columns: Mapping[str, np.ndarray]) -> Iterator[Evidence]:
        name, (negative, positive) = self.label.name, self.label.classes
        truth = columns[f"{name}_true"]
        if (found := confusion((negative, positive), truth, columns[name])) is not None:
            yield found
        known = np.isin(truth, (negative, positive))
        scores = np.asarray(columns[f"{name}_probability"], dtype=float)[known]
        is_positive = np.asarray(truth)[known] == positive
        yield Rankings(len(scores), {f"{positive} against {negative}": (scores, is_positive)})

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        return {f"{self.label.name}_probability": self.logit(output).sigmoid()}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        return {
            f"{self.label.name}_probability": {
                "kind": "binary",
                "shape": ["batch"],
                "classes": list(self.label.classes),
                "meaning": "probability of the second class; above 0.5 it is the answer",
            }
        }

    @property
    @override
    def positive(self) -> str:
        return self.label.classes[1]
