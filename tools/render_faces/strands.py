"""Grows strands on the shaped mesh.

A strand is a chain of nodes. Each new node follows a combing direction, gravity and a curl, and is
pushed out of the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .arrays import Array, Generator
from .mesh import BaseMesh
from .noise import smooth_step
from .roots import RootPool

GRAVITY = np.array([0.0, -1.0, 0.0])


@dataclass
class Strands:
    """Strands of equal node count.

    Attributes:
        nodes: Node positions, shape (N, K, 3).
        normals: Outward body normal near each node, shape (N, K, 3).
        colour: sRGB colour of each strand, shape (N, 3).
    """

    nodes: Array
    normals: Array
    colour: Array


@dataclass(frozen=True)
class Growth:
    """How strands grow.

    Attributes:
        steps: Number of segments of a strand.
        lift: How much strands leave the skin upright.
        gravity: How much strands bend down per segment.
        curl: Strength of the waves.
        avoid_face: Whether strands are blown off the face, and dropped where they still cross it.
    """

    steps: int
    lift: float
    gravity: float
    curl: float
    avoid_face: bool = False


def _unit(vectors: Array) -> Array:
    """Scales vectors (..., 3) to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


class ShapedBody:
    """The shaped body as seen by strands: gives roots, keeps nodes outside and off the face."""

    def __init__(self, mesh: BaseMesh, vertices: Array, normals: Array, unit: float) -> None:
        """Prepares the nearest-vertex search.

        Args:
            mesh: The base mesh.
            vertices: Shaped vertices, shape (V, 3).
            normals: Their unit normals, shape (V, 3).
            unit: Length of one face unit in MakeHuman units.
        """
        self.vertices = vertices
        self.normals = normals
        self.unit = unit
        index = np.unique(mesh.body)
        index = index[mesh.masks["ears"][index] < 0.3]
        self.near_positions = vertices[index]
        self.near_normals = normals[index]
        self.tree = cKDTree(self.near_positions)
        side, height, depth = mesh.vertices[index].T
        face = smooth_step(0.70, 0.95, depth) * smooth_step(7.80, 7.60, height)
        self.face_zone = face * smooth_step(5.9, 6.2, height)
        self.cling = 0.75 * smooth_step(6.5, 6.9, height) * (1 - self.face_zone)
        clear = smooth_step(0.80, 1.0, depth) * smooth_step(7.62, 7.48, height)
        self.keep_clear = clear * smooth_step(5.9, 6.2, height)
        self.side = np.sign(side)

    def settle(self, nodes: Array, clearance: Array) -> tuple[Array, Array, Array]:
        """Moves nodes out of the body, and back to it where they stand off the skull.

        Args:
            nodes: Positions, shape (N, 3).
            clearance: Wanted distance from the body, shape (N,).

        Returns:
            The moved nodes, shape (N, 3), the normals there, shape (N, 3), and the nearest entry
            of this object's per-vertex fields, shape (N,).
        """
        _, nearest = self.tree.query(nodes)
        normals = self.near_normals[nearest]
        distance = ((nodes - self.near_positions[nearest]) * normals).sum(axis=1)
        missing = np.clip(clearance - distance, 0, None)
        excess = np.clip(distance - 1.3 * clearance - 0.02 * self.unit, 0, None)
        moved = nodes + (missing - self.cling[nearest] * excess)[:, None] * normals
        return moved, normals, nearest


def grow(
    body: ShapedBody,
    roots: RootPool,
    comb: Array,
    length: Array,
    clearance: Array,
    growth: Growth,
    rng: Generator,
) -> tuple[Array, Array, Array]:
    """Grows strands node by node.

    Args:
        body: The body to stay out of.
        roots: The N roots.
        comb: Combing direction of each strand, shape (N, 3).
        length: Length of each strand, shape (N,).
        clearance: Distance each strand keeps from the body, shape (N,).
        growth: How the strands grow.
        rng: Random generator.

    Returns:
        Node positions and nearby body normals, both of shape (K, steps + 1, 3), and the indices of
        the K strands that are kept.
    """
    node = roots.on(body.vertices)
    normal = _unit(roots.on(body.normals))
    count, steps = len(node), growth.steps
    tangential = comb - (comb * normal).sum(axis=1, keepdims=True) * normal
    direction = _unit(growth.lift * normal + tangential + 0.12 * rng.normal(size=node.shape))
    phase = rng.uniform(0, 2 * np.pi, size=count)
    frequency = rng.uniform(0.7, 1.3, size=count)
    segment = (length / steps)[:, None]
    nodes, normals = [node], [normal]
    face_zone = np.zeros(count)
    crosses_face = np.zeros(count, dtype=bool)
    side = np.sign(node[:, 0])
    for step in range(1, steps + 1):
        direction = direction + growth.gravity * GRAVITY
        if growth.avoid_face:
            away = np.column_stack([0.8 * side, np.full(count, -0.2), np.full(count, -1.0)])
            direction = direction + face_zone[:, None] * away
        angle = phase + 2.1 * frequency * step
        across = np.cross(direction, normal)
        wave = np.cos(angle)[:, None] * across + 0.6 * np.sin(angle)[:, None] * normal
        direction = _unit(direction)
        target = nodes[-1] + segment * _unit(direction + growth.curl * wave)
        ramp = min(1.0, step / max(1.0, 0.4 * steps))
        target, normal, nearest = body.settle(target, clearance * ramp)
        face_zone, side = body.face_zone[nearest], body.side[nearest]
        crosses_face |= body.keep_clear[nearest] > 0.5
        direction = 0.75 * direction + 0.25 * _unit(target - nodes[-1])
        nodes.append(target)
        normals.append(normal)
    kept = np.flatnonzero(~crosses_face) if growth.avoid_face else np.arange(count)
    return np.stack(nodes, axis=1)[kept], np.stack(normals, axis=1)[kept], kept
