"""Metrics that torchmetrics lacks: landmark errors by picture, and the cumulative score of ages.

All of them are means over pictures, so that two sums are their whole state: exact, small, and
right across devices. A picture without the label is counted nowhere; none at all gives NaN.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def picture_nme(
    prediction: Tensor, target: Tensor, normalizer: tuple[int, int] | float | Tensor
) -> Tensor:
    """Returns each picture's normalised mean error (B,): mean point distance / normaliser.

    The mean is over the points that are labelled. It is NaN for a picture with no labelled point,
    or whose normaliser is unknown or zero.

    Args:
        prediction: (B, K, 2) in pixels.
        target: (B, K, 2) in the same pixels, NaN where a point is not labelled.
        normalizer: Two point indices for the distance of these points in `target` (the eyes:
            inter-ocular), one length in pixels, or a length a picture (B,).
    """
    distances = torch.linalg.vector_norm(prediction.float() - target.float(), dim=-1)  # (B, K)
    errors = distances.nanmean(dim=-1)  # (B,)
    if isinstance(normalizer, tuple):
        first, second = normalizer
        lengths = torch.linalg.vector_norm(target[:, first] - target[:, second], dim=-1).float()
    else:
        lengths = torch.as_tensor(normalizer, dtype=errors.dtype, device=errors.device)
    return torch.where(lengths > 0, errors / lengths, torch.nan)


def pseudo_values(value: Tensor, without: Tensor) -> Tensor:
    """What each image adds to a metric that is no mean over images, with the metric as their mean.

    Tukey's pseudo-values (1958), moved so that their mean is the metric itself; NaN for all where
    one of them is undefined.

    Args:
        value: The metric of all images, a scalar.
        without: The metric without each image, (N,).
    """
    found = value + (len(without) - 1) * (without.mean() - without)
    return found if bool(found.isfinite().all()) else torch.full_like(found, torch.nan)


def ratio_values(sums: Tensor, counts: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`pseudo_values` of function(sum of sums / sum of counts): (N,), NaN where nothing counts.

    Args:
        sums: What each image adds above the line, (N,).
        counts: What it adds below, 0 where it has no label, (N,).
        function: Of the ratio, elementwise.
    """
    found = torch.full_like(sums, torch.nan, dtype=torch.float64)
    known = counts > 0
    above, below = sums[known].double(), counts[known].double()
    if len(above):
        value = function(above.sum() / below.sum())
        without = function((above.sum() - above) / (below.sum() - below))
        found[known] = pseudo_values(value, without) if len(above) > 1 else value
    return found


def without_zero_by_zero(found: Mapping[str, Tensor], confusion: Tensor) -> dict[str, Tensor]:
    """Binary metrics with NaN where they are 0/0, which torchmetrics counts as 0.

    Args:
        found: Scalars, or (K,) for K binary labels, by name.
        confusion: (2, 2), or (K, 2, 2): counts by true and found class.
    """
    defined = {
        "precision": confusion[..., :, 1].sum(dim=-1) > 0,
        "recall": confusion[..., 1, :].sum(dim=-1) > 0,
        "f1": confusion.sum(dim=(-2, -1)) > confusion[..., 0, 0],
    }
    labelled = confusion.sum(dim=(-2, -1)) > 0
    return {
        name: torch.where(defined.get(name, labelled), values, torch.nan)
        for name, values in found.items()
    }


class _PictureMean(Metric):
    """A mean over pictures, of values that are NaN where there is nothing to count.

    `MetricCollection` merges metrics for good whose states agree after the first batch, which two
    failure rates of 0 do. The settings are part of a state's name, so that only equals are merged.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, *settings: object, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = " ".join(map(str, (type(self).__name__, *settings)))
        self._total, self._count = f"{name} total", f"{name} count"
        self.add_state(self._total, torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state(self._count, torch.tensor(0), dist_reduce_fx="sum")

    @property
    def count(self) -> Tensor:
        """How many pictures were counted, a scalar."""
        count: Tensor = getattr(self, self._count)
        return count

    def _add(self, values: Tensor) -> None:
        setattr(self, self._total, getattr(self, self._total) + values.nansum())
        setattr(self, self._count, self.count + (~values.isnan()).sum())

    def compute(self) -> Tensor:
        """Returns the mean over the pictures so far, a scalar; NaN if there were none."""
        total: Tensor = getattr(self, self._total)
        return total / self.count


class LogLikelihood(_PictureMean):
    """NLL: the mean over images of −ln p of the true value."""

    higher_is_better = False

    def update(self, probability: Tensor) -> None:
        """Adds the probabilities (B,) of the true values; NaN is a missing label."""
        self._add(-probability.clamp(min=1e-12).log())


class RankConsistency(_PictureMean):
    """The share of images whose P(y > k) never rise with k, as those of any distribution."""

    higher_is_better = True

    def update(self, exceedance: Tensor) -> None:
        """Adds P(y > k), (B, K − 1), of labelled images."""
        self._add((exceedance.diff(dim=1) <= 1e-6).all(dim=1).float())


class NormalizedMeanError(_PictureMean):
    """NME: the mean over pictures of the mean point error, divided by a length of the picture.

    Args:
        normalizer: Two point indices for the distance of these points in the ground truth, in the
            order of the points (eye centres: inter-ocular, CelebA's custom), or a length in
            pixels (the side of the picture).
        settings: What else tells a subclass apart.
        kwargs: See `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(
        self, normalizer: tuple[int, int] | float, *settings: object, **kwargs: Any
    ) -> None:
        if not isinstance(normalizer, int | float):  # a config gives lists, not tuples
            first, second = normalizer
            normalizer = (first, second)
        super().__init__(normalizer, *settings, **kwargs)
        self.normalizer: tuple[int, int] | float = normalizer

    def update(self, prediction: Tensor, target: Tensor, size: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            prediction: (B, K, 2) in pixels.
            target: (B, K, 2) in the same pixels, NaN where a point is not labelled.
            size: (B,) a length for every picture, in the same pixels, instead of the normalizer.
        """
        normalizer = self.normalizer if size is None else size
        self._add(self._score(picture_nme(prediction, target, normalizer)))

    def _score(self, nme: Tensor) -> Tensor:
        return nme


class CumulativeErrorAUC(NormalizedMeanError):
    """AUC@t: the area under the cumulative NME curve up to t, divided by t (AUC@.08).

    The curve steps up by 1/N at each picture's NME, so a picture adds (t - NME) / t to the area, or
    nothing if it lies beyond t: the exact area is a mean, with no histogram.

    Args:
        normalizer: See `NormalizedMeanError`.
        threshold: t, an NME.
        kwargs: See `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(
        self, normalizer: tuple[int, int] | float, threshold: float = 0.08, **kwargs: Any
    ) -> None:
        super().__init__(normalizer, threshold, **kwargs)
        self.threshold = threshold

    def _score(self, nme: Tensor) -> Tensor:
        return (1 - nme / self.threshold).clamp(min=0)


class FailureRate(NormalizedMeanError):
    """FR@t: the share of pictures whose NME lies above t (FR@.08).

    Args:
        normalizer: See `NormalizedMeanError`.
        threshold: t, an NME.
        kwargs: See `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(
        self, normalizer: tuple[int, int] | float, threshold: float = 0.08, **kwargs: Any
    ) -> None:
        super().__init__(normalizer, threshold, **kwargs)
        self.threshold = threshold

    def _score(self, nme: Tensor) -> Tensor:
        return torch.where(nme.isnan(), nme, (nme > self.threshold).to(nme.dtype))


class CumulativeScore(_PictureMean):
    """CS@t: the share of pictures whose age is off by t years or less (CS@5).

    Args:
        threshold: t, in years.
        kwargs: See `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(self, threshold: float = 5.0, **kwargs: Any) -> None:
        super().__init__(threshold, **kwargs)
        self.threshold = threshold

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch of ages (B,) in years; a NaN in `target` is a missing label."""
        error = (prediction - target).abs().float()
        self._add(torch.where(target.isnan(), torch.nan, (error <= self.threshold).float()))
