"""What a face detector gives, and which one is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtlface.errors import MtlfaceError
from mtlface.inference.piece import Box, resized

SEARCHED_SIDE = 640
"""The longer side in pixels that images are searched at, whatever their size on disk.

The same photo is then searched in the same way at any resolution; faces below about 2 % of the
longer side are not found.
"""


@dataclass(frozen=True)
class Detection:
    """A face in an image.

    Attributes:
        box: x, y, width, height in pixels.
        eyes: x, y of the left and the right eye's centre in pixels, (2, 2); "left" is the
            image's left.
        score: How sure the detector is, 0 to 1.
    """

    box: Box
    eyes: np.ndarray
    score: float


Detector = Callable[[np.ndarray], list[Detection]]
"""Takes pixels, uint8 (H, W, 3) RGB; gives the faces, the largest first."""


def choose_detector(name: str | None = None, min_score: float | None = None) -> Detector:
    """Loads a detector.

    Args:
        name: `yunet`, `centerface`, or the path of a model file; None takes the first of the two
            whose file is here, else downloads YuNet.
        min_score: The score from which on something is a face; None: the detector's own.

    Raises:
        MtlfaceError: There is no such detector, its file is missing and cannot be downloaded or
            is another one, or the score is no share of 1.
    """
    from mtlface.inference.centerface import CenterFace
    from mtlface.inference.detector_files import find_model
    from mtlface.inference.yunet import YuNet

    if min_score is not None and not 0 < min_score < 1:
        raise MtlfaceError(f"min_score={min_score}; expected a number between 0 and 1.")
    kinds: dict[str, Callable[[Path, float | None], Detector]] = {
        "yunet": YuNet,
        "centerface": CenterFace,
    }
    kind, path = find_model(name)
    return kinds[kind](path, min_score)


def searched(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image at the size that it is searched at, and what x and y are multiplied by for it."""
    height, width = pixels.shape[:2]
    scale = SEARCHED_SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resized(pixels, size), np.array([size[1] / width, size[0] / height])


def on_image(box: np.ndarray, points: np.ndarray, score: float, scale: np.ndarray) -> Detection:
    """A face in the pixels of the image, from one in the pixels of the searched image.

    Args:
        box: x, y, width, height.
        points: x, y of the left and the right eye first, (≥2, 2), counted from pixel centres.
        score: Of the face.
        scale: What x and y were multiplied by, (2,).
    """
    x, y, width, height = (box / np.tile(scale, 2)).tolist()
    return Detection((x, y, width, height), (points[:2] + 0.5) / scale - 0.5, float(score))


def largest_first(found: list[Detection]) -> list[Detection]:
    """Faces by the area of their boxes."""
    return sorted(found, key=lambda face: -face.box[2] * face.box[3])
