"""Images with what was predicted drawn on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from mtlface.atomic import atomic_write
from mtlface.data.decode import BadImageError, decode, read_file
from mtlface.errors import MtlfaceError
from mtlface.inference.predictor import BOX_COLUMNS
from mtlface.tasks import Task
from mtlface.values import printable

POINT, BOX, INK, PAPER = (0, 200, 255), (255, 200, 0), (255, 255, 255), (30, 30, 30)
SMALLEST = 256  # the shorter side in pixels that a caption can be read on
LARGEST = 2048  # the longer side in pixels up to which a small picture is made larger
JPEG_SIDE = 60_000  # pixels; no JPEG has more than 65,535, and there is the caption


def annotated(
    pixels: Any, rows: Iterable[Mapping[Any, Any]], tasks: Iterable[Task[Any]]
) -> Image.Image:
    """Draws points and boxes on a picture, and the rest in words below it.

    Args:
        pixels: uint8 (H, W, 3).
        rows: The picture's rows of predictions, one a face.
        tasks: What the network predicts.
    """
    picture = Image.fromarray(pixels)
    zoom = max(1.0, min(SMALLEST / min(picture.size), LARGEST / max(picture.size)))
    zoom = min(zoom, JPEG_SIDE / max(picture.size))
    across, down = (max(1, round(side * zoom)) for side in picture.size)
    picture = picture.resize((across, down))
    pen, lines, known = ImageDraw.Draw(picture), [], list(tasks)
    radius = max(2.0, min(picture.size) / 100)
    shown = list(rows)
    for row in shown:
        number = f"{row['face']}: " if len(shown) > 1 else ""
        if (box := _box(row)) is not None:
            x, y, width, height = (side * zoom for side in box)
            pen.rectangle((x, y, x + width, y + height), outline=BOX, width=2)
            pen.text(
                (x + 4, y + 2), number.rstrip(": "), fill=BOX, font=ImageFont.load_default(size=14)
            )
        for x, y in _points(row, known):
            cx, cy = (x + 0.5) * zoom, (y + 0.5) * zoom
            pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=POINT)
        lines.append(f"{number}{caption(row, known)}")
    return _with_lines(picture, lines)


def caption(row: Mapping[Any, Any], tasks: Iterable[Task[Any]]) -> str:
    """A row of predictions in words, without its points."""
    if isinstance(row.get("error"), str):
        return str(row["error"])
    return ", ".join(words for task in tasks if (words := task.prediction(row).words))


def annotate_part(
    part: pd.DataFrame,
    paths: Iterable[str],
    tasks: Sequence[Task[Any]],
    folder: Path,
    first: int,
) -> None:
    """Draws the pictures of a part of the predictions into a folder.

    Unreadable pictures have nothing to draw on and are left out; the table names them.

    Args:
        part: Predictions.
        paths: The picture of each group of rows.
        tasks: What the network predicts.
        folder: Where to write `<number>_<name>.jpg`.
        first: The number of the first picture; names alone may repeat.

    Raises:
        MtlfaceError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    number = new_pictures(part).cumsum() - 1
    for k, (path, (_, rows)) in enumerate(zip(paths, part.groupby(number), strict=True)):
        try:
            pixels = decode(read_file(path))
        except (OSError, BadImageError):
            continue
        drawn = annotated(pixels, rows.to_dict("records"), tasks)
        try:
            with atomic_write(
                folder / f"{first + k + 1:06d}_{printable(Path(path).stem)}.jpg"
            ) as file:
                drawn.save(file, "JPEG", quality=92)
        except OSError as error:
            raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> MtlfaceError:
    return MtlfaceError(
        f"Pictures cannot be written to {folder} ({error.strerror or error}). Give another "
        "output=…, or leave annotate=true out."
    )


def new_pictures(part: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are the first of their picture."""
    if "face" not in part:
        return pd.Series(True, index=part.index)
    return part["face"].isna() | (part["face"].fillna(1) == 1)


def _points(row: Mapping[Any, Any], tasks: Iterable[Task[Any]]) -> list[tuple[float, float]]:
    if isinstance(row.get("error"), str):
        return []
    points = [found for task in tasks if (found := task.prediction(row).points) is not None]
    return (
        [(x, y) for x, y in np.concatenate(points) if np.isfinite((x, y)).all()] if points else []
    )


def _box(row: Mapping[Any, Any]) -> list[float] | None:
    values = [row.get(column) for column in BOX_COLUMNS]
    if any(value is None or pd.isna(value) for value in values):
        return None
    return [float(value) for value in values]  # type: ignore[arg-type]


def _with_lines(picture: Image.Image, lines: list[str]) -> Image.Image:
    font = ImageFont.load_default(size=14)
    wide = max(24, picture.width // 8)  # characters that fit, at about 8 pixels each
    rows = [line[k : k + wide] for line in lines for k in range(0, max(1, len(line)), wide)]
    whole = Image.new("RGB", (picture.width, picture.height + 18 * len(rows) + 4), PAPER)
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    for k, text in enumerate(rows):
        pen.text((4, picture.height + 2 + 18 * k), text, fill=INK, font=font)
    return whole
