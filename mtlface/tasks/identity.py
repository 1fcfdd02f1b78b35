"""Who it is: an embedding, and a class for each person known in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from typing_extensions import override

from mtlface.data.schema import Category
from mtlface.tasks.task import Batch, Task, names_of, where_labelled


class IdentityTask(Task[Category]):
    """Closed-set identification by softmax over the people known in training.

    The head gives an embedding; a classifier turns it into a logit a person.

    Args:
        embedding: E, the length of the embedding; by default that of the shared features.
        margin: Builds a classification loss with weights of its own from (num_classes,
            embedding_size), such as pytorch-metric-learning's `ArcFaceLoss` or `CosFaceLoss`; by
            default a linear classifier with cross-entropy.
        kwargs: As for `Task`; `loss` takes (logits (B, C), classes (B,)).
    """

    label_type = Category
    default_primary = "top1"

    def __init__(
        self,
        *,
        in_features: int,
        embedding: int | None = None,
        margin: Callable[..., nn.Module] | None = None,
        **kwargs: Any,
    ) -> None:
        self.embedding = embedding or in_features
        super().__init__(in_features=in_features, **kwargs)
        classes = len(self.label.classes)
        self.classifier: nn.Module | None = None
        self.margin: Any = None
        if margin is None:
            self.classifier = nn.Linear(self.embedding, classes)
        else:
            self.margin = margin(num_classes=classes, embedding_size=self.embedding)

    @property
    @override
    def outputs(self) -> int:
        return self.embedding

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Shared features (B, D) to logits and embedding side by side, (B, C + E)."""
        embedding = self.head(features)
        if self.classifier is None:
            logits = self.margin.get_logits(embedding.float())
        else:
            logits = self.classifier(embedding)
        return torch.cat((logits.float(), embedding.float()), dim=1)

    def split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs (B, C + E) to logits (B, C) and embeddings (B, E)."""
        classes = len(self.label.classes)
        return output[:, :classes], output[:, classes:]

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        mask = target >= 0
        logits, embedding = self.split(output)
        if self.margin is None:
            return self.criterion(logits, target.clamp(min=0)), mask
        # The margin losses of the library take the mean by themselves and know no mask.
        loss = self.margin(embedding[mask], target[mask]) if mask.any() else output.sum() * 0.0
        return loss.expand(len(target)), mask

    @override
    def metrics(self) -> MetricCollection:
        classes = len(self.label.classes)
        return MetricCollection(
            {
                "top1": MulticlassAccuracy(classes, average="micro"),
                "f1_macro": MulticlassF1Score(classes, average="macro"),
            }
        )

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        target = batch[self.label.name]
        mask = target >= 0
        metrics.update(self.split(output)[0][mask], target[mask])

    @override
    def constant(self, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        counts = torch.bincount(target[target >= 0], minlength=len(self.label.classes))
        prior = (counts.float() / counts.sum().clamp(min=1)).clamp(min=1e-8).log()
        return torch.cat((prior, prior.new_zeros(self.embedding)))

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        probability, found = self.split(output)[0].softmax(dim=1).max(dim=1)
        name, name_probability = self.prediction_columns
        return {
            name: names_of(self.label.classes, found),
            name_probability: probability.cpu().numpy(),
        }

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        codes = batch[self.label.name]
        return {f"{self.label.name}_true": names_of(self.label.classes, codes)}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        wrong = self.split(output)[0].argmax(dim=1) != target
        return where_labelled(wrong, target >= 0)

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return (self.label.name, f"{self.label.name}_probability")
