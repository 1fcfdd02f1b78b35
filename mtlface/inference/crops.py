"""Three ways to cut a picture for a network: not at all, its centre, or around each face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from mtlface.data.decode import BadImageError
from mtlface.data.frame import FaceFrame
from mtlface.data.source import source_sections
from mtlface.errors import MtlfaceError, did_you_mean
from mtlface.inference.detect import Detection, Detector, choose_detector
from mtlface.inference.piece import Piece, resized
from mtlface.training.trusted import may_name

CROPS = ("none", "center", "detect")
Cut = Callable[[np.ndarray], list[Piece]]
# Shares of width and height, as CelebA has them.
UNKNOWN_EYES = ((0.39, 0.51), (0.605, 0.51))


def face_frame(config: DictConfig, trusted: Sequence[str] = ()) -> FaceFrame:
    """How the pictures that a network learnt from were cut.

    The reader of the data says so; for readers that do not, or that are not here or not to be
    trusted, the working frame with the eyes where portraits have them. Of a network that learnt
    from several data sets, the first one whose reader says so counts.
    """
    data: Any = OmegaConf.to_container(config.data, resolve=True)
    joined = "reader" not in data
    readers = []
    for name, section in source_sections(data).items():
        place = f"data.{name}.reader" if joined else "data.reader"
        with suppress(ImportError, ValueError):  # not here, or no class
            if may_name(place, section["reader"], trusted):
                readers.append(get_class(section["reader"]["_target_"]))
    frames = [getattr(reader, "face_frame", None) for reader in readers]
    if known := [frame for frame in frames if isinstance(frame, FaceFrame)]:
        return known[0]
    height, width = (int(side) for side in config.data.image_size)
    (lx, ly), (rx, ry) = UNKNOWN_EYES
    return FaceFrame((width, height), ((lx * width, ly * height), (rx * width, ry * height)))


def cutter(
    crop: str,
    config: DictConfig,
    detector: str | None = None,
    min_score: float | None = None,
    trusted: Sequence[str] = (),
) -> Cut | None:
    """How pictures are cut for a network; None: they are not, and stretched as in training.

    Args:
        crop: `none`, `center` or `detect`.
        config: The run's config.
        detector: For `detect`, which detector; see `choose_detector`.
        min_score: For `detect`, the score from which on something is a face.
        trusted: Packages of your own, one of which may have the data's reader.

    Raises:
        MtlfaceError: The name is none of them, there is no detector, or one is given that this
            crop has no use for.
    """
    if crop not in CROPS:
        raise MtlfaceError(
            f"crop={crop} is not known; expected one of {', '.join(CROPS)}."
            f"{did_you_mean(crop, [*CROPS])}"
        )
    if crop != "detect" and (detector is not None or min_score is not None):
        raise MtlfaceError(
            f"detector= and min_score= are for crop=detect; found crop={crop}. Add crop=detect, or "
            "leave them out."
        )
    height, width = (int(side) for side in config.data.image_size)
    frame, face = (height, width), face_frame(config, trusted)
    if crop == "center":
        return lambda pixels: [center(pixels, frame, face)]
    if crop == "detect":
        chosen = choose_detector(detector, min_score)
        return lambda pixels: faces(pixels, frame, face, chosen)
    return None


def center(pixels: np.ndarray, frame: tuple[int, int], face: FaceFrame) -> Piece:
    """The largest part around the centre that has the sides' ratio of the training pictures."""
    height, width = pixels.shape[:2]
    ratio = face.size[0] / face.size[1]
    w = max(1, min(width, round(height * ratio)))
    h = max(1, min(height, round(width / ratio)))
    x, y = (width - w) // 2, (height - h) // 2
    to_picture = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    return Piece(resized(pixels[y : y + h, x : x + w], frame), (w, h), to_picture)


def faces(
    pixels: np.ndarray, frame: tuple[int, int], face: FaceFrame, detector: Detector
) -> list[Piece]:
    """Every face that a detector sees, aligned to the frame of the training pictures.

    Raises:
        BadImageError: There is no face.
    """
    found = detector(pixels)
    if not found:
        raise BadImageError("no face found")
    return [aligned(pixels, frame, face, detection) for detection in found]


def aligned(
    pixels: np.ndarray, frame: tuple[int, int], face: FaceFrame, detection: Detection
) -> Piece:
    """Turns and cuts a picture so that the eyes lie where the training pictures have them.

    The cut keeps the picture's resolution and is then resized with antialiasing, as training
    pictures are. What lies outside of the picture repeats its edge.

    Args:
        pixels: uint8 (H, W, 3).
        frame: (height, width) of the working frame.
        face: Where the eyes have to lie.
        detection: Where they are.
    """
    (left, right), (to_left, to_right) = detection.eyes, np.array(face.eyes)
    across, wanted = right - left, to_right - to_left
    scale = float(np.hypot(*across) / np.hypot(*wanted))  # pixels of the picture a frame pixel
    angle = np.arctan2(across[1], across[0]) - np.arctan2(wanted[1], wanted[0])
    size = (max(1, round(face.size[0] * scale)), max(1, round(face.size[1] * scale)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # Pixel coordinates count from the centre of the first pixel: half a pixel inside the edge.
    middle = ((to_left + to_right) / 2 + 0.5) * scale - 0.5
    shift = (left + right) / 2 - turn @ middle
    to_picture = np.column_stack((turn, shift))
    piece = cv2.warpAffine(
        pixels,
        to_picture,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return Piece(resized(piece, frame), size, to_picture, detection.box, detection.score)
