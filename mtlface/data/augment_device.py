"""The device stage of augmentation: a whole batch at once, where it already lies.

Plain torch: kornia 0.9 and torchvision 0.29 were measured (`benchmarks/augment.py`). kornia's warp
alone costs several times what all of this does, torchvision draws once a batch, not once a picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mtlface.data.augment import Augment
from mtlface.data.augment_draws import Draws
from mtlface.errors import MtlfaceError

GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as in OpenCV and torchvision


class DeviceAugment:
    """Augments a batch of pictures together with their points.

    Nothing waits for the device, and a picture becomes the same alone as inside any batch.

    Args:
        augment: The changes that are asked for.
        size: Height and width of the working frame in pixels.
        mirrored: For each label of points, the index of the point that takes the place of each
            one in a flipped picture (`Points.mirrored`).

    Raises:
        MtlfaceError: `augment` asks for weather, which only the CPU stage has.
    """

    def __init__(
        self,
        augment: Augment,
        size: tuple[int, int],
        mirrored: Mapping[str, tuple[int, ...]],
    ) -> None:
        if augment.needs_cpu:
            raise MtlfaceError(
                f"augment.weather ({', '.join(augment.weather)}) is drawn by the CPU stage alone. "
                "Choose a loader with workers, or an augment preset without weather."
            )
        self.augment = augment
        self.size = size
        self.mirrored = {name: list(order) for name, order in mirrored.items()}

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        points: Mapping[str, Tensor],
        draws: Draws,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Augments a batch.

        Args:
            images: uint8 of shape (B, 3, H, W).
            points: Each label's points, float32 of shape (B, K, 2), x and y in pixels from the
                centre of the top left one; NaN where missing.
            draws: What happens to each of them, on the same device.

        Returns:
            The pictures, uint8 in channels_last memory, and the points; new tensors.
        """
        moved = {name: _move(values, draws, self.mirrored[name]) for name, values in points.items()}
        return self._change(images, draws), moved

    def _change(self, images: Tensor, draws: Draws) -> Tensor:
        if draws.color is None and not self.augment.moves:
            return _channels_last(self._erase(_flip(images, draws.flip), draws))
        pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
        if draws.color is not None:
            pixels = _recolor(pixels, draws.color, saturate=self.augment.saturation > 0)
        moves = self.augment.moves
        pixels = _warp(pixels, draws.inverse) if moves else _flip(pixels, draws.flip)
        return _channels_last(self._erase(pixels.add_(0.5).to(torch.uint8), draws))

    def _erase(self, images: Tensor, draws: Draws) -> Tensor:
        return images if draws.erase is None else images * _kept(draws.erase, self.size)


def _move(points: Tensor, draws: Draws, order: list[int]) -> Tensor:
    # Not points[:, order]: indices in a Python list travel to the device, and it is waited for.
    mirrored = torch.stack([points[:, k] for k in order], dim=1)
    points = torch.where(draws.flip[:, None, None], mirrored, points)
    # Written out, not a matrix product, whose rounding may depend on the batch.
    x, y = points[..., 0:1], points[..., 1:2]
    columns = draws.matrix[:, None]  # (B, 1, 2, 3)
    return columns[..., 0] * x + columns[..., 1] * y + columns[..., 2]


def _flip(images: Tensor, flip: Tensor) -> Tensor:
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def _recolor(pixels: Tensor, factors: Tensor, *, saturate: bool) -> Tensor:
    """Saturation, then brightness and contrast as one linear map, of (B, 3, H, W) in 0 … 255.

    Changes `pixels` in place where it can: on a CPU a fresh array costs more than the arithmetic.
    """
    brightness, contrast, saturation = factors.T[..., None, None, None]
    # Sums of whole numbers below 2²⁴ are exact, hence the same in any order of summation.
    red, green, blue = pixels.mean((2, 3)).T[..., None, None, None]
    mean = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    if saturate:
        red, green, blue = pixels[:, 0:1], pixels[:, 1:2], pixels[:, 2:3]
        grey = (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
        pixels.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, 255)
    return (
        pixels.mul_(brightness * contrast).add_(brightness * (1 - contrast) * mean).clamp_(0, 255)
    )


def _warp(pixels: Tensor, inverse: Tensor) -> Tensor:
    """Bilinear resampling of (B, 3, H, W); black outside."""
    height, width = pixels.shape[-2:]
    # grid_sample counts from −1 at the left edge to 1 at the right: x ↦ (2x + 1)/W − 1.
    normalized = torch.stack([inverse[:, 0] * (2 / width), inverse[:, 1] * (2 / height)], dim=-1)
    # x and y as one complex number: the sum of rows and columns is then one pass over memory.
    along, down, start = torch.view_as_complex(normalized)[:, :, None].unbind(1)  # (B, 1) each
    start = start + complex(1 / width - 1, 1 / height - 1)
    columns = along * torch.arange(width, device=pixels.device)
    rows = down * torch.arange(height, device=pixels.device) + start
    grid = torch.view_as_real(rows[:, :, None] + columns[:, None, :])  # (B, H, W, 2)
    return functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _channels_last(images: Tensor) -> Tensor:
    # Interleaving three planes is twice as fast on a CPU as torch's own change of memory format.
    return torch.stack(images.unbind(1), dim=-1).permute(0, 3, 1, 2)


def _kept(box: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether a pixel lies outside the erased rectangle: bool of shape (B, 1, H, W)."""
    height, width = size
    x = torch.arange(width, device=box.device)
    y = torch.arange(height, device=box.device)[:, None]
    left, top, right, bottom = box.T[..., None, None]
    erased: Tensor = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return ~erased[:, None]
