"""Fixed random points on the mesh from which hair, beards and brows may grow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from .arrays import Array, Generator
from .mesh import BaseMesh, load_base_mesh

POOL_SEED = 20240521
HEAD_POOL_SIZE = 40000
FACE_POOL_SIZE = 40000
BROW_POOL_SIZE = 6000


@dataclass(frozen=True)
class RootPool:
    """Fixed random points on the mesh from which strands may grow.

    Attributes:
        corners: Mesh vertices of the triangle of each point, shape (R, 3).
        weights: Barycentric weights of each point, shape (R, 3).
        canonical: Canonical position of each point, shape (R, 3).
        ears: Ear mask at each point, shape (R,).
        lips: Lip and mouth mask at each point, shape (R,).
    """

    corners: Array
    weights: Array
    canonical: Array
    ears: Array
    lips: Array

    def take(self, chosen: Array) -> RootPool:
        """A pool of the chosen points only."""
        return RootPool(
            self.corners[chosen],
            self.weights[chosen],
            self.canonical[chosen],
            self.ears[chosen],
            self.lips[chosen],
        )

    def on(self, values: Array) -> Array:
        """Interpolates per-vertex values, shape (V, C), at the points, shape (R, C)."""
        return (values[self.corners] * self.weights[:, :, None]).sum(axis=1)


def _random_points(mesh: BaseMesh, inside: Array, count: int, rng: Generator) -> RootPool:
    """Draws points uniformly over the body triangles whose vertices are all inside."""
    triangles = mesh.body[inside[mesh.body].all(axis=1)]
    first, second, third = (mesh.vertices[triangles[:, corner]] for corner in range(3))
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    chosen = triangles[rng.choice(len(triangles), size=count, p=areas / areas.sum())]
    share = np.sqrt(rng.random(count))
    slide = rng.random(count)
    weights = np.stack([1 - share, share * (1 - slide), share * slide], axis=1)

    lips = np.maximum(mesh.masks["lips"], mesh.masks["mouth"])
    on_body = np.column_stack([mesh.vertices, mesh.masks["ears"], lips])
    values = (on_body[chosen] * weights[:, :, None]).sum(axis=1)
    return RootPool(chosen, weights, values[:, :3], values[:, 3], values[:, 4])


@cache
def root_pools() -> dict[str, RootPool]:
    """The root pools "head", "face" and "brow", the same in every run."""
    mesh = load_base_mesh()
    rng = np.random.default_rng(POOL_SEED)
    _, height, depth = mesh.vertices.T
    head = (height > 6.4) & (height < 8.6)
    face = (height > 5.9) & (height < 7.4) & (depth > 0.4)
    brow = (height > 7.25) & (height < 7.7) & (depth > 0.85)
    return {
        "head": _random_points(mesh, head, HEAD_POOL_SIZE, rng),
        "face": _random_points(mesh, face, FACE_POOL_SIZE, rng),
        "brow": _random_points(mesh, brow, BROW_POOL_SIZE, rng),
    }


def choose(mask: Array, count: int, rng: Generator) -> Array:
    """Draws up to `count` pool points with probability given by a mask, as sorted indices."""
    accepted = np.flatnonzero(rng.random(len(mask)) < mask)
    if len(accepted) > count:
        accepted = np.sort(rng.choice(accepted, size=count, replace=False))
    return accepted
