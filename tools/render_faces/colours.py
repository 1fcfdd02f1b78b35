"""Colours that people and looks are drawn from, as sRGB in 0..1."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from .arrays import Array

Colour: TypeAlias = tuple[float, float, float]

HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.045, 0.04, 0.04),
    "brown": (0.25, 0.15, 0.085),
    "blond": (0.72, 0.55, 0.31),
    "red": (0.44, 0.17, 0.07),
    "gray": (0.60, 0.59, 0.58),
}
IRIS_COLOURS: dict[str, Colour] = {
    "dark": (0.16, 0.09, 0.05),
    "brown": (0.26, 0.15, 0.08),
    "hazel": (0.38, 0.28, 0.14),
    "green": (0.33, 0.42, 0.25),
    "blue": (0.30, 0.44, 0.60),
}
# Lightest and darkest skin of each ancestry.
SKIN_RANGES: dict[str, tuple[Colour, Colour]] = {
    "caucasian": ((0.95, 0.79, 0.70), (0.80, 0.59, 0.46)),
    "asian": ((0.93, 0.78, 0.64), (0.76, 0.56, 0.41)),
    "african": ((0.60, 0.41, 0.31), (0.30, 0.18, 0.12)),
}


def as_colour(values: Array) -> Colour:
    """Turns an array of shape (3,) into a colour of plain floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Array:
    """Goes from the first colour towards the second by a share 0..1, shape (3,)."""
    return np.array(first) * (1 - share) + np.array(second) * share
