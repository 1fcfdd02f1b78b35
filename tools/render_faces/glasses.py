"""Builds eyeglasses as clouds of points on thin tubes."""

from __future__ import annotations

import numpy as np

from .arrays import Array
from .mesh import LEFT_EYE_VERTICES, RIGHT_EYE_VERTICES, BaseMesh

RIM_POINTS = 420
TUBE_POINTS = 14


def _tube(curve: Array, radius: float) -> tuple[Array, Array]:
    """Wraps a tube around a curve.

    Args:
        curve: Points along the curve, shape (C, 3).
        radius: Radius of the tube.

    Returns:
        Points and outward normals, both of shape (C * TUBE_POINTS, 3).
    """
    along = np.gradient(curve, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(along[:, 2:]) > 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    across = np.cross(along, helper)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    other = np.cross(along, across)
    angles = np.linspace(0, 2 * np.pi, TUBE_POINTS, endpoint=False)
    normals = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * other
    points = curve[None] + radius * normals
    return points.reshape(-1, 3), normals.reshape(-1, 3)


def glasses_points(
    mesh: BaseMesh, vertices: Array, frame: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Places glasses on a shaped face.

    Args:
        mesh: The base mesh.
        vertices: Shaped vertices, shape (V, 3).
        frame: Half width and half height of a lens in eye distances, and its roundness exponent.

    Returns:
        Points and outward normals, both of shape (P, 3).
    """
    wide, tall, exponent = frame
    left_eye = vertices[LEFT_EYE_VERTICES].mean(axis=0)
    right_eye = vertices[RIGHT_EYE_VERTICES].mean(axis=0)
    middle = (left_eye + right_eye) / 2
    spacing = float(np.linalg.norm(left_eye - right_eye))
    body = vertices[np.unique(mesh.body)]
    offset = np.abs(body - middle)
    near_lens = (offset[:, 0] > 0.25 * spacing) & (offset[:, 0] < 0.8 * spacing)
    near_lens &= (body[:, 1] > middle[1] - 0.25 * spacing) & (offset[:, 1] < 0.3 * spacing)
    lens_depth = body[near_lens, 2].max() + 0.05 * spacing
    radius = 0.028 * spacing
    angle = np.linspace(0, 2 * np.pi, RIM_POINTS)
    curves = []
    for side in (-1.0, 1.0):
        x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / exponent)
        y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / exponent)
        centre_x = middle[0] + side * 0.54 * spacing
        rim_x = centre_x + wide * spacing * x
        bend = 0.18 * np.clip(np.abs(rim_x - middle[0]) - 0.2 * spacing, 0, None) ** 2 / spacing
        rim_y = middle[1] - 0.03 * spacing + tall * spacing * y
        curves.append(np.stack([rim_x, rim_y, lens_depth - bend], axis=1))
        hinge = np.array(
            [centre_x + side * wide * spacing, middle[1] + 0.08 * spacing, lens_depth - bend.max()]
        )
        beside_ear = (body[:, 1] > middle[1] - 0.2 * spacing) & (offset[:, 1] < 0.4 * spacing)
        beside_ear &= body[:, 2] < middle[2] - 0.6 * spacing
        ear_x = middle[0] + side * offset[beside_ear, 0].max() * 0.98
        ear = np.array([ear_x, middle[1] + 0.12 * spacing, middle[2] - 1.5 * spacing])
        share = np.linspace(0, 1, RIM_POINTS)[:, None]
        curves.append(hinge * (1 - share) + ear * share)
    share = np.linspace(-1, 1, 120)
    bridge_half = (0.54 - wide) * spacing
    bridge = np.stack(
        [
            middle[0] + bridge_half * share,
            middle[1] + (0.02 + 0.06 * (1 - share**2)) * spacing,
            np.full(120, lens_depth),
        ],
        axis=1,
    )
    curves.append(bridge)
    tubes = [_tube(curve, radius) for curve in curves]
    return np.concatenate([tube[0] for tube in tubes]), np.concatenate([tube[1] for tube in tubes])
