"""Where each head looks: maps of the image by task, drawn beside what the task says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtlface.data.batch import Split
from mtlface.errors import MtlfaceError, how_to_install
from mtlface.inference.network import Network
from mtlface.models.looking import MapLayer, class_attention, map_layer, spatial_mask
from mtlface.plots.heat import overlaid
from mtlface.plots.panels import Caption, Panel, sheet
from mtlface.plots.raster import Pixels
from mtlface.tasks import Task
from mtlface.training.captions import Columns, prediction_panels
from mtlface.training.module import MultiTaskModule

MOST = 64  # images that one sheet still shows well
AT_ONCE = 16  # images whose activations are kept
CELLS = 6  # pictures in a row of a sheet
GRAD_CAM = "Grad-CAM"
Heat = NDArray[np.float32]


@dataclass(frozen=True)
class Maps:
    """One kind of map of some images.

    Attributes:
        kind: What it is, in words.
        heat: (n, h, w); Grad-CAM's from 0 to 1 in each image.
        size: (h, w) in places, of the layer that it comes from.
        unit: `share` of an attention, `factor` of a mask, or `relative`.
    """

    kind: str
    heat: Heat
    size: tuple[int, int]
    unit: str

    def said(self, position: int) -> str:
        """How strong one image's map is, which its colours alone do not say."""
        heat = self.heat[position]
        if self.unit == "relative":
            return "" if heat.max() > 0 else "nothing raises it"
        if self.unit == "factor":
            return f"×{heat.min():.2f} to ×{heat.max():.2f}"
        return f"up to {heat.max() / max(float(heat.mean()), 1e-9):.1f}× the mean"


def check_maps(count: int) -> None:
    """Whether so many maps can be drawn.

    Raises:
        MtlfaceError: The number is not possible, or grad-cam is not installed.
    """
    if not 0 <= count <= MOST:
        raise MtlfaceError(
            f"attention_maps={count}: expected the number of images to draw, 1 to {MOST}, or 0."
        )
    if count:
        _grad_cam()


def shown(split: Split, count: int) -> NDArray[np.int64]:
    """The positions of the images that are drawn, evenly over the split."""
    spaced = np.linspace(0, len(split) - 1, min(count, len(split)))
    found: NDArray[np.int64] = np.unique(spaced.astype(np.int64))
    return found


def attention_maps(networks: Sequence[Network], images: NDArray[np.uint8]) -> dict[str, list[Maps]]:
    """The maps of each task; of several networks, their means.

    Grad-CAM by the library grad-cam (Selvaraju et al., ICCV 2017), of what each task answers; the
    spatial mask of CBAM and the class token's attention where the trunk has them.

    Args:
        networks: The members of an ensemble, or one network.
        images: uint8 (n, H, W, 3), in the working size.

    Raises:
        MtlfaceError: No layer of the trunk has a place for each part of the image, or grad-cam is
            not installed.
    """
    names = list(networks[0].module.tasks)
    members = [{name: _of_task(network, name, images) for name in names} for network in networks]
    return {
        name: [_mean([member[name][k] for member in members]) for k in range(len(first))]
        for name, first in members[0].items()
    }


def _mean(maps: Sequence[Maps]) -> Maps:
    first = maps[0]
    return Maps(first.kind, np.mean([m.heat for m in maps], axis=0), first.size, first.unit)


def _of_task(network: Network, name: str, images: NDArray[np.uint8]) -> list[Maps]:
    module = network.module
    head = _Head(module, name).eval()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    found: list[Maps] = []
    for start in range(0, len(pixels), AT_ONCE):
        part = pixels[start : start + AT_ONCE].to(network.device, torch.float32)
        found = _joined(found, [_weighed(head, part), *_own(head, part)])
    return found


def _joined(before: list[Maps], new: list[Maps]) -> list[Maps]:
    if not before:
        return new
    return [
        Maps(m.kind, np.concatenate((b.heat, m.heat)), m.size, m.unit)
        for b, m in zip(before, new, strict=True)
    ]


class _Head(nn.Module):
    """A network with one task: images to its raw outputs (B, outputs)."""

    def __init__(self, module: MultiTaskModule, name: str) -> None:
        super().__init__()
        self.module = module
        self.name = name

    @property
    def task(self) -> Task[Any]:
        return self.module.tasks[self.name]

    def forward(self, images: Tensor) -> Tensor:
        outputs: dict[str, Tensor] = self.module(images)
        return outputs[self.name]


def _weighed(head: _Head, images: Tensor) -> Maps:
    task = head.task
    found = map_layer(head, images[:1], lambda network, some: task.explained(network(some)))
    if found is None:
        raise MtlfaceError(
            "attention_maps needs a trunk that keeps places, and no layer of this one has more "
            "than a single place. Take attention_maps=0, a larger data.image_size in training, or "
            "another backbone."
        )
    with torch.enable_grad(), _cam(head, found) as cam:
        # From the images on, because a frozen trunk's parameters have no gradient.
        given = images.detach().clone().requires_grad_()
        heat = cam(given, [lambda output: task.explained(output[None])[0]] * len(images))
    head.zero_grad(set_to_none=True)
    return Maps(GRAD_CAM, np.asarray(heat, dtype=np.float32), found.size, "relative")


@contextmanager
def _cam(head: _Head, at: MapLayer) -> Iterator[Any]:
    cam = _grad_cam()(model=head, target_layers=[at.layer], reshape_transform=at.to_maps)
    try:
        yield cam
    finally:
        cam.activations_and_grads.release()


def _own(head: _Head, images: Tensor) -> Iterator[Maps]:
    """What the trunk itself says of where it looks, the same for every task."""
    for kind, unit, look in (
        ("CBAM mask", "factor", spatial_mask),
        ("class token", "share", class_attention),
    ):
        heat = look(head, images)
        if heat is not None:
            height, width = heat.shape[-2:]
            yield Maps(kind, heat.cpu().numpy(), (int(height), int(width)), unit)


def _grad_cam() -> Any:
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError as error:
        raise MtlfaceError(
            f"attention_maps needs grad-cam, which is not installed.{how_to_install('grad_cam')}"
        ) from error
    return GradCAM


def attention_sheets(
    tasks: Mapping[str, Task[Any]],
    maps: Mapping[str, Sequence[Maps]],
    columns: Columns,
    images: NDArray[np.uint8],
    sizes: NDArray[Any],
) -> dict[str, Pixels]:
    """A sheet a task: each image with the task's answer, and its maps laid over it.

    Args:
        tasks: Whose maps they are.
        maps: By task, as `attention_maps` gives them.
        columns: Predictions, truth and errors of the images, as in `predictions.csv`, (n,).
        images: uint8 (n, H, W, 3), in the working size.
        sizes: (width, height) of each image on disk, (n, 2).
    """
    sheets = {}
    for name, kinds in maps.items():
        panels: list[Panel] = []
        answers = prediction_panels([tasks[name]], columns, images, sizes)
        for i, answer in enumerate(answers):
            panels.append(answer)
            for of in kinds:
                lines = [Caption(f"{of.kind}, {of.size[0]}×{of.size[1]} places")]
                if said := of.said(i):
                    lines.append(Caption(said))
                panels.append(Panel(overlaid(images[i], of.heat[i]), answer.aspect, lines))
        across = 1 + len(kinds)
        title = f"{name}: where it looks. Grad-CAM: what raises {tasks[name].explains}"
        sheets[name] = sheet(panels, title, across * max(1, CELLS // across))
    return sheets
