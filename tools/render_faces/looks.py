"""Draws looks: what varies over the photos of one person."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .arrays import Generator
from .colours import HAIR_COLOURS, Colour, as_colour
from .draws import clipped_normal, pick
from .people import Person


@dataclass
class Look:
    """Everything that may differ between two photos of one person.

    Attributes:
        smile: Strength of the smile, 0 is none.
        jaw_open: Weight of the open jaw, 0 is closed.
        expression: Extra facial action weights by face unit name.
        hair_style: "bald", "short", "medium" or "long".
        hair_colour: Key of `HAIR_COLOURS`.
        hair_rgb: Colour of the hair, sRGB 0..1.
        hair_length: Strand length in face units.
        hair_volume: Lift of the hair over the skull in face units.
        hair_part: Sideways place of the parting in MakeHuman units.
        hair_direction: "back", "side", "forward" or "up", for short hair.
        curl: Curl of the strands, 0..1.
        bangs: Whether hair falls over the forehead.
        beard: "none", "stubble", "mustache", "goatee" or "full".
        sideburns: Whether hair grows down before the ears.
        lipstick: Strength of the lipstick, 0..1.
        lipstick_rgb: Colour of the lipstick, sRGB 0..1.
        eye_makeup: Strength of eye shadow and liner, 0..1.
        eye_makeup_rgb: Colour of the eye shadow, sRGB 0..1.
        rosy: Redness of the cheeks, 0..1.
        glasses: Half width and half height of a lens in eye distances, roundness exponent; or None.
        glasses_rgb: Colour of the frame, sRGB 0..1.
        clothing_rgb: Colour of the clothes, sRGB 0..1.
        neckline: Height of the neckline in MakeHuman units.
        v_neck: Depth of the V of the neckline.
        yaw: Turn to the side in radians.
        pitch: Nod in radians.
        roll: Turn in the picture's plane in radians.
        zoom: Scale factor of the face in the frame.
        shift: Shift of the face in the frame in pixels, x and y.
        camera_distance: Distance of the camera in face units.
        gaze: Direction of the eyes relative to the head, sideways and up.
        blur: Standard deviation of the lens blur in pixels.
        blurry: Whether the photo is out of focus.
        sensor_noise: Standard deviation of the pixel noise, 0..1 scale.
        jpeg_quality: JPEG quality.
    """

    smile: float = 0.0
    jaw_open: float = 0.0
    expression: dict[str, float] = field(default_factory=dict)
    hair_style: str = "short"
    hair_colour: str = "brown"
    hair_rgb: Colour = (0.25, 0.15, 0.085)
    hair_length: float = 0.25
    hair_volume: float = 0.08
    hair_part: float = 0.0
    hair_direction: str = "side"
    curl: float = 0.0
    bangs: bool = False
    beard: str = "none"
    sideburns: bool = False
    lipstick: float = 0.0
    lipstick_rgb: Colour = (0.7, 0.1, 0.15)
    eye_makeup: float = 0.0
    eye_makeup_rgb: Colour = (0.3, 0.2, 0.2)
    rosy: float = 0.2
    glasses: tuple[float, float, float] | None = None
    glasses_rgb: Colour = (0.05, 0.05, 0.05)
    clothing_rgb: Colour = (0.2, 0.2, 0.3)
    neckline: float = 5.8
    v_neck: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    camera_distance: float = 14.0
    gaze: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.4
    blurry: bool = False
    sensor_noise: float = 0.008
    jpeg_quality: int = 85


def _draw_expression(rng: Generator, look: Look) -> None:
    """Draws smile, jaw and small face movements; smile and open mouth correlate by about 0.5."""
    smiling = rng.random() < 0.5
    mouth_open = rng.random() < (0.75 if smiling else 0.25)
    look.smile = float(rng.uniform(0.6, 1.0)) if smiling else 0.0
    look.jaw_open = float(rng.uniform(0.16, 0.42)) if mouth_open else 0.0
    actions = look.expression
    if not smiling:
        mood = pick(rng, {"plain": 4, "sad": 2, "pressed": 1.5, "pucker": 1})
        if mood == "sad":
            actions["mouthFrownLeft"] = actions["mouthFrownRight"] = rng.uniform(0.15, 0.38)
        elif mood == "pressed":
            actions["mouthPressLeft"] = actions["mouthPressRight"] = rng.uniform(0.2, 0.6)
        elif mood == "pucker":
            actions["mouthPucker"] = rng.uniform(0.1, 0.35)
    if rng.random() < 0.3:
        actions["browInnerUp"] = rng.uniform(0.1, 0.5)
    elif rng.random() < 0.3:
        actions["browDownLeft"] = actions["browDownRight"] = rng.uniform(0.1, 0.5)
    actions["eyeBlinkLeft"] = actions["eyeBlinkRight"] = rng.uniform(0.0, 0.14)


def _draw_hair(rng: Generator, person: Person, look: Look) -> None:
    """Draws style, colour and cut of the hair."""
    look.hair_colour = person.natural_hair
    if person.age > 15 and rng.random() < 0.15:
        dyes = {"black": 2, "brown": 3, "blond": 3, "red": 1}
        look.hair_colour = pick(rng, dyes)
    shade = np.array(HAIR_COLOURS[look.hair_colour]) * rng.uniform(0.8, 1.2)
    look.hair_rgb = as_colour(np.clip(shade, 0.02, 0.9))
    look.hair_part = float(rng.normal(0, 0.2))
    look.hair_direction = pick(rng, {"side": 4, "back": 3, "forward": 2, "up": 2})
    if person.bald:
        look.hair_style = "bald"
    elif person.age < 2.5:
        look.hair_style = "short"
        look.hair_length, look.hair_volume = float(rng.uniform(0.08, 0.16)), 0.02
        look.hair_direction = "forward"
        return
    elif rng.random() < person.prefers_long_hair:
        look.hair_style = "long"
        look.hair_length = float(rng.uniform(2.0, 3.3))
    elif rng.random() < 0.35:
        look.hair_style = "medium"
        look.hair_length = float(rng.uniform(0.8, 1.4))
    else:
        look.hair_style = "short"
        look.hair_length = float(rng.uniform(0.12, 0.42))
    look.hair_volume = float(rng.uniform(0.05, 0.16))
    look.curl = float(np.clip(person.curl + rng.normal(0, 0.06), 0, 1))
    look.bangs = look.hair_style != "bald" and bool(rng.random() < 0.2)


def _draw_beard_and_makeup(rng: Generator, person: Person, look: Look) -> None:
    """Draws facial hair and make-up."""
    if rng.random() < person.wears_beard:
        look.beard = pick(rng, {"stubble": 3, "mustache": 2, "goatee": 2.5, "full": 3})
    if person.male and person.age > 17 and look.hair_style != "bald":
        look.sideburns = look.beard == "full" or bool(rng.random() < 0.15)
    look.rosy = float(rng.uniform(0, 0.35))
    if rng.random() < person.wears_makeup:
        look.lipstick = float(rng.uniform(0.65, 1.0))
        red = rng.uniform(0.5, 0.85)
        look.lipstick_rgb = (red, red * rng.uniform(0.08, 0.3), red * rng.uniform(0.15, 0.45))
        if rng.random() < 0.6:
            look.eye_makeup = float(rng.uniform(0.55, 1.0))
            look.eye_makeup_rgb = as_colour(rng.uniform(0.08, 0.4, size=3))
        if rng.random() < 0.4:
            look.rosy = float(rng.uniform(0.75, 1.0))
    elif rng.random() < 0.05:
        look.rosy = float(rng.uniform(0.75, 1.0))


def _draw_accessories(rng: Generator, person: Person, look: Look) -> None:
    """Draws glasses and clothes."""
    if person.age > 5 and rng.random() < person.wears_glasses:
        look.glasses = (
            float(rng.uniform(0.38, 0.44)),
            float(rng.uniform(0.24, 0.34)),
            float(rng.uniform(2.0, 5.0)),
        )
        metal = rng.random() < 0.3
        frame = np.array([0.55, 0.5, 0.42]) if metal else rng.uniform(0.02, 0.2, size=3)
        look.glasses_rgb = as_colour(frame)
    brightness = rng.uniform(0.08, 0.75)
    hue = rng.uniform(-1, 1, size=3)
    clothes = np.clip(brightness + 0.16 * hue, 0.03, 0.9)
    look.clothing_rgb = as_colour(clothes)
    look.neckline = float(rng.uniform(5.55, 6.0))
    look.v_neck = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.4 else 0.0


def _draw_camera(rng: Generator, look: Look) -> None:
    """Draws pose, framing and picture quality."""
    look.yaw = clipped_normal(rng, 0, np.deg2rad(15), np.deg2rad(35))
    look.pitch = clipped_normal(rng, 0, np.deg2rad(6), np.deg2rad(15))
    look.roll = clipped_normal(rng, 0, np.deg2rad(5), np.deg2rad(12))
    look.zoom = float(np.exp(clipped_normal(rng, 0, 0.05, 0.1)))
    look.shift = (clipped_normal(rng, 0, 3.5, 8), clipped_normal(rng, 0, 3.5, 8))
    look.camera_distance = float(rng.uniform(9, 20))
    look.gaze = (clipped_normal(rng, 0, 0.12, 0.3), clipped_normal(rng, 0, 0.06, 0.15))
    look.blurry = bool(rng.random() < 0.05)
    look.blur = float(rng.uniform(1.7, 2.4) if look.blurry else rng.uniform(0.3, 0.75))
    look.sensor_noise = float(rng.uniform(0.003, 0.011))
    look.jpeg_quality = int(rng.integers(80, 91))


def draw_look(rng: Generator, person: Person) -> Look:
    """Draws one photo's look for a person."""
    look = Look()
    _draw_expression(rng, look)
    _draw_hair(rng, person, look)
    _draw_beard_and_makeup(rng, person, look)
    _draw_accessories(rng, person, look)
    _draw_camera(rng, look)
    return look
