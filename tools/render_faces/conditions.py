"""Bad viewing conditions laid over a finished picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import Array, Generator

CONDITIONS = ("clear", "blur", "fog", "low_light", "overexposed", "rain", "noise")
CLEAR_PER_TWENTY = 5


def _blur(picture: Array, rng: Generator) -> Array:
    """Defocus or a smear along a line."""
    if rng.random() < 0.5:
        deviation = rng.uniform(2.4, 3.8)
        return ndimage.gaussian_filter(picture, (deviation, deviation, 0))
    reach = int(rng.integers(6, 10))
    angle = rng.uniform(0, np.pi)
    smeared = np.zeros_like(picture)
    for step in range(-reach, reach + 1):
        shift = (step * np.sin(angle), step * np.cos(angle), 0)
        smeared += ndimage.shift(picture, shift, order=1, mode="nearest")
    return smeared / (2 * reach + 1)


def _fog(picture: Array, rng: Generator) -> Array:
    """A pale, uneven veil."""
    height, width, _ = picture.shape
    clouds = ndimage.gaussian_filter(rng.normal(size=(height, width)), 22)
    clouds = clouds / np.abs(clouds).max()
    veil = np.clip(rng.uniform(0.62, 0.80) + 0.14 * clouds, 0, 0.93)[..., None]
    pale = rng.uniform(0.72, 0.9) * np.array([0.98, 1.0, 1.02])
    softened = ndimage.gaussian_filter(picture, (0.8, 0.8, 0))
    return softened * (1 - veil) + pale * veil


def _low_light(picture: Array, rng: Generator) -> Array:
    """Few photons: dark, bluish and noisy."""
    dark = picture**1.3 * rng.uniform(0.15, 0.28) * np.array([0.9, 0.95, 1.1])
    return dark + rng.normal(0, rng.uniform(0.014, 0.026), picture.shape)


def _overexposed(picture: Array, rng: Generator) -> Array:
    """Too much light: the bright parts clip to white and bleed."""
    height, width, _ = picture.shape
    middle = picture[height // 3 : 3 * height // 4, width // 4 : 3 * width // 4]
    gain = rng.uniform(1.15, 1.5) / max(0.2, float(np.percentile(middle.max(axis=2), 70)))
    bright = picture * max(1.3, gain) + rng.uniform(0.02, 0.08)
    bleed = ndimage.gaussian_filter(np.clip(bright - 1, 0, 1), (5, 5, 0))
    return bright + 0.5 * bleed


def _rain(picture: Array, rng: Generator) -> Array:
    """Slanted streaks and drops on a slightly washed-out picture."""
    height, width, _ = picture.shape
    slant = rng.uniform(-0.35, 0.35)
    streaks = np.zeros((height, width))
    for _ in range(int(rng.integers(260, 420))):
        length = int(rng.integers(12, 34))
        top, left = rng.uniform(-20, height), rng.uniform(-20, width + 20)
        steps = np.arange(length)
        rows = (top + steps).astype(int)
        columns = (left + slant * steps).astype(int)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        streaks[rows[inside], columns[inside]] += rng.uniform(0.35, 0.9)
    streaks = np.clip(ndimage.gaussian_filter(streaks, (1.0, 0.55)), 0, 0.75)[..., None]
    washed = 0.72 * ndimage.gaussian_filter(picture, (0.9, 0.9, 0)) + 0.12
    return washed * (1 - streaks) + 0.88 * streaks


def _noise(picture: Array, rng: Generator) -> Array:
    """Strong sensor noise with some dead and some hot pixels."""
    noisy = picture + rng.normal(0, rng.uniform(0.14, 0.22), picture.shape)
    chance = rng.random(picture.shape[:2])
    noisy[chance < 0.015] = 0
    noisy[chance > 0.985] = 1
    return noisy


def apply_condition(pixels: Array, condition: str, rng: Generator) -> Array:
    """Lays a condition over a picture.

    Args:
        pixels: sRGB picture, shape (H, W, 3), uint8.
        condition: One of `CONDITIONS`.
        rng: Random generator.

    Returns:
        The picture, shape (H, W, 3), uint8.
    """
    effects = {
        "blur": _blur,
        "fog": _fog,
        "low_light": _low_light,
        "overexposed": _overexposed,
        "rain": _rain,
        "noise": _noise,
    }
    if condition == "clear":
        return pixels
    picture = effects[condition](pixels.astype(np.float64) / 255, rng)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_conditions(count: int, rng: Generator) -> list[str]:
    """Deals conditions to the photos of one person: a quarter clear, the others even."""
    hard = [condition for condition in CONDITIONS if condition != "clear"]
    dealt = ["clear"] * round(count * CLEAR_PER_TWENTY / 20)
    while len(dealt) < count:
        missing = min(len(hard), count - len(dealt))
        dealt += [str(name) for name in rng.permutation(hard)[:missing]]
    return [str(name) for name in rng.permutation(dealt)]
