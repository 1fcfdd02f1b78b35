"""What keeps light away: cast shadows and crevices."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import Array
from .raster import BACKGROUND_DEPTH, rasterise, splat
from .shading import Light

SHADOW_MAP_SIZE = 220
SHADOW_MAP_EXTENT = 6.4
SHADOW_BIAS = 0.09


class ShadowMap:
    """Depth as seen from the light."""

    def __init__(self, light: Light, vertices: Array, triangles: Array, points: Array) -> None:
        """Draws the scene from the light.

        Args:
            light: The light.
            vertices: Mesh vertices in camera axes, shape (V, 3).
            triangles: Triangles that cast shadows, shape (T, 3).
            points: Strand points that cast shadows, shape (P, 3).
        """
        across = np.cross(np.array([0.0, 1.0, 0.0]), light.direction)
        across /= np.linalg.norm(across)
        self.axes = np.stack([across, np.cross(light.direction, across), light.direction])
        self.scale = SHADOW_MAP_SIZE / SHADOW_MAP_EXTENT
        size = SHADOW_MAP_SIZE
        buffer = rasterise(self._project(vertices), triangles, size, size)
        if len(points):
            splat(self._project(points), buffer.depth, size, size, 2)
        self.depth = buffer.depth.reshape(size, size)

    def _project(self, positions: Array) -> Array:
        """Shadow map column, row and depth of positions, shape (P, 3)."""
        turned = positions @ self.axes.T
        turned[:, :2] = SHADOW_MAP_SIZE / 2 + turned[:, :2] * self.scale
        return turned

    def lit_share(self, positions: Array) -> Array:
        """Share of the light that reaches each position, 0..1, shape (P,)."""
        projected = self._project(positions)
        lit = np.zeros(len(positions))
        offsets = (-1.5, -0.5, 0.5, 1.5)
        for column_offset in offsets:
            for row_offset in offsets:
                column = np.clip(projected[:, 0] + column_offset, 0, SHADOW_MAP_SIZE - 1)
                row = np.clip(projected[:, 1] + row_offset, 0, SHADOW_MAP_SIZE - 1)
                blocker = self.depth[row.astype(int), column.astype(int)]
                lit += projected[:, 2] + SHADOW_BIAS > blocker
        return lit / len(offsets) ** 2


def crevice_shade(depth: Array, pixels_per_unit: float) -> Array:
    """Darkens places that lie behind their surroundings.

    Args:
        depth: Depth buffer, shape (H, W).
        pixels_per_unit: Pixels per MakeHuman unit.

    Returns:
        A factor 0..1 of the ambient light, shape (H, W).
    """
    covered = depth > BACKGROUND_DEPTH / 2
    filled = np.where(covered, depth, depth[covered].min()).astype(np.float32)
    hollow = np.zeros_like(filled)
    for radius in (0.055, 0.16):
        blurred = ndimage.gaussian_filter(filled, radius * pixels_per_unit, truncate=2.5)
        hollow += np.clip((blurred - filled) / (2.2 * radius), 0, 1)
    return np.clip(1 - 0.55 * hollow, 0.25, 1)
