"""Many yes/no attributes from one head: one matrix product, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from mtlface.tasks.auroc import CODES, MISSING, DefinedAUROC
from mtlface.tasks.class_weights import class_weights as weights_of
from mtlface.tasks.evidence import Evidence, Outcomes, Rankings
from mtlface.tasks.losses import masked_mean
from mtlface.tasks.metrics import without_zero_by_zero
from mtlface.tasks.prediction import TRUE, Prediction, Remark
from mtlface.tasks.task import Batch, Task

# torchmetrics takes two labels or more: a single attribute is measured beside an unlabelled one.
FEWEST = 2
# The metrics that are reported for each attribute too.
EACH = ("accuracy", "f1")
NAMED = 2  # lines for wrong attributes: what they are in truth


class MultilabelTask(Task[Multilabel]):
    """K binary attributes; metrics are means of the binary ones over the attributes.

    An attribute for which a metric is 0/0 is left out of its mean: one that no picture is labelled
    with of all, one that is never found of precision's, one that nobody has of recall's, and one
    that all pictures have in common of AUROC's.

    Args:
        per_attribute: Whether each attribute is a loss of its own to the balancer, as in the
            CelebA-40 benchmark, rather than their mean one loss.
        class_weights: `balanced`: in each attribute, the rarer answer counts as much as the other
            one, by their frequencies in the training split; None: all images count alike.
        kwargs: As for `Task`; `loss` takes (logits, targets in 0/1), both (B, K).
    """

    label_type = Multilabel
    yes_no = True
    default_primary = "accuracy"

    def __init__(
        self, *, per_attribute: bool = False, class_weights: str | None = None, **kwargs: Any
    ) -> None:
        self.per_attribute = per_attribute
        super().__init__(**kwargs)
        if not self.label.names:
            raise MtlfaceError(
                f"Task '{self.name}' has no attribute to learn: data.attributes names none. "
                "Name some, for example data.attributes=[Smiling,Eyeglasses]."
            )
        self.class_weights = weights_of(class_weights, self.name, len(self.label.names), 2)

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
        loss: Tensor = self.criterion(output.float(), target.clamp(min=0).float())
        return loss if self.class_weights is None else self.class_weights(loss, target), target >= 0

    @override
    def initialise(self, batch: Batch) -> None:
        super().initialise(batch)
        if self.class_weights is not None:
            self.class_weights.learn(batch[self.label.name])

    @override
    def losses(self, output: Tensor, batch: Batch, whole: bool = False) -> tuple[Tensor, Tensor]:
        if not self.per_attribute:
            return super().losses(output, batch, whole)
        values, mask = self.elements(output, batch)
        if whole:
            return self.weight * values.mean(dim=0), self.counts(len(mask), mask.shape[1], mask)
        return self.weight * masked_mean(values, mask, dim=0), mask.sum(dim=0)

    @override
    def metrics(self) -> MetricCollection:
        labels = max(self.outputs, FEWEST)
        common: dict[str, Any] = {
            "num_labels": labels,
            "average": None,
            **CODES,
        }
        return MetricCollection(
            {
                "accuracy": MultilabelAccuracy(**common),
                "precision": MultilabelPrecision(**common),
                "recall": MultilabelRecall(**common),
                "f1": MultilabelF1Score(**common),
                "auroc": DefinedAUROC(),
                "confusion": MultilabelConfusionMatrix(labels, **CODES),
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

    @override
    def explained(self, output: Tensor) -> Tensor:
        logit = output.float()
        return torch.where(logit > 0, logit, -logit).mean(dim=1)

    @property
    @override
    def explains(self) -> str:
        return "the mean logit of its answers"

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        yes, no = (side.double().sigmoid().mean(dim=0) for side in (outputs, -outputs))
        return (yes.log() - no.log()).float()

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return tuple(c for name in self.label.names for c in (name, f"{name}_probability"))

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        return Prediction(", ".join(name for name in self.label.names if row.get(name) == 1))

    @override
    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        """How many attributes are right, and what the wrong ones are in truth."""
        known = [n for n in self.label.names if np.isfinite(float(row[n + TRUE]))]
        wrong = [n for n in known if int(row[n]) != int(row[n + TRUE])]
        named = [n if row[n + TRUE] else f"not {n}" for n in wrong[:NAMED]]
        if (more := len(wrong) - NAMED) > 0:
            named = [*named[: NAMED - 1], f"{more + 1} more"]
        text = f"{len(known) - len(wrong)}/{len(known)} {self.name}"
        return [Remark(text, not wrong if known else None), *map(Remark, named)]

    @override
    def evidence(self, columns: Mapping[str, np.ndarray]) -> Iterator[Evidence]:
        names = self.label.names
        truth = np.stack([np.asarray(columns[n + TRUE], dtype=float) for n in names])
        yield Outcomes(names, truth, np.stack([np.asarray(columns[n]) == 1 for n in names]))
        scores = {}
        for name, has in zip(names, truth, strict=True):
            known = np.isfinite(has)
            probability = np.asarray(columns[f"{name}_probability"], dtype=float)
            scores[name] = probability[known], has[known] == 1
        yield Rankings(truth.shape[1], scores)

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        return {f"{self.label.name}_probability": output.float().sigmoid()}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        return {
            f"{self.label.name}_probability": {
                "kind": "multilabel",
                "shape": ["batch", len(self.label.names)],
                "names": list(self.label.names),
                "meaning": "probability of each name; above 0.5 is yes",
            }
        }
