"""Random draws that people and looks share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .arrays import Generator


def clipped_normal(rng: Generator, mean: float, deviation: float, limit: float) -> float:
    """Draws a normal number and clips it to mean +- limit."""
    return float(mean + np.clip(rng.normal(0, deviation), -limit, limit))


def pick(rng: Generator, weights: Mapping[str, float]) -> str:
    """Draws a key with probability proportional to its weight."""
    values = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(values), p=values / values.sum()))]
