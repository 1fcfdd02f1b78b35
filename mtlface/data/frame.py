"""Where the face is in the pictures of a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaceFrame:
    """The picture that a data set's authors cut around a face.

    A network learns this cut; other pictures are cut in the same way before it sees them.

    Attributes:
        size: (width, height) in pixels.
        eyes: x, y of the centres of the left and the right eye, in pixels, as they are on average;
            "left" is the picture's left.
    """

    size: tuple[int, int]
    eyes: tuple[tuple[float, float], tuple[float, float]]
