"""Finds faces: a cascade that needs no download, or YuNet from a model file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mtlface.errors import MtlfaceError
from mtlface.inference.piece import Box

# Detection works on pictures no larger than this; smaller faces hold little for a network anyway.
LONGEST_SIDE = 640
SMALLEST_FACE = 32
# Where the cascade's boxes have the eyes, as shares of the box: the median over 56 rendered faces.
EYES_IN_BOX = ((0.32, 0.395), (0.68, 0.395))
YUNET = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"


@dataclass(frozen=True)
class Detection:
    """A face in a picture.

    Attributes:
        box: x, y, width, height in pixels.
        eyes: x, y of the left and the right eye's centre in pixels, (2, 2); "left" is the
            picture's left.
    """

    box: Box
    eyes: np.ndarray


Detector = Callable[[np.ndarray], list[Detection]]
"""Takes pixels, uint8 (H, W, 3) RGB; gives the faces, the largest first."""


def choose_detector(model: str | None) -> Detector:
    """YuNet if its model file is given, else the cascade.

    Args:
        model: Path of `face_detection_yunet_….onnx`, or None.

    Raises:
        MtlfaceError: There is no such file, it is no YuNet, or scikit-image is not installed.
    """
    return YuNet(Path(model).expanduser()) if model else Cascade()


class Cascade:
    """The cascade of local binary patterns that scikit-image brings, for upright frontal faces.

    OpenCV had cascades until 4.x; 5.0 brings none. It sees boxes only, so that a tilted head stays
    tilted.

    Raises:
        MtlfaceError: scikit-image is not installed.
    """

    def __init__(self) -> None:
        try:
            from skimage.data import lbp_frontal_face_cascade_filename
            from skimage.feature import Cascade as Patterns
        except ImportError as error:
            raise MtlfaceError(
                "crop=detect needs a face detector: pip install 'mtlface[detect]' for one without "
                f"a download, or give detector=<YuNet model file> (from {YUNET})."
            ) from error
        self._patterns = Patterns(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]

    def __call__(self, pixels: np.ndarray) -> list[Detection]:
        """The faces of a picture, the largest first."""
        small, scale = _shrunk(pixels)
        if min(small.shape[:2]) < SMALLEST_FACE:
            return []
        found = self._patterns.detect_multi_scale(
            small,
            scale_factor=1.1,
            step_ratio=1,
            min_size=(SMALLEST_FACE, SMALLEST_FACE),
            max_size=small.shape[:2],
        )
        boxes = [(b["c"], b["r"], b["width"], b["height"]) for b in found]
        return _largest_first([_from_box(np.array(box, dtype=float) / scale) for box in boxes])


class YuNet:
    """YuNet (Wu et al. 2023) by OpenCV's `FaceDetectorYN`: faces of any pose, with their eyes.

    Args:
        model: The path of its ONNX file.
        threshold: The score from which on something is a face.

    Raises:
        MtlfaceError: There is no such file, or OpenCV cannot use it.
    """

    def __init__(self, model: Path, threshold: float = 0.8) -> None:
        if not model.is_file():
            raise MtlfaceError(
                f"detector={model}: there is no such file. Get face_detection_yunet_2023mar.onnx "
                f"from {YUNET}."
            )
        self._model, self._threshold = model, threshold
        self._local = threading.local()  # its networks keep state and are not for two threads
        self._network()

    def _network(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "network"):
            try:
                self._local.network = cv2.FaceDetectorYN.create(
                    str(self._model), "", (320, 320), self._threshold
                )
            except cv2.error as error:
                raise MtlfaceError(
                    f"detector={self._model} is no YuNet model that OpenCV can read. Get "
                    f"face_detection_yunet_2023mar.onnx from {YUNET}."
                ) from error
        network: cv2.FaceDetectorYN = self._local.network
        return network

    def __call__(self, pixels: np.ndarray) -> list[Detection]:
        """The faces of a picture, the largest first."""
        small, scale = _shrunk(pixels)
        network = self._network()
        network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = network.detect(np.ascontiguousarray(small[..., ::-1]))  # OpenCV wants BGR
        found = []
        for row in [] if rows is None else np.asarray(rows, dtype=float) / scale:
            x, y, width, height = row[:4].tolist()
            # Its "right eye" comes first: the person's right one, on the picture's left.
            found.append(Detection((x, y, width, height), row[4:8].reshape(2, 2)))
        return _largest_first(found)


def _shrunk(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    scale = min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
    if scale == 1.0:
        return pixels, scale
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), scale


def _from_box(box: np.ndarray) -> Detection:
    x, y, width, height = box.tolist()
    eyes = np.array(EYES_IN_BOX) * (width, height) + (x, y)
    return Detection((x, y, width, height), eyes)


def _largest_first(found: list[Detection]) -> list[Detection]:
    """Without those whose middle lies in a larger one: an eye or a mouth taken for a face."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.box[2] * face.box[3]):
        x, y = face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2
        if not any(
            other.box[0] <= x <= other.box[0] + other.box[2]
            and other.box[1] <= y <= other.box[1] + other.box[3]
            for other in kept
        ):
            kept.append(face)
    return kept
