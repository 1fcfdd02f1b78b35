"""Adverse conditions of a picture: low light, rain, fog, blur, brightness and contrast, noise.

Rain and blur are scaled to the working size, so that they are as hard at 64 as at 224 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

# Without this, importing albumentations asks the package index for a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from mtlface.data.augment import WEATHER


class Fog(A.ImageOnlyTransform):  # type: ignore[misc]
    """Blends the picture towards a bright grey, more in some regions than in others.

    The density varies smoothly: a 4 × 4 grid of random numbers, stretched to the picture.
    `albumentations.RandomFog` draws hundreds of discs instead, which at these sizes look like
    bubbles and take some 10 ms a picture.

    Args:
        density: Smallest and largest mean share of the fog in a pixel.
        variation: How far a region may be from the mean, as a share of it.
        p: Probability of the transform.
    """

    def __init__(
        self, density: tuple[float, float] = (0.3, 0.7), variation: float = 0.4, p: float = 0.5
    ) -> None:
        super().__init__(p=p)
        self.density = density
        self.variation = variation

    def get_params(self) -> dict[str, Any]:
        """Draws the density of each region and the grey of the fog, 200 to 245."""
        mean = self.py_random.uniform(*self.density)
        regions = self.random_generator.uniform(-self.variation, self.variation, (4, 4))
        grid = np.clip(mean * (1 + regions), 0, 0.95).astype(np.float32)
        return {"grid": grid, "grey": self.py_random.uniform(200, 245)}

    def apply(self, img: np.ndarray, grid: np.ndarray, grey: float, **params: Any) -> np.ndarray:
        """Returns the foggy picture, uint8 of shape (H, W, 3)."""
        height, width = img.shape[:2]
        share = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
        return (img + share * (grey - img) + 0.5).astype(np.uint8)


def weather_pipeline(weather: Mapping[str, float], size: tuple[int, int]) -> A.Compose:
    """The conditions as one pipeline, in the order of `WEATHER`; each is drawn on its own.

    Args:
        weather: Probability of each condition.
        size: Height and width of the working frame in pixels.
    """
    side = min(size)
    asked = [name for name in WEATHER if weather.get(name, 0) > 0]
    return A.Compose([_condition(name, weather[name], side) for name in asked])


def _condition(name: str, p: float, side: int) -> A.BasicTransform | A.BaseCompose:
    return {
        "low_light": A.Sequential(
            [
                A.ColorJitter(
                    brightness=(0.2, 0.5), contrast=(0.8, 1), saturation=(0.6, 1), hue=(0, 0), p=1
                ),
                A.GaussNoise(std_range=(0.01, 0.03), p=1),
            ],
            p=p,
        ),
        "brightness_contrast": A.RandomBrightnessContrast(
            brightness_limit=0.2, contrast_limit=0.2, p=p
        ),
        "rain": A.RandomRain(
            slant_range=(-side / 24, side / 24),  # pixels, whatever albumentations calls it
            rain_type="heavy",
            drop_color=(110, 110, 110),
            blur_value=max(1, round(side / 64)),
            brightness_coefficient=0.8,
            p=p,
        ),
        "fog": Fog(p=p),
        "blur": A.GaussianBlur(blur_limit=0, sigma_limit=(0.008 * side, 0.03 * side), p=p),
        "noise": A.GaussNoise(std_range=(0.04, 0.12), p=p),
    }[name]
