"""Many yes/no attributes from one head: one matrix product, whatever their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MultilabelAccuracy,
    MultilabelConfusionMatrix,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)
from typing_extensions import override

from mtlface.data.schema import Multilabel
from mtlface.errors import MtlfaceError
from mtlface.tasks.auroc import MISSING, DefinedAUROC
from mtlface.tasks.losses import masked_mean
from mtlface.tasks.metrics import without_zero_by_zero
from mtlface.tasks.task import Batch, Task, count

# torchmetrics takes two labels or more: a single attribute is measured beside an unlabelled one.
FEWEST = 2
# The metrics that are reported for each attribute too.
EACH = ("accuracy", "f1")


class MultilabelTask(Task[Multilabel]):
    """K binary attributes; metrics are means of the binary ones over the attributes.

    An attribute for which a metric is 0/0 is left out of its mean: one that no picture is labelled
    with of all, one that is never found of precision's, one that nobody has of recall's, and one
    that all pictures have in common of AUROC's.

    Args:
        per_attribute: Whether each attribute is a loss of its own to the balancer, as in the
            CelebA-40 benchmark, rather than their mean one loss.
        kwargs: As for `Task`; `loss` takes (logits, targets in 0/1), both (B, K).
    """

    label_type = Multilabel
    default_primary = "accuracy"

    def __init__(self, *, per_attribute: bool = False, **kwargs: Any) -> None:
        self.per_attribute = per_attribute
        super().__init__(**kwargs)
        if not self.label.names:
            raise MtlfaceError(
                f"Task '{self.name}' has no attribute to learn: data.attributes names none. "
                "Name some, for example data.attributes=[Smiling,Eyeglasses]."
            )

    @property
    @override
    def outputs(self) -> int:
        return len(self.label.names)

    @property
    @override
    def loss_names(self) -> tuple[str, ...]:
        return self.label.names if self.per_attribute else (self.name,)

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch[self.label.name]
        loss = self.criterion(output.float(), target.clamp(min=0).float())
        return loss, target >= 0

    @override
    def losses(self, output: Tensor, batch: Batch, whole: bool = False) -> tuple[Tensor, Tensor]:
        if not self.per_attribute:
            return super().losses(output, batch, whole)
        values, mask = self.elements(output, batch)
        if whole:
            return self.weight * values.mean(dim=0), count(len(mask), mask.shape[1], mask)
        return self.weight * masked_mean(values, mask, dim=0), mask.sum(dim=0)

    @override
    def metrics(self) -> MetricCollection:
        labels = max(self.outputs, FEWEST)
        common: dict[str, Any] = {
            "num_labels": labels,
            "ignore_index": MISSING,
            "average": None,
        }
        return MetricCollection(
            {
                "accuracy": MultilabelAccuracy(**common),
                "precision": MultilabelPrecision(**common),
                "recall": MultilabelRecall(**common),
                "f1": MultilabelF1Score(**common),
                "auroc": DefinedAUROC(),
                "confusion": MultilabelConfusionMatrix(labels, ignore_index=MISSING),
            }
        )

    @override
    def scalars(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {name: values for name, values in computed.items() if values.ndim == 1}
        found = without_zero_by_zero(found, computed["confusion"])
        each = {
            f"{metric}/{name}": found[metric][k]
            for metric in EACH
            for k, name in enumerate(self.label.names)
        }
        return {name: values.nanmean() for name, values in found.items()} | each

    @property
    @override
    def directions(self) -> dict[str, bool]:
        each = {f"{metric}/{name}": True for metric in EACH for name in self.label.names}
        return super().directions | each

    @property
    @override
    def parts(self) -> tuple[str, ...]:
        return self.label.names if self.per_attribute else (self.name,)

    @override
    def results(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().results(computed)
        return found | {key: found[whole] for key, whole in self._of_parts().items()}

    @property
    @override
    def result_directions(self) -> dict[str, bool]:
        found = super().result_directions
        return found | {key: found[whole] for key, whole in self._of_parts().items()}

    def _of_parts(self) -> dict[str, str]:
        """The results of an attribute that counts as a task, and where the head has them."""
        return {
            f"{part}/{metric}": f"{self.name}/{metric}/{part}"
            for part in self.parts
            if part != self.name
            for metric in EACH
        }

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        unlabelled = (0, max(0, FEWEST - self.outputs))
        target = functional.pad(batch[self.label.name], unlabelled, value=MISSING)
        logit = functional.pad(output.float(), unlabelled)
        metrics.update(preds=(logit > 0).long(), score=logit, target=target)

    @override
    def constant(self, batch: Batch) -> Tensor:
        targets = batch[self.label.name]
        mask = targets >= 0
        share = (targets * mask).sum(dim=0) / mask.sum(dim=0).clamp(min=1)
        return share.float().clamp(1e-4, 1 - 1e-4).logit()

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        logit = output.cpu().double()  # or sure answers would tie
        decided, probability = (logit > 0).long().numpy(), logit.sigmoid().numpy()
        columns: dict[str, np.ndarray] = {}
        for k, name in enumerate(self.label.names):
            columns[name] = decided[:, k]
            columns[f"{name}_probability"] = probability[:, k]
        return columns

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        target = batch[self.label.name]
        values = torch.where(target >= 0, target.float(), torch.nan).cpu().numpy()
        return {f"{name}_true": values[:, k] for k, name in enumerate(self.label.names)}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        target = batch[self.label.name]
        wrong = ((output > 0).long() != target).float()
        return torch.where(target >= 0, wrong, torch.nan).nanmean(dim=1)

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return tuple(c for name in self.label.names for c in (name, f"{name}_probability"))
