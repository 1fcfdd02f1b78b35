"""Figures and pictures as PNG files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mtlface.plots.style import style

Pixels = NDArray[np.uint8]


def figure_png(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def pixels_png(pixels: Pixels) -> bytes:
    """Pixels (H, W, 3) as the bytes of a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=False, compress_level=4)
    return buffer.getvalue()


def png_pixels(content: bytes) -> Pixels:
    """The pixels (H, W, 3) of a PNG file."""
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))
