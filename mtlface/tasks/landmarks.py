"""Facial landmarks by coordinate regression, and the frames their coordinates live in."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
from typing_extensions import override

from mtlface.data.schema import Points
from mtlface.tasks.metrics import (
    CumulativeErrorAUC,
    FailureRate,
    NormalizedMeanError,
    picture_nme,
)
from mtlface.tasks.task import Batch, Task, spread_around

EYES = ("left_eye", "right_eye")
Units = Literal["normalized", "disk_pixels", "pixels"]


class LandmarkTask(Task[Points]):
    """K points from 2K outputs, x before y.

    Three frames meet here. The *working frame* is the picture as the network sees it, stretched to
    `frame`; batches hold their points in its pixels. The *disk frame* is the picture as it lies on
    disk; metrics and `predictions.csv` are in its pixels. The head's outputs, and so the loss, are
    in `units`: `normalized` (0 is the left or top edge of the picture, 1 the right or bottom one),
    `disk_pixels` or `pixels` (of the working frame).

    Metrics: `nme` divides by the distance of the ground truth's eye centres (inter-ocular) and is
    there if the data has both eyes, as are `auc08` and `fr08`; `nme_image` divides by `image_side`;
    `mse_px` is px² per coordinate in the disk frame; `mae`, `mse`, `rmse` are per coordinate in
    normalized units.

    Args:
        units: What the head's outputs and the loss are measured in.
        image_side: The length that `nme_image` divides by, in disk pixels; by default the square
            root of the picture's area.
        kwargs: As for `Task`; `loss` takes (points, points), both (B, K, 2), in `units`.
    """

    label_type = Points
    default_primary = "nme"

    def __init__(
        self, *, units: Units = "normalized", image_side: float | None = None, **kwargs: Any
    ) -> None:
        self.units = units
        self.image_side = image_side
        super().__init__(**kwargs)
        if self.eyes is None and self.primary == "nme":
            self.primary = "nme_image"

    @property
    @override
    def outputs(self) -> int:
        return 2 * len(self.label.names)

    @property
    def eyes(self) -> tuple[int, int] | None:
        """The indices of the eye centres, if both are among the points."""
        names = self.label.names
        if any(eye not in names for eye in EYES):
            return None
        return names.index(EYES[0]), names.index(EYES[1])

    def _sides(self, size: Tensor) -> dict[Units, Tensor]:
        """Width and height of the picture in each unit, (B, 1, 2)."""
        disk = size.float()[:, None]
        # Filled where it lies: a tensor made of Python numbers would wait for the device.
        working = torch.stack([torch.full_like(disk[..., 0], n) for n in self.frame[::-1]], dim=-1)
        return {"normalized": torch.ones_like(working), "disk_pixels": disk, "pixels": working}

    def convert(self, points: Tensor, size: Tensor, source: Units, to: Units) -> Tensor:
        """Moves points (B, K, 2) from one frame to another.

        Pixel coordinates count from the centre of the top left pixel, so that the picture's edge
        lies half a pixel before it; normalized ones count from the edge.

        Args:
            points: x, y in the units of `source`.
            size: (width, height) of each picture on disk, (B, 2).
            source: The units that the points have.
            to: The units that they get.
        """
        if source == to:
            return points
        sides = self._sides(size)
        edge = {"normalized": 0.0, "disk_pixels": 0.5, "pixels": 0.5}
        return (points + edge[source]) / sides[source] * sides[to] - edge[to]

    def points(self, output: Tensor, size: Tensor, to: Units) -> Tensor:
        """Raw outputs (B, 2K) to points (B, K, 2) in any units."""
        found = output.float().view(len(output), -1, 2)
        return self.convert(found, size, self.units, to)

    @override
    def elements(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = self.convert(batch[self.label.name], batch["size"], "pixels", self.units)
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
        size = batch["size"]
        points = self.points(output, size, "disk_pixels")
        truth = self.convert(batch[self.label.name], size, "pixels", "disk_pixels")
        mask, sides = truth.isfinite(), self._image_sides(size)[:, None, None]
        part, part_truth = points / size[:, None], truth / size[:, None]
        views = {
            "mse_px": (points[mask], truth[mask]),
            "nme_image": (points / sides, truth / sides),
            **dict.fromkeys(("mae", "mse", "rmse"), (part[mask], part_truth[mask])),
        }
        for name, metric in metrics.items():
            metric.update(*views.get(name, (points, truth)))

    def _image_sides(self, size: Tensor) -> Tensor:
        area = size.float().prod(dim=1).sqrt()
        return area if self.image_side is None else torch.full_like(area, self.image_side)

    @override
    def constant(self, batch: Batch) -> Tensor:
        points = self.convert(batch[self.label.name], batch["size"], "pixels", self.units)
        return points.nanmean(dim=0).nan_to_num(0.0).flatten()

    @override
    def spread(self, batch: Batch) -> Tensor:
        points = self.convert(batch[self.label.name], batch["size"], "pixels", self.units)
        return spread_around(self.constant(batch), points.flatten(1))

    @override
    def columns(self, output: Tensor, size: Tensor) -> dict[str, np.ndarray]:
        points = self.points(output, size, "disk_pixels").cpu().numpy()
        return dict(zip(self.label.columns, points.reshape(len(points), -1).T, strict=True))

    @override
    def truth(self, batch: Batch) -> dict[str, np.ndarray]:
        points = self.convert(batch[self.label.name], batch["size"], "pixels", "disk_pixels")
        flat = points.cpu().numpy().reshape(len(points), -1)
        return {f"{name}_true": flat[:, k] for k, name in enumerate(self.label.columns)}

    @override
    def error(self, output: Tensor, batch: Batch) -> Tensor:
        size = batch["size"]
        truth = self.convert(batch[self.label.name], size, "pixels", "disk_pixels")
        sides = self._image_sides(size) if self.eyes is None else self.eyes
        return picture_nme(self.points(output, size, "disk_pixels"), truth, sides)

    @property
    @override
    def prediction_columns(self) -> tuple[str, ...]:
        return self.label.columns
