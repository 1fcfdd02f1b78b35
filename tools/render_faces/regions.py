"""Where hair, beards and brows grow, as soft masks in canonical coordinates."""

from __future__ import annotations

import numpy as np

from .arrays import Array
from .noise import bump, smooth_step


def hairline(canonical: Array, recession: float) -> Array:
    """Height of the hairline on the forehead at each point, shape (P,)."""
    side = np.abs(canonical[:, 0])
    line = 7.82 - 0.30 * smooth_step(0.30, 0.74, side)
    corners = bump(side, 0.40, 0.14) * (0.04 + 0.42 * recession)
    return line + corners + 0.10 * recession


def scalp_mask(canonical: Array, ears: Array, recession: float) -> Array:
    """Where hair grows on the head, 0..1, shape (P,).

    Args:
        canonical: Canonical positions, shape (P, 3).
        ears: Ear mask, shape (P,).
        recession: How far the hairline has moved up, 0..1.
    """
    side = np.abs(canonical[:, 0])
    height = canonical[:, 1]
    depth = canonical[:, 2]
    over_line = smooth_step(-0.05, 0.09, height - hairline(canonical, recession))
    front = over_line * smooth_step(7.25, 7.5, height)
    back = smooth_step(0.58, 0.40, depth) * smooth_step(6.55, 6.75, height)
    temple_edge = depth + 0.25 * smooth_step(7.45, 7.0, height)
    temple = (side > 0.60) * smooth_step(0.88, 0.70, temple_edge)
    temple = temple * smooth_step(7.02, 7.14, height)
    mask = np.maximum(np.maximum(front, back), temple)
    return mask * (1 - np.clip(1.8 * ears, 0, 1))


def sideburn_mask(canonical: Array, ears: Array) -> Array:
    """Where sideburns grow, 0..1, shape (P,)."""
    side, height, depth = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    strip = smooth_step(0.58, 0.64, side) * bump(depth, 0.72, 0.10)
    strip = strip * smooth_step(6.80, 6.92, height) * smooth_step(7.35, 7.2, height)
    return strip * (1 - np.clip(1.8 * ears, 0, 1))


def beard_mask(canonical: Array, lips: Array, ears: Array, beard: str) -> Array:
    """Where a style of beard grows, 0..1, shape (P,)."""
    side, height, depth = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    upper_edge = 6.60 + 0.42 * smooth_step(0.30, 0.70, side)
    jaw = smooth_step(0.05, -0.06, height - upper_edge) * smooth_step(6.02, 6.14, height)
    jaw = jaw * smooth_step(0.42, 0.62, depth)
    mustache = bump(height, 6.785, 0.04) * smooth_step(0.32, 0.24, side)
    mustache = mustache * smooth_step(1.2, 1.3, depth)
    beside_mouth = bump(side, 0.36, 0.05) * smooth_step(6.35, 6.45, height)
    beside_mouth = beside_mouth * smooth_step(6.80, 6.72, height) * (depth > 1.0)
    chin = smooth_step(0.26, 0.18, side) * smooth_step(6.52, 6.46, height)
    chin = chin * smooth_step(6.02, 6.14, height) * (depth > 0.9)
    parts = {
        "stubble": [jaw, mustache, beside_mouth],
        "mustache": [mustache],
        "goatee": [chin, mustache],
        "full": [jaw, mustache, beside_mouth],
    }
    mask = np.max(parts[beard], axis=0)
    return mask * (1 - np.clip(1.6 * lips, 0, 1)) * (1 - np.clip(1.8 * ears, 0, 1))


def brow_mask(canonical: Array, thickness: float, arch: float) -> Array:
    """Where eyebrows grow, 0..1, shape (P,)."""
    side, height, depth = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    along = (side - 0.13) / 0.37
    inner = np.clip(along, 0, 1)
    centre = 7.425 + 0.055 * arch * np.sin(inner * 2.2) - 0.045 * inner**2
    half_height = 0.032 * thickness * (1 - 0.5 * inner)
    mask = np.exp(-(((height - centre) / half_height) ** 2))
    ends = smooth_step(-0.06, 0.06, along) * smooth_step(1.12, 0.88, along)
    return mask * ends * (depth > 0.9)
