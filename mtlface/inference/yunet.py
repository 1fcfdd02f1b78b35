"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") by OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from mtlface.errors import MtlfaceError
from mtlface.inference.detect import Detection, largest_first, on_image, searched
from mtlface.inference.detector_files import YUNET

MIN_SCORE = 0.8


class YuNet:
    """OpenCV's `FaceDetectorYN`: faces of any pose, with their eyes.

    Args:
        model: The path of its ONNX file.
        min_score: The score from which on something is a face.

    Raises:
        MtlfaceError: OpenCV cannot use the file.
    """

    def __init__(self, model: Path, min_score: float | None = None) -> None:
        self._model, self._min_score = model, MIN_SCORE if min_score is None else min_score
        self._local = threading.local()  # its networks keep state and are not for two threads
        self._network()

    def _network(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "network"):
            try:
                self._local.network = cv2.FaceDetectorYN.create(
                    str(self._model), "", (320, 320), self._min_score
                )
            except cv2.error as error:
                raise MtlfaceError(
                    f"detector={self._model} is no YuNet model that OpenCV can read, nor one of "
                    f"the files that mtlface knows. Get {YUNET.file} from {YUNET.page}."
                ) from error
        network: cv2.FaceDetectorYN = self._local.network
        return network

    def __call__(self, pixels: np.ndarray) -> list[Detection]:
        """The faces of an image, the largest first."""
        small, scale = searched(pixels)
        network = self._network()
        network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = network.detect(np.ascontiguousarray(small[..., ::-1]))  # OpenCV wants BGR
        found = [
            # Its "right eye" comes first: the person's right one, on the image's left.
            on_image(row[:4], row[4:8].reshape(2, 2), row[14], scale)
            for row in ([] if rows is None else np.asarray(rows, dtype=float))
        ]
        return largest_first(found)
