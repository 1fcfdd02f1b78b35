"""Heat laid over a picture: where a network looks."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtlface.plots.raster import Pixels

COLOURS = "inferno"  # as bright as it is strong, so that it reads without colours too
FLAT = 0.1  # a range below this share of the largest value is drawn as weak as it is
FAINT, STRONG = 0.35, 0.8  # how much the coldest and the hottest place hide of the picture


def overlaid(image: Pixels, heat: NDArray[np.floating]) -> Pixels:
    """A picture in grey under the colours of a map, from its own least to its own most.

    A map that is nearly the same everywhere has no hot place: the closer it is to that, the colder
    all of it is drawn.

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w), of any size and range.
    """
    height, width = image.shape[:2]
    low, high = float(heat.min()), float(heat.max())
    span = max(high - low, FLAT * high)
    shares = (heat - low) / span if span > 0 else np.zeros_like(heat)
    drawn = Image.fromarray(shares.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    strength = np.asarray(drawn).clip(0, 1)
    colours = mpl.colormaps[COLOURS](strength)[:, :, :3] * 255
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float64)[:, :, None]
    hidden = (FAINT + (STRONG - FAINT) * strength)[:, :, None]
    found: Pixels = np.round(grey * (1 - hidden) + colours * hidden).astype(np.uint8)
    return found
