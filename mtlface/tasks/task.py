"""What every task is: a label, a head, a masked loss, metrics, and how its answers are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MetricCollection

from mtlface.data.schema import Label, LabelKind, Labels
from mtlface.errors import MtlfaceError
from mtlface.tasks.evidence import Evidence
from mtlface.tasks.losses import masked_mean
from mtlface.tasks.prediction import Prediction, Remark
from mtlface.tasks.start import output_layer

Batch = Mapping[str, Tensor]
HeadFactory = Callable[[int, int], nn.Module]


class Task(nn.Module, ABC, Generic[LabelKind]):
    """One thing to learn from the shared features.

    A subclass says how many outputs its head has, how outputs become predictions, which metrics
    count, and how a prediction is shown: nothing else asks what kind of task it is. Targets come as
    the batch holds them (see `mtlface.data.schema`); whatever is missing there costs nothing and
    is counted nowhere.

    Args:
        name: What logs and tables call the task.
        label: The name of its label in the data.
        labels: The label schema of the data.
        in_features: D, the number of shared features.
        frame: (height, width) of the working frame, in pixels.
        head: Builds the head from (in_features, outputs).
        loss: An element-wise loss (`reduction="none"`) of (prediction, target).
        weight: Factor on the loss, applied before any balancing.
        primary: The metric that stands for the task in comparisons.
        start_at_mean: Start the head at what the best constant predictor would say, so that
            training does not spend its first epochs on finding the mean.

    Attributes:
        whole: Whether every image of the training split has the label, which `initialise` finds
            out: a training batch then needs no mask, and its number of labels is known beforehand.

    Raises:
        MtlfaceError: The data lacks the label, or has it as another kind, or `start_at_mean` is
            set for a head that does not end in a linear layer.
    """

    label_type: ClassVar[type[Label]]
    default_primary: ClassVar[str]
    yes_no: ClassVar[bool] = False  # whether `evidence` has the rankings of yes/no questions

    def __init__(
        self,
        name: str,
        label: str,
        labels: Labels,
        in_features: int,
        frame: tuple[int, int],
        head: HeadFactory,
        loss: nn.Module,
        weight: float = 1.0,
        primary: str | None = None,
        start_at_mean: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.label: LabelKind = require_label(labels, label, name, self.label_type)  # type: ignore[assignment]
        self.frame = frame
        self.weight = weight
        self.primary = primary or self.default_primary
        self.start_at_mean = start_at_mean
        self.criterion = loss
        self.in_features = in_features
        self.whole = False
        self.counts = Counts()
        self.head = head(in_features, self.outputs)
        if start_at_mean:
            output_layer(self.head, in_features, name)

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers the head gives for a picture."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """A name for each loss that `losses` gives; one unless a task is several to a balancer."""
        return (self.name,)

    def forward(self, features: Tensor) -> Tensor:
        """Shared features (B, D) to raw outputs (B, outputs)."""
        output: Tensor = self.head(features)
        return output

    @property
    def batch_labels(self) -> tuple[str, ...]:
        """The labels that a batch must hold for this task."""
        return (self.label.name,)

    @abstractmethod
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Element-wise losses and the mask of what is labelled, both (B, …)."""

    def losses(self, output: Tensor, batch: Batch, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Weighted losses (T,), and over how many labelled elements each is the mean, (T,).

        Args:
            output: Raw outputs (B, outputs).
            batch: The targets.
            whole: That nothing is missing in them.
        """
        values, mask = self.elements(output, batch)
        if whole:
            return self.weight * values.mean()[None], self.counts(mask.numel(), 1, mask)
        return self.weight * masked_mean(values, mask)[None], mask.sum()[None]

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, named without a prefix."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds the labelled rows of a batch to the metrics."""

    def of_group(
        self, output: Tensor, batch: Batch, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the metrics of a group of pictures are computed from.

        Args:
            output: Raw outputs of the whole split (N, outputs).
            batch: Its targets.
            rows: The positions of the group's pictures, int64 (n,).
        """
        return output[rows], {name: values[rows] for name, values in batch.items()}

    def scalars(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The single numbers among the computed metrics, by the name they are reported under."""
        return {name: value for name, value in computed.items() if value.ndim == 0}

    @property
    def directions(self) -> dict[str, bool]:
        """For each metric that has a better end, whether higher is better."""
        found = {name: metric.higher_is_better for name, metric in self.metrics().items()}
        return {name: higher for name, higher in found.items() if higher is not None}

    @property
    def parts(self) -> tuple[str, ...]:
        """The tasks that comparisons see: this one, or each of several that share its head."""
        return (self.name,)

    def results(self, computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The single numbers among the computed metrics, by `<task>/<metric>`."""
        return {f"{self.name}/{name}": value for name, value in self.scalars(computed).items()}

    @property
    def result_directions(self) -> dict[str, bool]:
        """For each of the `results` that has a better end, whether higher is better."""
        return {f"{self.name}/{name}": higher for name, higher in self.directions.items()}

    @abstractmethod
    def constant(self, batch: Batch) -> Tensor:
        """The raw output (outputs,) of a good predictor that looks at no picture.

        Args:
            batch: The labels and sizes of the whole training split.
        """

    def spread(self, batch: Batch) -> Tensor:
        """How far the targets lie around `constant`, in the units of the outputs: (outputs,).

        Or (1,) for all of them: 1 for logits, and for whatever has no unit of its own.

        Args:
            batch: The labels and sizes of the whole training split.
        """
        return torch.ones_like(self.constant(batch))

    def initialise(self, batch: Batch) -> None:
        """Looks whether labels are missing, and with `start_at_mean` sets the head's first output.

        It is then the constant predictor's. The last bias becomes that output. Random weights add
        up to about 1 to it; where targets vary by less, the last weights shrink to that, but never
        to zero, which would keep gradients from the trunk. Otherwise the first error would be many
        times the later ones, and Adam remember its gradients for a thousand steps.

        Args:
            batch: The labels and sizes of the whole training split.
        """
        targets = batch[self.label.name]
        known = targets.isfinite() if targets.is_floating_point() else targets >= 0
        self.whole = bool(known.all())
        if self.start_at_mean:
            last = output_layer(self.head, self.in_features, self.name)
            with torch.no_grad():
                last.weight.mul_(self.spread(batch).clamp(0.01, 1.0)[:, None])
                last.bias.copy_(self.constant(batch))

    @abstractmethod
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        """Predictions in human units, a column each.

        Args:
            output: Raw outputs (B, outputs).
            size: (width, height) of each picture as it lies on disk, (B, 2).
        """

    @abstractmethod
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        """The targets in the form of `columns`, named `…_true`; empty or NaN where missing."""

    @abstractmethod
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        """One number a picture, lower is better, NaN where unlabelled: (B,)."""

    def image_metrics(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What each image adds to metrics that no predicted column could give again.

        Comparisons need them image by image: by the metric's name, float (B,), with the metric as
        mean, NaN where an image does not count.
        """
        return {}

    def combined(self, outputs: Tensor) -> Tensor:
        """The raw outputs (N, …) that stand for what several networks say together.

        Args:
            outputs: Raw outputs of M networks, or of M draws of dropout: (M, N, …).
        """
        return outputs.float().mean(dim=0)

    def probabilities(self, output: Tensor) -> Tensor | None:
        """The probability (N, K) of each value that the label can have; None if it gives none.

        They follow from the output by way of logits: divided by a temperature, it gives softer
        ones (Guo et al., ICML 2017).
        """
        return None

    def positions(self, batch: Batch) -> Tensor:
        """Which of the K values of `probabilities` is the true one, int64 (N,); −1 if missing."""
        return batch[self.label.name]

    def explained(self, output: Tensor) -> Tensor:
        """One number a picture, (B,), that maps of where the network looks explain.

        They show what in the picture raises it, so it grows with what the task answers. Grad-CAM
        differentiates it (Selvaraju et al., ICCV 2017).

        Args:
            output: Raw outputs (B, outputs), with their gradient.
        """
        return output.float().mean(dim=1)

    @property
    def explains(self) -> str:
        """What `explained` is, in words."""
        return "the mean of its outputs"

    def doubt(self, output: Tensor) -> Tensor | None:
        """How unsure the network is of each answer, (N,), to sort by; None if it does not say."""
        return None

    def nonconformity(self, output: Tensor, batch: Batch) -> Tensor | None:
        """How far off the truth is, (N,), NaN where missing: the score of conformal prediction.

        None if the task has no region that a score stands for.
        """
        return None

    def region(
        self, output: Tensor, size: Tensor, quantile: float
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Everything that is no further off than a quantile of `nonconformity`.

        Args:
            output: Raw outputs (N, …).
            size: As for `columns`.
            quantile: The score up to which a value belongs to the region.

        Returns:
            Columns (N,) that say the region, and how large each is, (N,).
        """
        raise NotImplementedError

    @property
    @abstractmethod
    def prediction_columns(self) -> tuple[str, ...]:
        """The names of the columns that `columns` gives."""

    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        """One image's answer, ready to be shown.

        Args:
            row: The image's row of `predictions.csv`, as `columns` gives it.
        """
        known = [f"{name} {row[name]}" for name in self.prediction_columns if name in row]
        return Prediction(", ".join(known))

    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        """The lines below an image of a sheet: the answer, and what is true.

        Args:
            row: As for `prediction`, with the columns of `truth` and the errors.
        """
        return [Remark(self.prediction(row).words)]

    def true_points(self, row: Mapping[Any, Any]) -> NDArray[np.float64] | None:
        """The truth of `Prediction.points`, (K, 2) in pixels; None where nothing is drawn."""
        return None

    def moved(self, columns: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
        """Predictions of crops as those of the images that the crops were cut from.

        Args:
            columns: As `columns` gives them, (n,).
            affine: From pixels of each crop to pixels of its image, (n, 2, 3).
        """
        return columns

    def evidence(self, columns: Mapping[str, np.ndarray]) -> Iterator[Evidence]:
        """What there is to draw of a whole split.

        Args:
            columns: Predictions and truth, as in `test_predictions.csv`, (n,).
        """
        return iter(())

    def exported(self, output: Tensor) -> dict[str, Tensor]:
        """The tensors of an exported model by name, in human units, each (B, …).

        Args:
            output: Raw outputs (B, outputs).
        """
        return {self.name: output.float()}

    def described(self) -> dict[str, dict[str, Any]]:
        """What each tensor of `exported` means, as plain data for `labels.json`."""
        return {self.name: {"meaning": "raw outputs of the head", "label": self.label.to_dict()}}

    @property
    def positive(self) -> str | None:
        """The class whose rates fairness compares between groups; None where there is none."""
        return None


def require_label(labels: Labels, name: str, task: str, kind: type[LabelKind]) -> LabelKind:
    """Returns a task's label, of the kind that the task can learn.

    Raises:
        MtlfaceError: There is no such label, or it is of another kind.
    """
    label = labels.require(name, asked_by=f"Task '{task}'")
    if not isinstance(label, kind):
        raise MtlfaceError(
            f"Task '{task}' learns a {kind.kind} label, but '{name}' is a {label.kind} label in "
            f"this data. Take a task for {label.kind} labels, or another label."
        )
    return label


class Counts:
    """Numbers of labels as tensors that are made once: batches of one size have the same."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, torch.device], Tensor] = {}

    def __call__(self, number: int, losses: int, like: Tensor) -> Tensor:
        """A number of labels for each of some losses, (losses,), where `like` is."""
        key = (number, losses, like.device)
        if key not in self._made:
            self._made[key] = torch.full((losses,), number, device=like.device)
        return self._made[key]


def names_of(classes: tuple[str, ...], codes: Tensor) -> np.ndarray:
    """Class names (B,) of class numbers (B,); empty strings where the number is −1."""
    table = np.array([*classes, ""], dtype=object)
    named: np.ndarray = table[codes.cpu().numpy()]
    return named


def spread_around(centre: Tensor, targets: Tensor) -> Tensor:
    """Root mean square distance of targets (N, outputs) from a centre (outputs,).

    NaN targets are left out; 1 where none is left.
    """
    return (targets - centre).square().nanmean(dim=0).sqrt().nan_to_num(1.0)


def unlikeliness(probability: Tensor, positions: Tensor) -> Tensor:
    """1 − the probability of the true value, (N,); NaN where it is missing.

    Args:
        probability: Of each value, (N, K).
        positions: Of the true one, int64 (N,), −1 where missing.
    """
    at_truth = probability.gather(1, positions.clamp(min=0)[:, None])[:, 0]
    return torch.where(positions >= 0, 1 - at_truth, torch.nan)


def where_labelled(values: Tensor, mask: Tensor) -> Tensor:
    """Float values with NaN where the mask is False."""
    return torch.where(mask, values.float(), torch.nan)
