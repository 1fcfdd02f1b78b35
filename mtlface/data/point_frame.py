"""Whether points lie in the images that they were made for: sizes and labels must agree.

Points are in pixels of the upright image, after the camera's EXIF rotation. A copy of a data set
whose images were resized (or turned) while its label file was not would train on wrong points
without a word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtlface.data.frame import FaceFrame
from mtlface.data.schema import Points
from mtlface.data.table import FaceTable

NEAR = 0.1  # of the image's sides: eyes that are as near as this are those of the frame
EYES = ("left_eye", "right_eye")


def misplaced(
    table: FaceTable,
    sizes: np.ndarray,
    frame: FaceFrame | None = None,
    declared: Sequence[int] | None = None,
) -> dict[int, str]:
    """The rows whose points are not those of their image, each with the reason.

    Three checks: an image has the size that was declared for the label file, if any; its points
    lie in it; and where the data set's authors cut all images in one way, the eyes of images of
    another size do not lie where they would lie in the authors' images.

    Args:
        table: The labels.
        sizes: Width and height of each row's upright image on disk, (N, 2).
        frame: How the authors cut their images.
        declared: Width and height of the images that the points are given for.
    """
    found: dict[int, str] = {}
    for label in table.labels.values():
        if not isinstance(label, Points):
            continue
        points = label.values(table.frame).astype(float)
        labelled = np.isfinite(points).any(axis=(1, 2))
        if declared is not None:
            expected = tuple(declared)
            for row in np.flatnonzero(labelled & (sizes != expected).any(axis=1)).tolist():
                found.setdefault(row, _reason(sizes[row], expected))
        elif frame is not None:
            for row in _of_the_frame(label, points, sizes, frame):
                found.setdefault(row, _reason(sizes[row], frame.size))
        low, high = (points < -0.5), (points > sizes[:, None] - 0.5)
        for row in np.flatnonzero((low | high).any(axis=(1, 2))).tolist():
            k = int(np.argmax((low | high)[row].any(axis=1)))
            x, y = points[row, k]
            width, height = sizes[row]
            found.setdefault(
                row,
                f"{label.names[k]} at {x:g}, {y:g} does not lie in the image of "
                f"{width}×{height} pixels",
            )
    return dict(sorted(found.items()))


def _reason(size: np.ndarray, expected: Sequence[int]) -> str:
    return (
        f"the image has {size[0]}×{size[1]} pixels, but its points are given for one of "
        f"{expected[0]}×{expected[1]} pixels"
    )


def _of_the_frame(
    label: Points, points: np.ndarray, sizes: np.ndarray, frame: FaceFrame
) -> list[int]:
    """Rows of images of other sizes than the frame's whose eyes lie where the frame has them.

    Decided for all images of one size together, by the median: a single face may lie anywhere.
    """
    if any(eye not in label.names for eye in EYES):
        return []
    eyes = points[:, [label.names.index(eye) for eye in EYES]]
    rows = np.flatnonzero((sizes != frame.size).any(axis=1) & np.isfinite(eyes).all(axis=(1, 2)))
    if not len(rows):
        return []
    usual = np.array(frame.eyes) / frame.size
    kinds, kind = np.unique(sizes[rows], axis=0, return_inverse=True)
    found: list[int] = []
    for number, size in enumerate(kinds):
        of_size = rows[kind.ravel() == number]
        median = np.median(eyes[of_size], axis=0)
        if_frame = np.abs(median / frame.size - usual).max()
        if_own = np.abs(median / size - usual).max()
        if if_frame < NEAR and if_frame < if_own / 2:
            found += of_size.tolist()
    return found
