"""Contact sheets: pictures in a grid with their points drawn and words below.

Drawn with Pillow, in a few milliseconds: sheets are made between epochs of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mtlface.plots import marks
from mtlface.plots.raster import Pixels

HEIGHT = 190  # of a picture in a sheet, pixels
_GAP, _LINE, _TEXT, _TITLE, _MARK = 12, 16, 12, 15, 9
_RIGHT, _WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"


@dataclass(frozen=True)
class Caption:
    """A line below a picture; `right` sets its colour and its sign, None neither."""

    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Panel:
    """A picture of a sheet.

    Attributes:
        image: uint8 (H, W, 3).
        aspect: Width by height that it is shown with; the working frame may be stretched.
        captions: The lines below it.
        truth: True points (K, 2), x and y in 0..1 from the picture's edges; NaN where unknown.
        found: Predicted points (K, 2), likewise.
    """

    image: Pixels
    aspect: float
    captions: Sequence[Caption] = ()
    truth: NDArray[np.float64] | None = None
    found: NDArray[np.float64] | None = None


def sheet(panels: Sequence[Panel], title: str, columns: int = 4) -> Pixels:
    """Draws pictures in a grid.

    Args:
        panels: At least one.
        title: One line above them.
        columns: Pictures in a row.

    Returns:
        uint8 (height, width, 3).
    """
    columns = max(1, min(columns, len(panels)))
    cell = round(HEIGHT * min(1.6, max(0.85, max(panel.aspect for panel in panels))))
    rows = -(-len(panels) // columns)
    below = _LINE * max(len(panel.captions) for panel in panels) + _GAP
    pointed = any(panel.truth is not None or panel.found is not None for panel in panels)
    foot = _LINE + 4 if pointed else 0
    head = _TITLE + 2 * _GAP
    width = columns * (cell + _GAP) + _GAP
    canvas = Image.new("RGB", (width, head + rows * (HEIGHT + below + _GAP) + foot), "white")
    draw = ImageDraw.Draw(canvas)
    name = marks.fitted(title, _TITLE, width - 2 * _GAP, bold=True)
    draw.text((_GAP, _GAP), name, fill="black", font=marks.font(_TITLE, bold=True))
    for i, panel in enumerate(panels):
        x = _GAP + i % columns * (cell + _GAP)
        y = head + i // columns * (HEIGHT + below + _GAP)
        _draw(canvas, draw, panel, x, y, cell)
    if pointed:
        _legend(canvas, draw, panels, canvas.height - foot)
    return np.asarray(canvas)


def _draw(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, x: int, y: int, cell: int
) -> None:
    width, height = cell, round(cell / panel.aspect)
    if height > HEIGHT:
        width, height = round(HEIGHT * panel.aspect), HEIGHT
    left, top = x + (cell - width) // 2, y + (HEIGHT - height) // 2
    picture = Image.fromarray(panel.image).resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(picture, (left, top))
    corner, sides = np.array([left, top]), np.array([width, height])
    truth, found = (
        None if points is None else corner + np.clip(points, -0.06, 1.06) * sides - 0.5
        for points in (panel.truth, panel.found)
    )
    if truth is not None and found is not None:
        for start, end in zip(truth, found, strict=True):
            if np.isfinite([*start, *end]).all():
                draw.line((*start, *end), fill="white", width=1)
    for points, mark in ((truth, marks.ring(_MARK + 2)), (found, marks.dot(_MARK - 2))):
        for place in [] if points is None else points[np.isfinite(points).all(axis=1)]:
            _stamp(canvas, mark, place)
    for line, caption in enumerate(panel.captions):
        sign = {True: f"{_RIGHT} ", False: f"{_WRONG} ", None: ""}[caption.right]
        colour = {True: marks.RIGHT, False: marks.WRONG, None: marks.NEUTRAL}[caption.right]
        bold = caption.right is False
        text = marks.fitted(sign + caption.text, _TEXT, cell, bold)
        place = (x, y + HEIGHT + 4 + line * _LINE)
        draw.text(place, text, fill=colour, font=marks.font(_TEXT, bold))


def _stamp(canvas: Image.Image, mark: Image.Image, place: NDArray[np.float64]) -> None:
    corner = np.round(place - (np.array(mark.size) - 1) / 2).astype(int)
    canvas.paste(mark, (int(corner[0]), int(corner[1])), mark)


def _legend(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panels: Sequence[Panel], y: int
) -> None:
    both = any(panel.found is not None for panel in panels)
    truth = any(panel.truth is not None for panel in panels)
    x, middle = _GAP, y + _LINE / 2 - 1
    for name, mark, shown in (
        ("truth" if both else "landmarks", marks.ring(_MARK + 2), truth),
        ("predicted", marks.dot(_MARK - 2), both),
    ):
        if shown:
            _stamp(canvas, mark, np.array([x + _MARK / 2, middle]))
            x += _MARK + 6
            draw.text((x, y), name, fill=marks.NEUTRAL, font=marks.font(_TEXT))
            x += round(marks.font(_TEXT).getlength(name)) + 2 * _GAP
