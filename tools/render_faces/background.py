"""Draws what is behind the face."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import Array, Generator
from .shading import GAMMA


def draw_background(height: int, width: int, rng: Generator) -> Array:
    """Draws a blurry background: a gradient, cloudy blots and sometimes straight edges.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        rng: Random generator.

    Returns:
        Linear RGB, shape (H, W, 3).
    """
    brightness = rng.uniform(0.12, 0.85)
    first, second = (np.clip(brightness + rng.normal(0, 0.08, size=3), 0.02, 0.95) for _ in "ab")
    rows, columns = np.mgrid[0:height, 0:width] / height
    angle = rng.uniform(0, 2 * np.pi)
    share = 0.5 + (columns - 0.4) * np.cos(angle) + (rows - 0.5) * np.sin(angle)
    share = np.clip(share, 0, 1)[..., None]
    picture = first * (1 - share) + second * share
    grey_and_tint = rng.normal(size=(24, 20, 1)) + 0.4 * rng.normal(size=(24, 20, 3))
    small = ndimage.gaussian_filter(grey_and_tint, (1.6, 1.6, 0))
    small = small / small.std()
    zoom = (height / 24, width / 20, 1)
    blots = ndimage.zoom(small, zoom, order=1)[:height, :width]
    picture = picture * (1 + rng.uniform(0.0, 0.25) * blots)
    for _ in range(rng.integers(0, 5)):
        left, top = rng.uniform(-0.3, 0.9, size=2)
        wide, tall = rng.uniform(0.08, 0.6, size=2)
        inside = (columns > left) & (columns < left + wide) & (rows > top) & (rows < top + tall)
        edge = ndimage.gaussian_filter(inside.astype(np.float32), rng.uniform(1, 5))
        tint = brightness + rng.normal(0, 0.15) + rng.normal(0, 0.08, size=3)
        tint = np.clip(tint, 0.02, 0.95)
        picture = picture + (tint - picture) * (0.8 * edge[..., None])
    return np.clip(picture, 0, 1) ** GAMMA
