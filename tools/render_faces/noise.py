"""Smooth steps and lattice noise, the two ingredients of every painted texture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import Array

LATTICE_SIZE = 64
LATTICE = np.random.default_rng(7).random((LATTICE_SIZE,) * 3).astype(np.float32)


def smooth_step(low: float, high: float, value: Array) -> Array:
    """Rises smoothly from 0 at `low` to 1 at `high`; falls where low > high."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def bump(value: Array, centre: float | Array, width: float) -> Array:
    """A Gaussian bump of height 1."""
    return np.exp(-(((value - centre) / width) ** 2))


def lattice_noise(points: Array, frequency: float | Array) -> Array:
    """Random but smooth values 0..1 at points in space.

    Args:
        points: Positions, shape (P, 3).
        frequency: Lattice cells per unit, one number or one per axis.

    Returns:
        Noise values, shape (P,).
    """
    scaled = (points * frequency).astype(np.float32)
    cell = np.floor(scaled)
    share = scaled - cell
    scaled = cell + share * share * (3 - 2 * share)
    return ndimage.map_coordinates(LATTICE, scaled.T, order=1, mode="grid-wrap")


def layered_noise(points: Array, frequency: float, octaves: int) -> Array:
    """Sum of noise octaves, each twice as fine and half as strong; values 0..1, shape (P,)."""
    total = np.zeros(len(points), dtype=np.float32)
    norm = 0.0
    for octave in range(octaves):
        strength = 0.5**octave
        total += strength * lattice_noise(points + 17.0 * octave, frequency * 2**octave)
        norm += strength
    return total / norm
