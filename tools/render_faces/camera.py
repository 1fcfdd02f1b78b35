"""Places the camera and brings meshes and strands into its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .looks import Look
from .mesh import BaseMesh
from .shape import landmark_positions
from .strands import Strands

SUPERSAMPLING = 2
STRAND_SPACING = 1.7
FAR_SIDE = -0.55


@dataclass(frozen=True)
class Framing:
    """Size of the picture and place of the face in it.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        face_pixels: Mean of the eye distance and the eye-to-mouth distance, in pixels.
        centre: Where the middle between eyes and mouth goes, x and y in pixels.
    """

    width: int
    height: int
    face_pixels: float
    centre: tuple[float, float]


CELEBA_FRAMING = Framing(width=178, height=218, face_pixels=40.0, centre=(89.0, 131.0))
UTKFACE_FRAMING = Framing(width=200, height=200, face_pixels=47.0, centre=(100.0, 117.0))


@dataclass(frozen=True)
class Camera:
    """Turns mesh coordinates into camera axes and pixels of the supersampled picture.

    Attributes:
        origin: Mesh point that the camera turns around, shape (3,).
        rotation: Rotation from mesh to camera axes, shape (3, 3).
        distance: Distance of the camera from the origin.
        focal: Focal length in supersampled pixels.
        offset: Pixel of the camera's axis, x and y in supersampled pixels, shape (2,).
    """

    origin: Array
    rotation: Array
    distance: float
    focal: float
    offset: Array

    def turn(self, positions: Array) -> Array:
        """Mesh positions in camera axes, shape (..., 3)."""
        return (positions - self.origin) @ self.rotation.T

    def project(self, turned: Array) -> Array:
        """Pixel x, pixel y and depth of positions in camera axes, shape (..., 3)."""
        range_to_camera = self.distance - turned[..., 2]
        x = self.offset[0] + self.focal * turned[..., 0] / range_to_camera
        y = self.offset[1] - self.focal * turned[..., 1] / range_to_camera
        return np.stack([x, y, turned[..., 2]], axis=-1)


def _rotation(look: Look) -> Array:
    """Rotation matrix of roll after pitch after yaw, shape (3, 3)."""
    cos_yaw, sin_yaw = np.cos(look.yaw), np.sin(look.yaw)
    cos_pitch, sin_pitch = np.cos(look.pitch), np.sin(look.pitch)
    cos_roll, sin_roll = np.cos(look.roll), np.sin(look.roll)
    yaw = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    pitch = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
    roll = np.array([[cos_roll, -sin_roll, 0], [sin_roll, cos_roll, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def place_camera(mesh: BaseMesh, neutral: Array, look: Look, framing: Framing) -> Camera:
    """Places the camera so that the neutral face sits as the framing asks.

    Args:
        mesh: The base mesh.
        neutral: Vertices without expression, shape (V, 3).
        look: The look.
        framing: The framing.
    """
    marks = landmark_positions(mesh, neutral, (0.0, 0.0))
    eyes, mouth = marks[:2].mean(axis=0), marks[3:].mean(axis=0)
    eye_distance = float(np.linalg.norm(marks[0] - marks[1]))
    face_size = (eye_distance + float(np.linalg.norm(eyes - mouth))) / 2
    face_middle = (eyes + mouth) / 2
    distance = look.camera_distance * face_size
    pixels = framing.face_pixels * look.zoom * SUPERSAMPLING
    camera = Camera(
        origin=face_middle - np.array([0, 0, 1.2 * face_size]),
        rotation=_rotation(look),
        distance=distance,
        focal=pixels * (distance - 1.2 * face_size) / face_size,
        offset=np.zeros(2),
    )
    seen = camera.project(camera.turn(face_middle))[:2]
    wanted = SUPERSAMPLING * (np.array(framing.centre) + np.array(look.shift))
    return Camera(camera.origin, camera.rotation, distance, camera.focal, wanted - seen)


@dataclass
class StrandPoints:
    """Strands chopped into points, and the segments that the points lie on; in camera axes.

    Attributes:
        position: Position of each point, shape (P, 3).
        segment: Index of the segment of each point, shape (P,).
        tangent: Unit direction of each segment, shape (S, 3).
        normal: Unit normal of the body below each segment, shape (S, 3).
        colour: sRGB colour of each segment, shape (S, 3).
    """

    position: Array
    segment: Array
    tangent: Array
    normal: Array
    colour: Array


def chop(strands: Strands, camera: Camera) -> StrandPoints:
    """Chops strands into points about `STRAND_SPACING` supersampled pixels apart."""
    nodes = camera.turn(strands.nodes)
    steps = np.diff(nodes, axis=1)
    lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
    pixels = lengths.max(initial=0) * camera.focal / camera.distance
    count = max(1, int(np.ceil(pixels / STRAND_SPACING)))
    normal = (strands.normals[:, 1:] @ camera.rotation.T).reshape(-1, 3)
    colour = np.repeat(strands.colour, steps.shape[1], axis=0)
    share = ((np.arange(count) + 0.5) / count)[None, :, None]
    facing = np.flatnonzero(normal[:, 2] > FAR_SIDE)
    starts = nodes[:, :-1].reshape(-1, 3)[facing]
    position = starts[:, None] + share * steps.reshape(-1, 3)[facing][:, None]
    return StrandPoints(
        position=position.reshape(-1, 3),
        segment=np.repeat(facing, count),
        tangent=(steps / np.maximum(lengths, 1e-9)).reshape(-1, 3),
        normal=normal,
        colour=colour,
    )


def join(clouds: list[StrandPoints]) -> StrandPoints:
    """Puts clouds of strand points, maybe none, into one."""
    if not clouds:
        nothing = np.zeros((0, 3))
        return StrandPoints(nothing, np.zeros(0, dtype=int), nothing, nothing, nothing)
    starts = np.cumsum([0] + [len(cloud.tangent) for cloud in clouds[:-1]])
    segments = [cloud.segment + start for cloud, start in zip(clouds, starts, strict=True)]
    return StrandPoints(
        position=np.concatenate([cloud.position for cloud in clouds]),
        segment=np.concatenate(segments),
        tangent=np.concatenate([cloud.tangent for cloud in clouds]),
        normal=np.concatenate([cloud.normal for cloud in clouds]),
        colour=np.concatenate([cloud.colour for cloud in clouds]),
    )
