"""Who it is: an embedding, and a class for each person known in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from typing_extensions import override

from mtlface.data.schema import Category, Labels
from mtlface.errors import MtlfaceError
from mtlface.tasks.auroc import CODES, MISSING
from mtlface.tasks.category import CategoryTask
from mtlface.tasks.gallery import (
    GalleryTop1,
    VerificationAUC,
    query_hits,
    verification_values,
)
from mtlface.tasks.task import Batch

# The labels that matching needs, where the data has them: who it is even if training knows nobody
# of that name, and which pictures are clean.
PERSON, CONDITION, CLEAN = "person", "condition", "clear"


class IdentityTask(CategoryTask):
    """Identification by softmax over the people known in training, and by matching.

    The head gives an embedding; a classifier turns it into a logit a person.

    Metrics: `top1` and `f1_macro` are of the classifier and count pictures of people known in
    training. Where the data has the label `person`, `gallery_top1` and `verification_auc` match
    embeddings with a gallery, see `mtlface.tasks.gallery`: the only ones that a split of strangers
    has. So `gallery_top1` is the primary metric of data with people whom training does not know,
    and `top1` that of all others.

    Args:
        embedding: E, the length of the embedding; by default that of the shared features.
        margin: Builds a large-margin softmax loss of pytorch-metric-learning from (num_classes,
            embedding_size), such as its `ArcFaceLoss` or `CosFaceLoss`; by default a linear
            classifier with cross-entropy.
        kwargs: As for `CategoryTask`.

    Raises:
        MtlfaceError: `start_at_mean` is set: an embedding has no mean.
    """

    default_primary = "top1"

    def __init__(
        self,
        *,
        in_features: int,
        labels: Labels,
        embedding: int | None = None,
        margin: Callable[..., nn.Module] | None = None,
        primary: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.embedding = embedding or in_features
        if kwargs.get("start_at_mean"):
            raise MtlfaceError(
                f"Task '{kwargs['name']}' has start_at_mean=true, but its head gives an embedding, "
                "which has no mean to start at. Take start_at_mean=false."
            )
        super().__init__(in_features=in_features, labels=labels, primary=primary, **kwargs)
        classes = len(self.label.classes)
        self.people, self.conditions = _category(labels, PERSON), _category(labels, CONDITION)
        if primary is None and self.people and set(self.people.classes) - set(self.label.classes):
            self.primary = "gallery_top1"
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

    @property
    @override
    def batch_labels(self) -> tuple[str, ...]:
        matched = [label.name for label in (self.people, self.conditions) if label]
        return (self.label.name, *(matched if self.people else ()))

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Shared features (B, D) to logits and embedding side by side, (B, C + E)."""
        embedding = self.head(features)
        if self.classifier is None:
            with _full_precision(embedding):
                logits = self.margin.get_logits(embedding.float())
        else:
            logits = self.classifier(embedding)
        return torch.cat((logits.float(), embedding.float()), dim=1)

    def split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs (B, C + E) to logits (B, C) and embeddings (B, E)."""
        classes = len(self.label.classes)
        return output[:, :classes], output[:, classes:]

    @override
    def logits(self, output: Tensor) -> Tensor:
        return self.split(output)[0]

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        embeddings = torch.stack([self.split(output)[1] for output in outputs]).float()
        together = functional.normalize(embeddings, dim=2).mean(dim=0)
        return torch.cat((super().combined(outputs), together), dim=1)

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.margin is None:
            return super().elements(output, batch)
        target, (_, embedding) = batch[self.label.name], self.split(output)
        with _full_precision(embedding):
            loss = self._margin_loss(embedding, target.clamp(min=0))
        return loss if self.class_weights is None else self.class_weights(loss, target), target >= 0

    def _margin_loss(self, embedding: Tensor, target: Tensor) -> Tensor:
        """The margin's loss of each image (B,): the library's own picks its targets by masks.

        For a mask the host waits for the device, three times a step.
        """
        margin = self.margin
        cosines = margin.get_cosine(embedding)  # (B, C)
        own = cosines.gather(1, target[:, None])
        change = margin.modify_cosine_of_target_classes(own[:, 0])[:, None] - own
        logits = margin.scale_logits(cosines.scatter_add(1, target[:, None], change), embedding)
        loss: Tensor = functional.cross_entropy(logits, target, reduction="none")
        return loss

    @override
    def metrics(self) -> MetricCollection:
        classes = len(self.label.classes)
        found: dict[str, Any] = {
            "top1": MulticlassAccuracy(classes, average="micro", **CODES),
            "f1_macro": MulticlassF1Score(classes, average="macro", **CODES),
            "known": SumMetric(nan_strategy="disable"),
        }
        if self.people:
            found |= {"gallery_top1": GalleryTop1(), "verification_auc": VerificationAUC()}
        return MetricCollection(found)

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        target = batch[self.label.name]
        logits, embedding = self.split(output)
        matched = {}
        if self.people:
            matched = {"person": batch[self.people.name], "clean": self._clean(batch)}
        # Each metric takes the arguments that it has.
        metrics.update(
            preds=logits, target=target, value=(target >= 0).float(), embedding=embedding, **matched
        )

    @override
    def of_group(
        self, output: Tensor, batch: Batch, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A group's pictures, and the whole gallery for them to be matched with."""
        if self.people is None:
            return super().of_group(output, batch, rows)
        rest = torch.ones(len(output), dtype=torch.bool)
        rest[rows] = False
        gallery = torch.nonzero(rest & (self._clean(batch) == 1))[:, 0]
        output, part = super().of_group(output, batch, torch.cat((rows, gallery)))
        identity = part[self.label.name].clone()
        identity[len(rows) :] = MISSING  # so that the classifier's metrics are the group's own
        return output, {**part, self.label.name: identity}

    def _clean(self, batch: Batch) -> Tensor:
        """1 for pictures of the gallery, 0 for others, −1 where the data does not say: (B,)."""
        if self.conditions is None or CLEAN not in self.conditions.classes:
            return torch.full_like(batch[self.label.name], MISSING)
        return (batch[CONDITION] == self.conditions.classes.index(CLEAN)).long()

    @override
    def scalars(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {name: value for name, value in computed.items() if value.ndim == 0}
        # Where nobody is known, torchmetrics counts 0 of 0 as 0.
        measured = found.pop("known") > 0
        return found | {
            name: torch.where(measured, found[name], torch.nan) for name in ("top1", "f1_macro")
        }

    @override
    def constant(self, batch: Batch) -> Tensor:
        prior = super().constant(batch)
        return torch.cat((prior, prior.new_zeros(self.embedding)))

    @override
    def image_metrics(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        if self.people is None:
            return {}
        matched = self.split(output)[1], batch[self.people.name], self._clean(batch)
        found = {"gallery_top1": query_hits(*matched)}
        if self.primary == "verification_auc":
            found["verification_auc"] = verification_values(*matched)
        return found

    @property
    @override
    def explains(self) -> str:
        # With a margin the logit is the scaled cosine to that person's weights, else the product.
        return "the likeness to the person it names"

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        embedding = self.split(output)[1]
        return super().exported(output) | {f"{self.label.name}_embedding": embedding}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        return super().described() | {
            f"{self.label.name}_embedding": {
                "kind": "embedding",
                "shape": ["batch", self.embedding],
                "meaning": "compare two faces by the cosine of their embeddings",
            }
        }


def _category(labels: Labels, name: str) -> Category | None:
    label = labels.find(name, Category)
    return label if label is not None and label.classes else None


def _full_precision(embedding: Tensor) -> torch.autocast:
    """Margins are small angles: the three digits of bfloat16 do not hold them."""
    return torch.autocast(embedding.device.type, enabled=False)
