"""Small smooth drawings for pictures: points, and words in the figures' own font."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from mtlface.plots.style import OKABE_ITO

TRUTH, FOUND = OKABE_ITO[5], OKABE_ITO[7]  # sky blue and yellow stand out on skin and hair
RIGHT, WRONG, NEUTRAL = OKABE_ITO[2], OKABE_ITO[1], "#222222"
_SCALE = 4  # Pillow draws without smoothing; drawn larger and reduced, edges are smooth


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The figures' font, which comes with matplotlib; size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


@lru_cache(maxsize=8)
def ring(diameter: int) -> Image.Image:
    """The mark of a true point: an open ring."""
    image, draw, size = _canvas(diameter)
    edge = _SCALE * 1.2
    draw.ellipse((0, 0, size, size), fill="black")
    draw.ellipse((edge, edge, size - edge, size - edge), fill=TRUTH)
    hole = edge + _SCALE * 1.7
    draw.ellipse((hole, hole, size - hole, size - hole), fill="black")
    hole += _SCALE * 0.6
    draw.ellipse((hole, hole, size - hole, size - hole), fill=(0, 0, 0, 0))
    return image.resize((diameter, diameter), Image.Resampling.LANCZOS)


@lru_cache(maxsize=8)
def dot(diameter: int) -> Image.Image:
    """The mark of a predicted point: a filled dot."""
    image, draw, size = _canvas(diameter)
    edge = _SCALE * 1.2
    draw.ellipse((0, 0, size, size), fill="black")
    draw.ellipse((edge, edge, size - edge, size - edge), fill=FOUND)
    return image.resize((diameter, diameter), Image.Resampling.LANCZOS)


def fitted(text: str, size: int, width: float, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    face = font(size, bold)
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _canvas(diameter: int) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    size = diameter * _SCALE
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    return image, ImageDraw.Draw(image), size - 1
