"""A piece of a picture as the network sees it, and how it lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from mtlface.data.decode import BadImageError

Box: TypeAlias = tuple[float, float, float, float]
IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Piece:
    """One face, or the whole picture, resized to the working frame.

    Attributes:
        pixels: uint8 (height, width, 3), RGB.
        size: Width and height of the piece before it was resized, in pixels of the picture.
        to_picture: (2, 3), takes pixel coordinates (x, y, 1) of the piece before it was resized to
            those of the picture.
        box: x, y, width and height of the face that a detector saw, in pixels of the picture.
        score: How sure the detector was, 0 to 1.
    """

    pixels: np.ndarray
    size: tuple[float, float]
    to_picture: np.ndarray = field(default_factory=lambda: IDENTITY)
    box: Box | None = None
    score: float | None = None


def resized(pixels: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Stretches pixels (H, W, 3) to a frame (height, width), bilinear with antialiasing."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize(frame[::-1], Image.Resampling.BILINEAR))


def as_pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    """A picture in memory as uint8 (H, W, 3), upright.

    Raises:
        BadImageError: An array is not uint8 (H, W, 3) or (H, W), or is empty.
    """
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    known = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not known or not image.size:
        raise BadImageError(
            f"an array of {image.dtype} {image.shape}; expected uint8 (H, W, 3) in RGB, or (H, W)"
        )
    grey = image.ndim == 2
    return np.repeat(image[..., None], 3, axis=2) if grey else np.ascontiguousarray(image)
