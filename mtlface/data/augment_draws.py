"""Random numbers that belong to a picture: the same (seed, epoch, index) draws the same.

A draw does not depend on the batch, the worker or the device that asks for it, nor on the draws
before it. So a resumed run sees the pictures that an uninterrupted one sees, and the CPU and the
device stage make the same changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlface.data.augment import ERASE_RATIO, Augment

# One column of uniforms each, so that switching one change on leaves the others' draws alone.
(FLIP, MOVE, ROTATE, SHIFT_X, SHIFT_Y, SCALE, COLOR, BRIGHTNESS, CONTRAST, SATURATION) = range(10)
(ERASE, AREA, RATIO, ERASE_X, ERASE_Y) = range(10, 15)
COLUMNS = 15

_GOLDEN, _MULTIPLY = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def picture_key(seed: int, epoch: int, index: int) -> int:
    """A 64-bit number that belongs to the picture `index` in this epoch of this seed."""
    return _mix(_epoch_key(seed, epoch) + index * _GOLDEN)


def keyed_uniforms(seed: int, epoch: int, index: Tensor, columns: int = COLUMNS) -> Tensor:
    """Uniform numbers in [0, 1) by splitmix64 (Steele et al. 2014), seeded with the picture's key.

    Integer arithmetic alone makes them, so they are the same bits on every device.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch.
        index: The pictures' numbers in the data set, int64 of shape (B,).
        columns: How many numbers a picture gets.

    Returns:
        float32 of shape (B, columns), multiples of 2⁻²⁴, on the device of `index`.
    """
    key = _mix_tensor(index * _signed(_GOLDEN) + _signed(_epoch_key(seed, epoch)))
    steps = torch.arange(1, columns + 1, device=index.device) * _signed(_GOLDEN)
    state = _mix_tensor(key[:, None] + steps)
    return _shift_right(state, 40).float() * 2.0**-24


@dataclass(frozen=True)
class Draws:
    """What happens to each picture of a batch, in pixels of the working frame.

    Attributes:
        flip: Whether it is flipped, bool of shape (B,).
        matrix: Where a pixel goes, flip included: (x', y') = matrix @ (x, y, 1) in pixels counted
            from the centre of the top left one, float32 of shape (B, 2, 3).
        inverse: Where a pixel comes from, in the same frame, float32 of shape (B, 2, 3).
        color: Factors of brightness, contrast and saturation, float32 of shape (B, 3); None where
            the configuration does not touch colours.
        erase: Left, top, right and bottom of the erased rectangle, the last two exclusive,
            whole numbers as float32 of shape (B, 4), empty where a picture keeps everything; None
            where the configuration does not erase.
    """

    flip: Tensor
    matrix: Tensor
    inverse: Tensor
    color: Tensor | None
    erase: Tensor | None


def draw(augment: Augment, size: tuple[int, int], seed: int, epoch: int, index: Tensor) -> Draws:
    """Draws the changes of each picture.

    Args:
        augment: The changes that are asked for.
        size: Height and width of the working frame in pixels.
        seed: Seed of the run.
        epoch: Number of the epoch.
        index: The pictures' numbers in the data set, int64 of shape (B,); the draws lie on its
            device.
    """
    uniform = keyed_uniforms(seed, epoch, index).unbind(1)
    flip = uniform[FLIP] < augment.flip
    matrix, inverse = _affine(augment, size, uniform, flip)
    color = _color(augment, uniform) if augment.colors else None
    erase = _erase(augment, size, uniform) if augment.erase > 0 else None
    return Draws(flip, matrix, inverse, color, erase)


class EpochDraws:
    """The draws of all images in an epoch at once; a batch takes its rows of them.

    Drawing takes a hundred small operations, whatever the number of images: once an epoch they cost
    nothing, once a step as much as a small network.

    Args:
        augment: The changes that are asked for.
        size: Height and width of the working size in pixels.
        seed: Seed of the run.
        count: Images in the data set, numbered from 0.
    """

    def __init__(self, augment: Augment, size: tuple[int, int], seed: int, count: int) -> None:
        self.augment, self.size, self.seed, self.count = augment, size, seed, count
        self._epoch: int | None = None
        self._table = torch.empty(0)
        self._widths: list[int] = []

    def of(self, epoch: int, index: Tensor) -> Draws:
        """What `draw` gives, bit for bit.

        Args:
            epoch: Number of the epoch.
            index: The images' numbers in the data set, int64 of shape (B,).
        """
        if epoch != self._epoch or self._table.device != index.device:
            everyone = torch.arange(self.count, device=index.device)
            drawn = draw(self.augment, self.size, self.seed, epoch, everyone)
            parts = [
                drawn.flip.float()[:, None],
                drawn.matrix.flatten(1),
                drawn.inverse.flatten(1),
                *(part for part in (drawn.color, drawn.erase) if part is not None),
            ]
            self._table = torch.cat(parts, dim=1)
            self._widths = [part.shape[1] for part in parts]
            self._epoch = epoch
        flip, matrix, inverse, *rest = torch.split(self._table[index], self._widths, dim=1)
        color = rest.pop(0) if self.augment.colors else None
        erase = rest.pop(0) if self.augment.erase > 0 else None
        square = (-1, 2, 3)
        return Draws(flip[:, 0] > 0, matrix.view(square), inverse.view(square), color, erase)


def _affine(
    augment: Augment, size: tuple[int, int], uniform: tuple[Tensor, ...], flip: Tensor
) -> tuple[Tensor, Tensor]:
    """The map about the picture's centre, (cx, cy) → (cx + shift x, cy + shift y), and back."""
    height, width = size
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    drawn = (uniform[MOVE] < augment.affine_probability).float()
    angle = drawn * _between(uniform[ROTATE], math.radians(augment.rotate))
    target_x = center_x + drawn * _between(uniform[SHIFT_X], augment.translate * width)
    target_y = center_y + drawn * _between(uniform[SHIFT_Y], augment.translate * height)
    low, high = augment.scale
    scale = 1 + drawn * (low - 1 + (high - low) * uniform[SCALE])
    sign = 1 - 2 * flip.float()
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    a, b, c, d = sign * cos, -sin, sign * sin, cos
    x, y = target_x - (a * center_x + b * center_y), target_y - (c * center_x + d * center_y)
    matrix = torch.stack([a, b, x, c, d, y], dim=1).view(-1, 2, 3)
    # The linear part is a rotation, a flip and a factor: its inverse is its transpose / factor².
    a, b, c, d = (entry / (scale * scale) for entry in (a, c, b, d))
    x, y = center_x - (a * target_x + b * target_y), center_y - (c * target_x + d * target_y)
    return matrix, torch.stack([a, b, x, c, d, y], dim=1).view(-1, 2, 3)


def _color(augment: Augment, uniform: tuple[Tensor, ...]) -> Tensor:
    drawn = (uniform[COLOR] < augment.color_probability).float()
    strengths = (augment.brightness, augment.contrast, augment.saturation)
    factors = [
        1 + drawn * _between(uniform[column], strength)
        for strength, column in zip(strengths, (BRIGHTNESS, CONTRAST, SATURATION), strict=True)
    ]
    return torch.stack(factors, dim=1)


def _erase(augment: Augment, size: tuple[int, int], uniform: tuple[Tensor, ...]) -> Tensor:
    height, width = size
    drawn = (uniform[ERASE] < augment.erase).float()
    low, high = augment.erase_area
    area = drawn * (low + (high - low) * uniform[AREA])
    # Uniform in the logarithm: tall and wide rectangles are equally likely.
    ratio = torch.exp(_between(uniform[RATIO], math.log(ERASE_RATIO)))
    rows = torch.round(height * torch.sqrt(area * ratio))
    columns = torch.round(width * torch.sqrt(area / ratio))
    left = torch.floor((width - columns + 1) * uniform[ERASE_X])
    top = torch.floor((height - rows + 1) * uniform[ERASE_Y])
    return torch.stack([left, top, left + columns, top + rows], dim=1)


def _between(uniform: Tensor, bound: float) -> Tensor:
    """Stretches [0, 1) to [−bound, bound)."""
    return uniform * (2 * bound) - bound


def _epoch_key(seed: int, epoch: int) -> int:
    return _mix(_mix(seed + _GOLDEN) + epoch * _GOLDEN)


def _mix(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * _MULTIPLY[0]) & _MASK
    value = ((value ^ (value >> 27)) * _MULTIPLY[1]) & _MASK
    return value ^ (value >> 31)


def _mix_tensor(value: Tensor) -> Tensor:
    value = (value ^ _shift_right(value, 30)) * _signed(_MULTIPLY[0])
    value = (value ^ _shift_right(value, 27)) * _signed(_MULTIPLY[1])
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    # Tensors have no unsigned shift: `>>` would repeat the sign.
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
