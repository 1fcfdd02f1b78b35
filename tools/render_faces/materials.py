"""Colour and material of what the mesh shows in each pixel."""

from __future__ import annotations

from functools import cache

import numpy as np

from .arrays import Array
from .looks import Look
from .mesh import load_base_mesh
from .people import Person
from .raster import PixelBuffer
from .shading import Surface
from .skin import TEETH, TONGUE, paint_eyes, paint_skin

BODY, EYES, TEETH_PART, TONGUE_PART = range(4)


@cache
def scene_triangles() -> tuple[Array, Array]:
    """All drawn triangles, shape (T, 3), and the part each belongs to, shape (T,)."""
    mesh = load_base_mesh()
    parts = [mesh.body, mesh.eyes, mesh.teeth, mesh.tongue]
    labels = [np.full(len(part), label) for label, part in enumerate(parts)]
    return np.concatenate(parts), np.concatenate(labels)


def _interpolate(values: Array, corners: Array, buffer: PixelBuffer, pixels: Array) -> Array:
    """Interpolates per-vertex values (V, C) at pixels, shape (P, C)."""
    second = buffer.second[pixels].astype(np.float32)[:, None]
    third = buffer.third[pixels].astype(np.float32)[:, None]
    first = 1 - second - third
    result = values[corners[:, 0]] * first
    result += values[corners[:, 1]] * second
    result += values[corners[:, 2]] * third
    return result


def mesh_surface(
    pixels: Array, buffer: PixelBuffer, turned: Array, normals: Array, person: Person, look: Look
) -> Surface:
    """Gathers colour and material of the visible mesh at pixels.

    Args:
        pixels: Flat indices of pixels that show the mesh, shape (P,).
        buffer: What each pixel shows, of the triangles of `scene_triangles`.
        turned: Vertices in camera axes, shape (V, 3).
        normals: Unit normals of the vertices in camera axes, shape (V, 3).
        person: The person.
        look: The look.

    Returns:
        P surface samples.
    """
    mesh = load_base_mesh()
    triangles, parts = scene_triangles()
    corners = triangles[buffer.triangle[pixels]]
    part = parts[buffer.triangle[pixels]]
    names = ("lips", "mouth", "ears", "lids")
    columns = [turned, normals, mesh.vertices]
    columns += [mesh.masks[name][:, None] for name in names]
    values = np.concatenate(columns, axis=1).astype(np.float32)
    values = _interpolate(values, corners, buffer, pixels)
    position, normal, canonical = values[:, :3], values[:, 3:6], values[:, 6:9]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    masks = {name: values[:, 9 + index] for index, name in enumerate(names)}

    colour = np.zeros((len(pixels), 3))
    softness = np.zeros(len(pixels))
    gloss = np.zeros(len(pixels))
    sharpness = np.full(len(pixels), 16.0)
    body = np.flatnonzero(part == BODY)
    body_masks = {name: mask[body] for name, mask in masks.items()}
    colour[body], clothes = paint_skin(canonical[body], body_masks, person, look)
    softness[body] = 1 - clothes
    lips, mouth = body_masks["lips"], body_masks["mouth"]
    middle = np.exp(-((canonical[body, 0] / 0.12) ** 2))
    oily = 0.06 * (1 + 1.5 * middle) * (1 - clothes) * (1 - np.clip(mouth, 0, 1))
    gloss[body] = oily + (0.08 + 0.12 * look.lipstick) * np.clip(lips, 0, 1)
    sharpness[body] = 16 + 20 * np.clip(lips, 0, 1)

    eyes = np.flatnonzero(part == EYES)
    colour[eyes] = paint_eyes(mesh, canonical[eyes], person, look)
    gloss[eyes], sharpness[eyes] = 0.9, 180.0
    softness[eyes] = 0.8
    teeth = part == TEETH_PART
    colour[teeth], gloss[teeth], sharpness[teeth] = TEETH, 0.2, 40.0
    softness[teeth] = 1.0
    colour[part == TONGUE_PART] = TONGUE
    deep = np.zeros(len(pixels))
    deep[body] = np.clip(mouth, 0, 1)
    colour *= (1 - 0.45 * deep)[:, None]
    return Surface(position, normal, colour, softness, gloss, sharpness)
