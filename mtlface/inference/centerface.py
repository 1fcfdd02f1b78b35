"""CenterFace (Xu et al. 2019, "Joint Face Detection and Alignment Using Face as Point")."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from mtlface.errors import MtlfaceError
from mtlface.inference.detect import Detection, largest_first, on_image, searched
from mtlface.inference.detector_files import CENTERFACE

MIN_SCORE = 0.5
OUTPUTS = ("537", "538", "539", "540")  # heat map, sides, offsets, points
STRIDE = 4  # pixels a cell of the heat map
BLOCK = 32  # the network halves its input five times
SAME_FACE = 0.3  # intersection over union from which on two cells mean one face
COUNTED = 0.4  # the share of min_score from which on a cell has a say in where the face is


class CenterFace:
    r"""A heat map of face centres, with sides, offsets and five points for each cell.

    For a cell in row r and column c with the outputs :math:`s` (log sides), :math:`o` (offsets)
    and :math:`l` (points, in sides of the box), in pixels:

    .. math::
        (h, w) = 4 e^{s}, \quad y = 4 (r + o_y + 1/2) - h/2, \quad x = 4 (c + o_x + 1/2) - w/2,
        \quad p = (x + l_x w, y + l_y h)

    Several cells see one face. Taking only the surest would move the face by a cell where two are
    nearly alike, so box and points are their mean, weighted by score².

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

    def _network(self) -> cv2.dnn.Net:
        if not hasattr(self._local, "network"):
            try:
                self._local.network = cv2.dnn.readNetFromONNX(str(self._model))
            except cv2.error as error:
                raise MtlfaceError(
                    f"detector={self._model} cannot be read by OpenCV {cv2.__version__}. "
                    f"{CENTERFACE.hint}"
                ) from error
        network: cv2.dnn.Net = self._local.network
        return network

    def __call__(self, pixels: np.ndarray) -> list[Detection]:
        """The faces of an image, the largest first."""
        small, scale = searched(pixels)
        scores, boxes, points = self._cells(small)
        found = []
        left = np.ones(len(scores), dtype=bool)
        for k in np.argsort(-scores, kind="stable"):
            if scores[k] < self._min_score:
                break
            if left[k]:
                same = left & (_overlap(boxes[k], boxes) > SAME_FACE)
                left &= ~same
                weights = scores[same] ** 2 / (scores[same] ** 2).sum()
                where = np.tensordot(weights, points[same], axes=1)
                found.append(on_image(weights @ boxes[same], where, scores[k], scale))
        return largest_first(found)

    def _cells(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (n,), boxes (n, 4) and points (n, 5, 2) of the cells that may be a face."""
        height, width = pixels.shape[:2]
        padded = np.zeros((-(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK, 3), np.uint8)
        padded[:height, :width] = pixels
        network = self._network()
        network.setInput(cv2.dnn.blobFromImage(padded))  # RGB, 0 to 255
        heat, sides, offsets, points = (out[0] for out in network.forward(OUTPUTS))
        row, column = np.nonzero(heat[0] >= COUNTED * self._min_score)
        h, w = STRIDE * np.exp(sides[:, row, column])
        y = STRIDE * (row + offsets[0, row, column] + 0.5) - h / 2
        x = STRIDE * (column + offsets[1, row, column] + 0.5) - w / 2
        of_box = points[:, row, column].reshape(5, 2, -1)  # y before x
        places = np.stack([x + of_box[:, 1] * w, y + of_box[:, 0] * h], axis=-1)  # (5, n, 2)
        boxes = np.stack([x, y, w, h], axis=1)
        return heat[0, row, column], boxes, places.transpose(1, 0, 2)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (n, 4), each x, y, width, height."""
    first = np.maximum(box[:2], boxes[:, :2])
    last = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    common: np.ndarray = (last - first).clip(min=0).prod(axis=1)
    union = box[2:].prod() + boxes[:, 2:].prod(axis=1) - common
    overlap: np.ndarray = common / union
    return overlap
