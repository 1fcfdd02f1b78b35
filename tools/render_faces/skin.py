"""Paints the colour of skin, lips, eyes, mouth, scalp and clothes in canonical coordinates."""

from __future__ import annotations

import numpy as np

from .arrays import Array
from .hair import INFANT_AGE, beard_colour
from .looks import Look
from .mesh import LEFT_EYE_VERTICES, RIGHT_EYE_VERTICES, BaseMesh
from .noise import bump, lattice_noise, layered_noise, smooth_step
from .people import Person
from .regions import beard_mask, brow_mask, scalp_mask, sideburn_mask

SCLERA = np.array([0.87, 0.84, 0.81])
TEETH = np.array([0.90, 0.87, 0.80])
TONGUE = np.array([0.58, 0.27, 0.25])
MOUTH_CAVITY = np.array([0.30, 0.09, 0.08])


def _blend(colour: Array, paint: Array, cover: Array) -> Array:
    """Covers colours (P, 3) with a paint (3,) or (P, 3) to the share `cover` (P,)."""
    return colour + (paint - colour) * cover[:, None]


def _wrinkles(canonical: Array, age: float, blotches: Array) -> Array:
    """Depth of the painted wrinkles, 0..1, shape (P,)."""
    side, height, depth = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    strength = float(smooth_step(34, 80, np.array(age)))
    if strength == 0:
        return np.zeros(len(canonical))
    lines = np.zeros(len(canonical))
    for number, (level, weight) in enumerate([(7.60, 0.8), (7.69, 0.7), (7.78, 0.5)]):
        wavy = level + 0.02 * np.sin(6 * canonical[:, 0] + number) + 0.04 * blotches
        lines += weight * bump(height, wavy, 0.016) * smooth_step(0.5, 0.25, side) * (depth > 0.9)
    fold = side - (0.24 + 0.16 * smooth_step(7.0, 6.55, height))
    fold_ends = smooth_step(6.5, 6.65, height) * smooth_step(7.02, 6.85, height)
    lines += bump(fold, 0, 0.026) * fold_ends * (depth > 1.1)
    for number in (-1, 0, 1):
        crow = bump(height, 7.27 + number * 0.06 + (side - 0.5) * number * 0.5, 0.014)
        lines += 0.6 * crow * smooth_step(0.49, 0.53, side) * smooth_step(0.68, 0.6, side)
    return np.clip(lines * strength, 0, 1)


def paint_skin(
    canonical: Array, masks: dict[str, Array], person: Person, look: Look
) -> tuple[Array, Array]:
    """Paints the body's surface.

    Args:
        canonical: Canonical positions, shape (P, 3).
        masks: Region masks at the points, each of shape (P,).
        person: The person.
        look: The look.

    Returns:
        The sRGB colour, shape (P, 3), and the share covered by clothes, shape (P,).
    """
    offset = np.random.default_rng(person.skin_seed).random(3) * 20
    side, height, depth = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    skin = np.array(person.skin)
    darkness = 1 - skin.mean()
    blotches = layered_noise(canonical + offset, 3.0, 3) - 0.5
    grain = layered_noise(canonical + offset, 22.0, 2) - 0.5
    colour = skin * (1 + 0.12 * blotches + 0.08 * grain)[:, None]

    cheeks = bump(side, 0.46, 0.2) * bump(height, 6.93, 0.15) * (depth > 0.7)
    nose = bump(side, 0, 0.13) * bump(height, 6.93, 0.1) * smooth_step(1.4, 1.6, depth)
    flush = 0.35 * cheeks + 0.5 * nose + 0.5 * np.clip(masks["ears"], 0, 1)
    redness = np.clip(0.5 * flush + 1.25 * look.rosy * cheeks, 0, 1) * (1 - 0.55 * darkness)
    colour = colour * (1 - redness[:, None] * np.array([0.02, 0.26, 0.22]))

    age_share = float(smooth_step(35, 80, np.array(person.age)))
    socket = bump(side, 0.31, 0.17) * bump(height, 7.165, 0.05)
    socket = socket * (0.08 + 0.22 * person.eye_bags + 0.1 * age_share)
    colour = colour * (1 - socket[:, None] * np.array([0.75, 0.85, 0.72]))
    lids = np.clip(masks["lids"], 0, 1)
    colour = colour * (1 - 0.14 * lids[:, None] * np.array([0.5, 0.7, 0.7]))
    if look.eye_makeup > 0:
        above_eye = bump(side, 0.32, 0.16) * bump(height, 7.365, 0.05) * (depth > 1.0)
        shadow = np.clip(0.75 * lids + 0.6 * above_eye, 0, 0.85) * look.eye_makeup
        colour = _blend(colour, np.array(look.eye_makeup_rgb), shadow)

    wrinkles = _wrinkles(canonical, person.age, blotches)
    colour = colour * (1 - wrinkles[:, None] * np.array([0.13, 0.16, 0.16]))
    if age_share > 0:
        spots = smooth_step(0.72, 0.82, lattice_noise(canonical + offset, 16.0)) * age_share
        colour = colour * (1 - 0.14 * spots[:, None] * np.array([0.5, 0.7, 0.8]))

    lips = np.clip(masks["lips"], 0, 1)
    natural = skin * (np.array([0.92, 0.66, 0.66]) + darkness * np.array([-0.05, 0.1, 0.12]))
    lip_colour = np.array(look.lipstick_rgb) * look.lipstick + natural * (1 - look.lipstick)
    colour = _blend(colour, lip_colour * (1 + 0.2 * grain[:, None]), 0.85 * lips)
    mouth = np.clip(masks["mouth"], 0, 1)
    colour = _blend(colour, MOUTH_CAVITY, mouth)

    colour = _paint_hair_base(colour, canonical, masks, person, look)
    neckline = (
        look.neckline + 0.25 * side - look.v_neck * smooth_step(0.45, 0.0, side) * (depth > 0)
    )
    neckline = neckline + 0.25 * smooth_step(0.6, -0.2, depth)
    clothes = smooth_step(0.01, -0.01, height - neckline)
    fabric = np.array(look.clothing_rgb) * (1 + 0.15 * grain[:, None])
    return _blend(colour, fabric, clothes), clothes


def _paint_hair_base(
    colour: Array, canonical: Array, masks: dict[str, Array], person: Person, look: Look
) -> Array:
    """Darkens the skin under hair, beard and brows, and paints stubble."""
    base = np.array(look.hair_rgb)
    ears = masks["ears"]
    fine = lattice_noise(canonical, 45.0)
    scalp = scalp_mask(canonical, ears, person.hairline_recession)
    edge = smooth_step(0.45, 0.85, scalp + 0.25 * (fine - 0.5))
    if look.hair_style == "bald":
        cover = 0.12 * edge
    elif person.age < INFANT_AGE:
        cover = 0.6 * edge
    else:
        cover = 0.95 * edge
    colour = _blend(colour, 0.6 * base, cover)
    hidden = np.clip(masks["lips"] + masks["mouth"], 0, 1)
    if look.beard != "none":
        beard = beard_mask(canonical, hidden, ears, look.beard)
        strength = 0.42 if look.beard == "stubble" else 0.6
        texture = 0.8 + 0.4 * fine
        cover = np.clip(beard * strength * texture, 0, 1)
        colour = _blend(colour, 0.8 * beard_colour(look), cover)
    if look.sideburns:
        cover = 0.6 * sideburn_mask(canonical, ears)
        colour = _blend(colour, 0.8 * base, cover)
    brows = brow_mask(canonical, person.brow_thickness, person.brow_arch)
    return _blend(colour, beard_colour(look), 0.45 * brows * (0.4 if person.age < 3 else 1.0))


def paint_eyes(mesh: BaseMesh, canonical: Array, person: Person, look: Look) -> Array:
    """Paints the eyeballs, sRGB colour of shape (P, 3).

    Args:
        mesh: The base mesh.
        canonical: Canonical positions on the eyeballs, shape (P, 3).
        person: The person.
        look: The look.
    """
    colour = np.tile(SCLERA, (len(canonical), 1))
    iris = np.array(person.iris)
    for eye, is_left in ((LEFT_EYE_VERTICES, True), (RIGHT_EYE_VERTICES, False)):
        chosen = np.flatnonzero((canonical[:, 0] > 0) == is_left)
        ball = mesh.vertices[eye]
        radius = np.ptp(ball[:, 1]) / 2
        place = (canonical[chosen] - ball.mean(axis=0)) / radius
        distance = np.hypot(place[:, 0] - look.gaze[0], place[:, 1] - look.gaze[1])
        texture = 0.8 + 0.4 * lattice_noise(place * 3, 6.0)
        ring = 1.25 - 0.7 * smooth_step(0.30, 0.50, distance)
        painted = _blend(
            colour[chosen], iris * (ring * texture)[:, None], smooth_step(0.52, 0.46, distance)
        )
        pupil = smooth_step(0.24, 0.19, distance)
        colour[chosen] = _blend(painted, np.full(3, 0.02), pupil)
    return colour
