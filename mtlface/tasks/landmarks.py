"""Facial landmarks by coordinate regression, and the frames their coordinates live in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
from typing_extensions import override

from mtlface.data.schema import Points
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.tasks.metrics import (
    CumulativeErrorAUC,
    FailureRate,
    NormalizedMeanError,
    picture_nme,
    ratio_values,
)
from mtlface.tasks.prediction import TRUE, Prediction, Remark, points_of
from mtlface.tasks.task import Batch, Task, spread_around

EYES = ("left_eye", "right_eye")
# Metrics of the differences in shares: of each coordinate, and of the mean over all of them.
OF_SHARES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "mae": (torch.abs, torch.clone),
    "mse": (torch.square, torch.clone),
    "rmse": (torch.square, torch.sqrt),
}


class LandmarkTask(Task[Points]):
    """K points from 2K outputs, x before y.

    What the network answers is a *share* of the image: 0 is its left or top edge, 1 its right or
    bottom one, whatever its size. Pixels are made of shares and a size: those of the image on disk
    for metrics and `predictions.csv`, those of the working size in batches. Pixel coordinates
    count from the centre of the top left pixel, so that the edge lies half a pixel before it:
    pixel = share · side − 0.5.

    The loss may be computed in pixels of one fixed size, as a study on images of that size did;
    the head's raw numbers are then these pixels, for images of any size.

    Metrics: `nme` divides by the distance of two points of the ground truth (inter-ocular) and is
    there if the data has both, as are `auc08` and `fr08`; `nme_image` divides by a length of the
    image; `mse_px` is px² per coordinate of the image on disk; `mae`, `mse`, `rmse` are per
    coordinate in shares.

    Args:
        loss_size: Width and height in pixels of the image that the head's raw outputs and the
            loss are measured on; None: both are shares.
        image_side: What `nme_image` divides by, in pixels of `loss_size`; None: the square root
            of the image's area.
        eyes: The two points whose distance `nme` divides by; None: the eye centres, where the
            data has them.
        kwargs: As for `Task`; `loss` takes (points, points), both (B, K, 2).

    Raises:
        MtlfaceError: `eyes` are no two of the points, or `image_side` has no `loss_size`.
    """

    label_type = Points
    default_primary = "nme"
    loss_sides: Tensor
    frame_sides: Tensor

    def __init__(
        self,
        *,
        loss_size: Sequence[float] | None = None,
        image_side: float | None = None,
        eyes: Sequence[str | int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_side = image_side
        super().__init__(**kwargs)
        self.eyes = self._indices(eyes)
        if self.eyes is None and self.primary == "nme":
            self.primary = "nme_image"
        if loss_size is not None and (len(loss_size) != 2 or min(loss_size) <= 0):
            raise MtlfaceError(
                f"tasks.{self.name}.loss_size={list(loss_size)}: expected a width and a height in "
                "pixels, for example [178,218], or null for shares of the image."
            )
        if image_side is not None and loss_size is None:
            raise MtlfaceError(
                f"tasks.{self.name}.image_side={image_side} is in pixels of loss_size, which is "
                "null. Set both, for example loss_size=[178,218], or leave image_side=null."
            )
        self.in_pixels = loss_size is not None
        # Buffers, because a tensor made of Python numbers in a step waits for the device; not in
        # the checkpoint, because the config has them.
        for name, sides in (("loss_sides", loss_size or (1, 1)), ("frame_sides", self.frame[::-1])):
            self.register_buffer(name, torch.tensor([*map(float, sides)]), persistent=False)

    def _indices(self, eyes: Sequence[str | int] | None) -> tuple[int, int] | None:
        """The indices of the two points that `nme` is measured by, if there are any."""
        names = self.label.names
        if eyes is None:
            if any(eye not in names for eye in EYES):
                return None
            return names.index(EYES[0]), names.index(EYES[1])
        chosen = [str(eye) for eye in eyes]
        absent = [eye for eye in chosen if eye not in names]
        if absent:
            raise MtlfaceError(
                f"tasks.{self.name}.eyes names {', '.join(absent)}, which is not among the points "
                f"of '{self.label.name}'.{did_you_mean(absent[0], list(names))} It has: "
                f"{', '.join(names)}."
            )
        if len(set(chosen)) != 2 or len(chosen) != 2:
            raise MtlfaceError(
                f"tasks.{self.name}.eyes={chosen}: expected two different points, whose distance "
                "the error is divided by."
            )
        return names.index(chosen[0]), names.index(chosen[1])

    @property
    @override
    def outputs(self) -> int:
        return 2 * len(self.label.names)

    def shares(self, output: Tensor) -> Tensor:
        """Raw outputs (B, 2K) to shares of the image's width and height, (B, K, 2)."""
        points = output.float().view(output.shape[0], -1, 2)
        return to_shares(points, self.loss_sides) if self.in_pixels else points

    def loss_points(self, shares: Tensor) -> Tensor:
        """Shares (B, K, 2) to what the head's raw outputs and the loss are measured in."""
        return to_pixels(shares, self.loss_sides) if self.in_pixels else shares

    def true_shares(self, batch: Batch) -> Tensor:
        """The targets as shares of the image, (B, K, 2); NaN where missing."""
        return to_shares(batch[self.label.name], self.frame_sides)

    def _on_disk(self, shares: Tensor, size: Tensor) -> Tensor:
        return to_pixels(shares, size[:, None])

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = self.loss_points(self.true_shares(batch))
        mask = target.isfinite()
        # A NaN target would poison the gradient even where the mask drops its loss.
        known = torch.where(mask, target, 0.0)
        return self.criterion(output.float().view(len(output), -1, 2), known), mask

    @override
    def metrics(self) -> MetricCollection:
        found: dict[str, Any] = {
            "mse_px": MeanSquaredError(),
            "mae": MeanAbsoluteError(),
            "mse": MeanSquaredError(),
            "rmse": MeanSquaredError(squared=False),
            "nme_image": NormalizedMeanError(1.0),
        }
        if self.eyes is not None:
            found |= {
                "nme": NormalizedMeanError(self.eyes),
                "auc08": CumulativeErrorAUC(self.eyes, threshold=0.08),
                "fr08": FailureRate(self.eyes, threshold=0.08),
            }
        return MetricCollection(found)

    @override
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        size, shares, true_shares = batch["size"], self.shares(output), self.true_shares(batch)
        points, truth = self._on_disk(shares, size), self._on_disk(true_shares, size)
        mask = truth.isfinite()
        views = {
            "mse_px": (points[mask], truth[mask]),
            "nme_image": self._by_image(shares, true_shares, size),
            **dict.fromkeys(("mae", "mse", "rmse"), (shares[mask], true_shares[mask])),
        }
        for name, metric in metrics.items():
            metric.update(*views.get(name, (points, truth)))

    def _by_image(self, shares: Tensor, truth: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Points and truth in units of the length that `nme_image` divides by, (B, K, 2)."""
        if self.image_side is None:
            sides = (size.float() / size.float().prod(dim=1, keepdim=True).sqrt())[:, None]
        else:
            sides = self.loss_sides / self.image_side
        return shares * sides, truth * sides

    @override
    def constant(self, batch: Batch) -> Tensor:
        points = self.loss_points(self.true_shares(batch))
        return points.nanmean(dim=0).nan_to_num(0.0).flatten()

    @override
    def spread(self, batch: Batch) -> Tensor:
        points = self.loss_points(self.true_shares(batch))
        return spread_around(self.constant(batch), points.flatten(1))

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        points = self._on_disk(self.shares(output), size).cpu().numpy()
        return dict(zip(self.label.columns, points.reshape(len(points), -1).T, strict=True))

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        points = self._on_disk(self.true_shares(batch), batch["size"])
        flat = points.cpu().numpy().reshape(len(points), -1)
        return {f"{name}_true": flat[:, k] for k, name in enumerate(self.label.columns)}

    @override
    def explained(self, output: Tensor) -> Tensor:
        return self.shares(output).mean(dim=(1, 2))

    @property
    @override
    def explains(self) -> str:
        return "the mean coordinate: points go right and down"

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        size, shares, truth = batch["size"], self.shares(output), self.true_shares(batch)
        if self.eyes is None:
            return picture_nme(*self._by_image(shares, truth, size), 1.0)
        return picture_nme(self._on_disk(shares, size), self._on_disk(truth, size), self.eyes)

    @override
    def image_metrics(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        size, shares, truth = batch["size"], self.shares(output), self.true_shares(batch)
        if self.primary == "nme_image":
            return {"nme_image": picture_nme(*self._by_image(shares, truth, size), 1.0)}
        if self.primary not in OF_SHARES:
            return {}  # the predicted points or the error give it
        error, root = OF_SHARES[self.primary]
        away = error(shares - truth).flatten(1)
        counts = away.isfinite().sum(dim=1)
        return {self.primary: ratio_values(away.nansum(dim=1), counts, root)}

    @override
    def nonconformity(self, output: Tensor, batch: Batch) -> Tensor:
        """The largest distance of a point from the true one, in sides √(width · height)."""
        sides = batch["size"].float()
        away = (self.shares(output) - self.true_shares(batch)) * sides[:, None]
        distance = torch.linalg.vector_norm(away, dim=2)
        furthest = torch.where(distance.isnan(), -torch.inf, distance).max(dim=1).values
        known = distance.isfinite().any(dim=1)
        return torch.where(known, furthest / sides.prod(dim=1).sqrt(), torch.nan)

    @override
    def region(
        self, output: Tensor, size: Tensor, quantile: float
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A radius around each point, in pixels of the image on disk."""
        radius = quantile * size.float().prod(dim=1).sqrt().cpu().numpy()
        return {f"{self.label.name}_radius": radius}, radius

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return self.label.columns

    @override
    def prediction(self, row: Mapping[Any, Any]) -> Prediction:
        return Prediction(points=points_of(row, self.label.columns))

    @override
    def true_points(self, row: Mapping[Any, Any]) -> NDArray[np.float64]:
        return points_of(row, [column + TRUE for column in self.label.columns])

    @override
    def remarks(self, row: Mapping[Any, Any]) -> list[Remark]:
        error = float(row[f"{self.name}/error"])
        return [Remark(self.name if np.isnan(error) else f"{self.name} error {error:.1%}")]

    @override
    def moved(self, columns: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
        flat = np.stack([columns[name] for name in self.label.columns], axis=1)  # (n, 2K)
        points = flat.reshape(len(flat), -1, 2)
        moved = points @ affine[:, :, :2].transpose(0, 2, 1) + affine[:, None, :, 2]
        moved = moved.astype(np.float32).reshape(len(flat), -1)
        found = columns | {name: moved[:, k] for k, name in enumerate(self.label.columns)}
        if (radius := f"{self.label.name}_radius") in columns:
            scale = np.abs(np.linalg.det(affine[:, :, :2])) ** 0.5
            found[radius] = columns[radius] * scale
        return found

    @override
    def exported(self, output: Tensor) -> dict[str, Tensor]:
        return {self.label.name: self.shares(output)}

    @override
    def described(self) -> dict[str, dict[str, Any]]:
        return {
            self.label.name: {
                "kind": "points",
                "shape": ["batch", len(self.label.names), 2],
                "names": list(self.label.names),
                "unit": "normalized",
                "meaning": "x, y as shares of the image's width and height, from its left and top "
                "edges; in pixels of an image of any size, counted from the centre of the first "
                "one: x * width - 0.5, y * height - 0.5; left and right are the image's",
            }
        }


def to_shares(pixels: Tensor, sides: Tensor) -> Tensor:
    """Points in pixels, counted from the centre of the first, to shares of the sides."""
    return (pixels + 0.5) / sides


def to_pixels(shares: Tensor, sides: Tensor) -> Tensor:
    """Shares of the sides to points in pixels, counted from the centre of the first."""
    return shares * sides - 0.5
