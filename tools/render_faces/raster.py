"""A small z-buffer rasteriser for triangles and for clouds of points, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array

BACKGROUND_DEPTH = -1e9
BOX_SIZES = (3, 5, 8, 12, 20, 40, 80, 160, 1024)
PIXELS_PER_BATCH = 2_000_000


@dataclass
class PixelBuffer:
    """What is seen in each pixel; every array is flat, of shape (height * width,).

    Attributes:
        triangle: Index of the visible triangle, -1 where none is.
        depth: Depth of the visible surface, larger is nearer, `BACKGROUND_DEPTH` where none is.
        second: Barycentric weight of the triangle's second corner.
        third: Barycentric weight of the triangle's third corner.
    """

    triangle: Array
    depth: Array
    second: Array
    third: Array


def rasterise(
    points: Array, triangles: Array, height: int, width: int, cull_backfaces: bool = False
) -> PixelBuffer:
    """Draws triangles into a z-buffer.

    Args:
        points: Pixel x, pixel y and depth (larger is nearer) of each vertex, shape (V, 3).
        triangles: Vertex indices, shape (T, 3).
        height: Rows of the picture.
        width: Columns of the picture.
        cull_backfaces: Whether triangles seen from behind are dropped.

    Returns:
        The visible triangle and its barycentric weights in each pixel.
    """
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    to_second = second[:, :2] - first[:, :2]
    to_third = third[:, :2] - first[:, :2]
    area = to_second[:, 0] * to_third[:, 1] - to_third[:, 0] * to_second[:, 1]
    corners = np.stack([first[:, :2], second[:, :2], third[:, :2]], axis=1)
    low = np.floor(corners.min(axis=1)).astype(int)
    high = np.ceil(corners.max(axis=1)).astype(int)
    drawable = (np.abs(area) > 1e-9) & (high > 0).all(axis=1)
    drawable &= (low[:, 0] < width) & (low[:, 1] < height)
    if cull_backfaces:
        drawable &= area < 0
    limit = np.array([width - 1, height - 1])
    low = np.clip(low, 0, limit)
    extent = (np.clip(high, 0, limit) - low).max(axis=1) + 1

    found = []
    smaller_box = 0
    for box in BOX_SIZES:
        chosen = np.flatnonzero(drawable & (extent > smaller_box) & (extent <= box))
        smaller_box = box
        batch = max(1, PIXELS_PER_BATCH // (box * box))
        offsets = np.arange(box)
        for start in range(0, len(chosen), batch):
            index = chosen[start : start + batch]
            column = low[index, 0][:, None, None] + offsets[None, None, :]
            row = low[index, 1][:, None, None] + offsets[None, :, None]
            x = column + 0.5 - first[index, 0][:, None, None]
            y = row + 0.5 - first[index, 1][:, None, None]
            divisor = area[index][:, None, None]
            third_x, third_y = (to_third[index, k][:, None, None] for k in (0, 1))
            second_x, second_y = (to_second[index, k][:, None, None] for k in (0, 1))
            weight_second = (x * third_y - third_x * y) / divisor
            weight_third = (second_x * y - x * second_y) / divisor
            inside = (weight_second >= -1e-6) & (weight_third >= -1e-6)
            inside &= weight_second + weight_third <= 1 + 1e-6
            inside &= (column < width) & (row < height)
            where, rows, columns = np.nonzero(inside)
            face = index[where]
            weight_second, weight_third = weight_second[inside], weight_third[inside]
            depth = first[face, 2]
            depth = depth + weight_second * (second[face, 2] - first[face, 2])
            depth = depth + weight_third * (third[face, 2] - first[face, 2])
            pixel = (low[face, 1] + rows) * width + low[face, 0] + columns
            found.append((pixel, depth, face, weight_second, weight_third))

    size = height * width
    buffer = PixelBuffer(
        triangle=np.full(size, -1),
        depth=np.full(size, BACKGROUND_DEPTH),
        second=np.zeros(size),
        third=np.zeros(size),
    )
    if not found:
        return buffer
    pixel, depth, face, weight_second, weight_third = map(np.concatenate, zip(*found, strict=True))
    far_to_near = np.argsort(depth, kind="stable")
    pixel = pixel[far_to_near]
    buffer.triangle[pixel] = face[far_to_near]
    buffer.depth[pixel] = depth[far_to_near]
    buffer.second[pixel] = weight_second[far_to_near]
    buffer.third[pixel] = weight_third[far_to_near]
    return buffer


def splat(
    points: Array, depth: Array, height: int, width: int, footprint: int
) -> tuple[Array, Array]:
    """Draws points as little squares over what a depth buffer already holds.

    Args:
        points: Pixel x, pixel y and depth of each point, shape (P, 3).
        depth: Depth buffer to draw over, shape (height * width,); it is updated in place.
        height: Rows of the picture.
        width: Columns of the picture.
        footprint: Side of the square in pixels.

    Returns:
        The flat pixels that show a point, shape (K,), and the index of that point, shape (K,).
    """
    corner = np.floor(points[:, :2] - footprint / 2 + 0.5).astype(np.int32)
    in_frame = (corner > -footprint).all(axis=1)
    in_frame &= (corner[:, 0] < width) & (corner[:, 1] < height)
    candidates = np.flatnonzero(in_frame)
    candidates = candidates[np.argsort(points[candidates, 2], kind="stable")]
    corner, point_depth = corner[candidates], points[candidates, 2]
    visible = np.full(height * width, -1)
    for row_offset in range(footprint):
        for column_offset in range(footprint):
            column = corner[:, 0] + column_offset
            row = corner[:, 1] + row_offset
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            pixel = np.where(inside, row * width + column, 0)
            chosen = np.flatnonzero(inside & (point_depth > depth[pixel]))
            nearest = np.full(height * width, -1)
            nearest[pixel[chosen]] = chosen
            shown = np.flatnonzero(nearest >= 0)
            visible[shown] = candidates[nearest[shown]]
            depth[shown] = point_depth[nearest[shown]]
    shown = np.flatnonzero(visible >= 0)
    return shown, visible[shown]
