"""Pictures with what was predicted drawn on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from mtlface.atomic import atomic_write
from mtlface.data.decode import BadImageError, decode, read_file
from mtlface.data.schema import Binary, Label, Multilabel, Number, Points
from mtlface.errors import MtlfaceError
from mtlface.inference.predictor import BOX_COLUMNS
from mtlface.values import printable

POINT, BOX, INK, PAPER = (0, 200, 255), (255, 200, 0), (255, 255, 255), (30, 30, 30)
SMALLEST = 256  # the shorter side in pixels that a caption can be read on
LARGEST = 2048  # the longer side in pixels up to which a small picture is made larger
JPEG_SIDE = 60_000  # pixels; no JPEG has more than 65,535, and there is the caption


def annotated(
    pixels: Any, rows: Iterable[Mapping[Any, Any]], labels: Iterable[Label]
) -> Image.Image:
    """Draws points and boxes on a picture, and the rest in words below it.

    Args:
        pixels: uint8 (H, W, 3).
        rows: The picture's rows of predictions, one a face.
        labels: What the network predicts.
    """
    picture = Image.fromarray(pixels)
    zoom = max(1.0, min(SMALLEST / min(picture.size), LARGEST / max(picture.size)))
    zoom = min(zoom, JPEG_SIDE / max(picture.size))
    across, down = (max(1, round(side * zoom)) for side in picture.size)
    picture = picture.resize((across, down))
    pen, lines, known = ImageDraw.Draw(picture), [], list(labels)
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
        for label in known:
            if isinstance(label, Points):
                for x, y in _points(row, label):
                    cx, cy = (x + 0.5) * zoom, (y + 0.5) * zoom
                    pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=POINT)
        lines.append(f"{number}{caption(row, known)}")
    return _with_lines(picture, lines)


def caption(row: Mapping[Any, Any], labels: Iterable[Label]) -> str:
    """A row of predictions in words, without its points."""
    if isinstance(row.get("error"), str):
        return str(row["error"])
    return ", ".join(
        text for label in labels if not isinstance(label, Points) and (text := _words(row, label))
    )


def annotate_part(
    part: pd.DataFrame, paths: Iterable[str], labels: Iterable[Label], folder: Path, first: int
) -> None:
    """Draws the pictures of a part of the predictions into a folder.

    Unreadable pictures have nothing to draw on and are left out; the table names them.

    Args:
        part: Predictions.
        paths: The picture of each group of rows.
        labels: What the network predicts.
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
        drawn = annotated(pixels, rows.to_dict("records"), labels)
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


def _words(row: Mapping[Any, Any], label: Label) -> str:
    if isinstance(label, Multilabel):
        return ", ".join(name for name in label.names if row.get(name) == 1)
    if label.name not in row:
        return ""
    if isinstance(label, Number):
        return f"{label.name} {row[label.name]:.0f} {label.unit}".rstrip()
    shown, probability = row[label.name], row[f"{label.name}_probability"]
    if isinstance(label, Binary) and shown == label.classes[0]:
        probability = 1 - probability  # the column is that of the second class
    return f"{label.name} {shown} {probability:.2f}"


def _points(row: Mapping[Any, Any], label: Points) -> list[tuple[float, float]]:
    flat = [row.get(column) for column in label.columns]
    if any(value is None or pd.isna(value) for value in flat):
        return []
    return list(zip(flat[::2], flat[1::2], strict=True))  # type: ignore[arg-type]


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
