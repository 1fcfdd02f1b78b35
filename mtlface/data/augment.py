"""What happens to a training picture, as configured: the `augment` group in one object.

The same `Augment` is applied by `augment_cpu.CpuAugment` (a picture at a time, with the weather)
and by `augment_device.DeviceAugment` (a batch at a time); `augment_draws` gives both the same
random numbers, so which of them runs does not change what a picture becomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mtlface.errors import MtlfaceError, did_you_mean

WEATHER = ("low_light", "brightness_contrast", "rain", "fog", "blur", "noise")
"""The adverse conditions, in the order in which they are applied: light, air, lens, sensor."""

# Erased rectangles are at most this many times as long as wide, as in the paper.
ERASE_RATIO = 3.3


@dataclass(frozen=True)
class Augment:
    """Random changes of a training picture and its points; the default changes nothing.

    Applied in the order colour, flip and affine, erasing, weather. What an affine map brings in
    from outside the picture is black, like erased rectangles; points that leave the picture keep
    their coordinates there.

    Attributes:
        flip: Probability of a horizontal flip, which also exchanges left and right points.
        affine_probability: Probability that rotation, translation and scaling are drawn.
        rotate: Largest rotation about the picture's centre, in degrees, either way.
        translate: Largest shift, as a share of the width and of the height, either way.
        scale: Smallest and largest factor about the picture's centre.
        color_probability: Probability that the three colour factors are drawn.
        brightness: Largest relative change of brightness: the factor is drawn from 1 ± this.
        contrast: The same for contrast about the mean grey.
        saturation: The same for saturation.
        erase: Probability that one rectangle is erased (Zhong et al. 2020, Random Erasing).
        erase_area: Smallest and largest share of the picture that a rectangle takes.
        weather: Probability of each adverse condition, by a name of `WEATHER`.

    Raises:
        MtlfaceError: A probability, a range or a name of `weather` is not possible.
    """

    flip: float = 0.0
    affine_probability: float = 1.0
    rotate: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    color_probability: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    weather: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in fields(self):
            if entry.type == "float":
                _require(self, entry.name, 0.0, 180.0 if entry.name == "rotate" else 1.0)
        low, high = _pair(self, "scale")
        if not 0.0 < low <= high < math.inf:
            raise MtlfaceError(
                f"augment.scale is {[low, high]}; expected [low, high] with 0 < low ≤ high."
            )
        low, high = _pair(self, "erase_area")
        if not 0.0 < low <= high <= 1 / ERASE_RATIO:
            raise MtlfaceError(
                f"augment.erase_area is {[low, high]}; expected [low, high] with "
                f"0 < low ≤ high ≤ {1 / ERASE_RATIO:.2f}, so that every rectangle fits."
            )
        # Plain containers, whatever a config library passes: they compare and travel to workers.
        object.__setattr__(self, "scale", _pair(self, "scale"))
        object.__setattr__(self, "erase_area", _pair(self, "erase_area"))
        object.__setattr__(self, "weather", _checked_weather(self.weather))

    @property
    def moves(self) -> bool:
        """Whether a picture may be rotated, shifted or scaled."""
        asked = self.rotate > 0 or self.translate > 0 or self.scale != (1.0, 1.0)
        return asked and self.affine_probability > 0

    @property
    def colors(self) -> bool:
        """Whether brightness, contrast or saturation may change."""
        asked = self.brightness > 0 or self.contrast > 0 or self.saturation > 0
        return asked and self.color_probability > 0

    @property
    def needs_cpu(self) -> bool:
        """Whether it asks for weather, which only the CPU stage has."""
        return any(probability > 0 for probability in self.weather.values())

    @property
    def is_identity(self) -> bool:
        """Whether every picture stays as it is."""
        return not (self.flip > 0 or self.moves or self.colors or self.erase > 0 or self.needs_cpu)


def _require(augment: Augment, name: str, low: float, high: float) -> None:
    value = getattr(augment, name)
    if not _within(value, low, high):
        raise MtlfaceError(
            f"augment.{name} is {value!r}; expected a number from {low:g} to {high:g}."
        )


def _within(value: Any, low: float, high: float) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and low <= value <= high


def _pair(augment: Augment, name: str) -> tuple[float, float]:
    value = getattr(augment, name)
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MtlfaceError(f"augment.{name} is {value!r}; expected two numbers.") from error
    return low, high


def _checked_weather(weather: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(weather, Mapping):
        raise MtlfaceError(
            f"augment.weather is {weather!r}; expected a probability for any of "
            f"{', '.join(WEATHER)}, for example augment.weather.fog=0.2."
        )
    for name, probability in weather.items():
        if name not in WEATHER:
            raise MtlfaceError(
                f"augment.weather has no condition '{name}'."
                f"{did_you_mean(name, list(WEATHER))} It has: {', '.join(WEATHER)}."
            )
        if not _within(probability, 0.0, 1.0):
            raise MtlfaceError(
                f"augment.weather.{name} is {probability!r}; expected a probability from 0 to 1."
            )
    return {name: float(weather[name]) for name in WEATHER if name in weather}
