"""Renders one photo of a person: shape, camera, hair, light, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .arrays import Array, Generator
from .background import draw_background
from .camera import SUPERSAMPLING, Camera, Framing, StrandPoints, chop, join, place_camera
from .glasses import glasses_points
from .hair import beard_hair, brow_hair, scalp_hair
from .looks import Look
from .materials import BODY, mesh_surface, scene_triangles
from .mesh import load_base_mesh, vertex_normals
from .people import Person
from .raster import rasterise, splat
from .shading import GAMMA, Light, Surface, draw_light, light_strands, light_surface
from .shadows import ShadowMap, crevice_shade
from .shape import expressive_vertices, landmark_positions, person_vertices
from .strands import ShapedBody

ADULT_EYE_DISTANCE = 0.62
TEETH_DEPTH_BIAS = 0.09
BROW_OPACITY = 0.7


@dataclass
class Photo:
    """A finished picture.

    Attributes:
        pixels: sRGB picture, shape (H, W, 3), uint8.
        landmarks: Pixel x and y of the five landmarks in CelebA's order, shape (5, 2).
        face_box: Left, top, width and height of the face in pixels.
    """

    pixels: Array
    landmarks: Array
    face_box: tuple[float, float, float, float]


@dataclass
class Canvas:
    """The supersampled picture while it is drawn; its arrays are changed in place.

    Attributes:
        height: Rows.
        width: Columns.
        picture: Linear RGB, shape (height * width, 3).
        depth: Depth of what is drawn, larger is nearer, shape (height * width,).
    """

    height: int
    width: int
    picture: Array
    depth: Array

    def splat(self, points: Array, depth: Array) -> tuple[Array, Array]:
        """Finds which points (P, 3) show over a depth buffer, which is updated in place."""
        return splat(points, depth, self.height, self.width, SUPERSAMPLING)


class FaceRenderer:
    """Renders photos; keeps the last person's neutral shape to save time."""

    def __init__(self) -> None:
        """Loads the base mesh."""
        self.mesh = load_base_mesh()
        self._person: Person | None = None
        self._neutral: Array | None = None

    def neutral_vertices(self, person: Person) -> Array:
        """The person's neutral shape, shape (V, 3)."""
        if self._neutral is None or self._person is not person:
            self._neutral = person_vertices(self.mesh, person)
            self._person = person
        return self._neutral

    def render(self, person: Person, look: Look, framing: Framing, rng: Generator) -> Photo:
        """Renders one photo.

        Args:
            person: Who is seen.
            look: How they look in this photo.
            framing: Size of the picture and place of the face.
            rng: Random generator of light, background, strands and sensor noise.

        Returns:
            The picture with its landmarks.
        """
        mesh = self.mesh
        height, width = framing.height * SUPERSAMPLING, framing.width * SUPERSAMPLING
        neutral = self.neutral_vertices(person)
        vertices = expressive_vertices(neutral, look)
        triangles, parts = scene_triangles()
        normals = vertex_normals(vertices, triangles)
        camera = place_camera(mesh, neutral, look, framing)
        eyes = landmark_positions(mesh, neutral, (0.0, 0.0))[:2]
        unit = float(np.linalg.norm(eyes[0] - eyes[1])) / ADULT_EYE_DISTANCE

        body = ShapedBody(mesh, vertices, normals, unit)
        strands = scalp_hair(body, person, look, rng) + beard_hair(body, look, rng)
        brows = chop(brow_hair(body, person, look, rng), camera)
        hair = join([chop(group, camera) for group in strands])
        light = draw_light(rng)
        turned = camera.turn(vertices)
        shadow_map = ShadowMap(light, turned, triangles[parts == BODY], hair.position[::3])

        projected = camera.project(turned)
        projected[np.unique(mesh.teeth), 2] -= TEETH_DEPTH_BIAS * unit
        buffer = rasterise(projected, triangles, height, width, cull_backfaces=True)
        background = draw_background(framing.height, framing.width, rng)
        background = background.repeat(SUPERSAMPLING, axis=0).repeat(SUPERSAMPLING, axis=1)
        canvas = Canvas(height, width, background.reshape(-1, 3), buffer.depth.copy())
        hair_pixels, hair_points = canvas.splat(camera.project(hair.position), canvas.depth)
        pixels_per_unit = camera.focal / camera.distance
        crevice = crevice_shade(canvas.depth.reshape(height, width), pixels_per_unit).ravel()

        is_bare = buffer.triangle >= 0
        is_bare[hair_pixels] = False
        bare = np.flatnonzero(is_bare)
        surface = mesh_surface(bare, buffer, turned, normals @ camera.rotation.T, person, look)
        lit = shadow_map.lit_share(surface.position)
        canvas.picture[bare] = light_surface(surface, light, lit, crevice[bare])

        _draw_brows(canvas, brows, camera, light)
        lit = shadow_map.lit_share(hair.position[hair_points])
        segments = hair.segment[hair_points]
        canvas.picture[hair_pixels] = light_strands(
            hair.tangent[segments],
            hair.normal[segments],
            hair.colour[segments],
            light,
            lit,
            crevice[hair_pixels],
        )
        lash_strength = min(0.85, (0.25 if person.male else 0.32) + 0.5 * look.eye_makeup)
        self._draw_lashes(canvas, projected, buffer.depth, lash_strength)
        self._draw_glasses(canvas, vertices, camera, look, light)

        marks = camera.project(camera.turn(landmark_positions(mesh, vertices, look.gaze)))
        return Photo(
            pixels=_develop(canvas.picture.reshape(height, width, 3), look, rng),
            landmarks=marks[:, :2] / SUPERSAMPLING,
            face_box=self._face_box(projected),
        )

    def _draw_lashes(self, canvas: Canvas, projected: Array, skin: Array, strength: float) -> None:
        """Darkens the canvas where eyelashes lie in front of the skin.

        Args:
            canvas: The canvas.
            projected: Projected vertices, shape (V, 3).
            skin: Depth buffer without hair, shape (height * width,).
            strength: How dark the lashes are, 0..1.
        """
        lashes = rasterise(projected, self.mesh.lashes, canvas.height, canvas.width)
        shown = (lashes.triangle >= 0) & (lashes.depth > skin)
        shown = shown.reshape(canvas.height, canvas.width).astype(np.float32)
        soft = ndimage.gaussian_filter(shown, 0.5).reshape(-1, 1)
        canvas.picture *= 1 - strength * soft

    def _draw_glasses(
        self, canvas: Canvas, vertices: Array, camera: Camera, look: Look, light: Light
    ) -> None:
        """Draws the frame of the look's glasses, if any, on shaped vertices (V, 3)."""
        if look.glasses is None:
            return
        points, normals = glasses_points(self.mesh, vertices, look.glasses)
        turned = camera.turn(points)
        pixels, index = canvas.splat(camera.project(turned), canvas.depth)
        count = len(pixels)
        surface = Surface(
            position=turned[index],
            normal=(normals @ camera.rotation.T)[index],
            colour=np.tile(look.glasses_rgb, (count, 1)),
            softness=np.zeros(count),
            gloss=np.full(count, 0.3),
            sharpness=np.full(count, 40.0),
        )
        canvas.picture[pixels] = light_surface(surface, light, np.ones(count), np.ones(count))

    def _face_box(self, projected: Array) -> tuple[float, float, float, float]:
        """Bounding box of the face from the chin to the hairline, in pixels."""
        _, canonical_y, canonical_z = self.mesh.vertices.T
        face = (canonical_y > 6.2) & (canonical_y < 8.0) & (canonical_z > 0.45)
        face[np.setdiff1d(np.arange(len(face)), np.unique(self.mesh.body))] = False
        low = projected[face, :2].min(axis=0) / SUPERSAMPLING
        high = projected[face, :2].max(axis=0) / SUPERSAMPLING
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _draw_brows(canvas: Canvas, brows: StrandPoints, camera: Camera, light: Light) -> None:
    """Blends the eyebrows over the skin; they do not hide what is drawn later."""
    pixels, points = canvas.splat(camera.project(brows.position), canvas.depth.copy())
    segments = brows.segment[points]
    ones = np.ones(len(pixels))
    lit = light_strands(
        brows.tangent[segments], brows.normal[segments], brows.colour[segments], light, ones, ones
    )
    canvas.picture[pixels] += BROW_OPACITY * (lit - canvas.picture[pixels])


def _develop(picture: Array, look: Look, rng: Generator) -> Array:
    """Turns linear supersampled light into an sRGB photo with lens blur and sensor noise."""
    height, width = picture.shape[0] // SUPERSAMPLING, picture.shape[1] // SUPERSAMPLING
    picture = np.clip(picture, 0, None)
    picture = picture / (1 + 0.12 * picture)
    blocks = picture.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 3)
    photo = np.clip(blocks.mean(axis=(1, 3)), 0, 1) ** (1 / GAMMA)
    photo = ndimage.gaussian_filter(photo, (look.blur, look.blur, 0))
    photo = photo + rng.normal(0, look.sensor_noise, photo.shape)
    return (np.clip(photo, 0, 1) * 255 + 0.5).astype(np.uint8)
