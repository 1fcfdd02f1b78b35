"""Lights surfaces and strands; all colours here are linear, not sRGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, Generator

GAMMA = 2.2
VIEW = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Light:
    """One key light over an ambient sky and a weak fill light.

    Attributes:
        direction: Unit vector towards the light in camera axes, shape (3,).
        colour: Linear RGB of the key light, shape (3,).
        key: Strength of the key light.
        ambient: Strength of the sky.
        fill: Strength of the fill light from the other side.
        shadow_depth: How dark cast shadows are, 0..1.
    """

    direction: Array
    colour: Array
    key: float
    ambient: float
    fill: float
    shadow_depth: float


@dataclass
class Surface:
    """Surface samples to be lit, one per visible pixel.

    Attributes:
        position: Position in camera axes, shape (P, 3).
        normal: Unit normal in camera axes, shape (P, 3).
        colour: sRGB colour, shape (P, 3).
        softness: How far light wraps around, as in skin, 0..1, shape (P,).
        gloss: Strength of the highlight, shape (P,).
        sharpness: Exponent of the highlight, shape (P,).
    """

    position: Array
    normal: Array
    colour: Array
    softness: Array
    gloss: Array
    sharpness: Array


def draw_light(rng: Generator) -> Light:
    """Draws a key light from the front half of the upper sphere, cool to warm."""
    azimuth = rng.uniform(-1.1, 1.1)
    elevation = rng.uniform(0.1, 0.95)
    direction = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    warmth = rng.uniform(-0.6, 1.7)
    return Light(
        direction=direction,
        colour=np.array([1.0, 0.95, 0.88]) ** warmth,
        key=rng.uniform(0.9, 1.4),
        ambient=rng.uniform(0.32, 0.58),
        fill=rng.uniform(0.08, 0.25),
        shadow_depth=rng.uniform(0.5, 0.8),
    )


def light_surface(surface: Surface, light: Light, lit: Array, crevice: Array) -> Array:
    """Lights skin, eyes, teeth and cloth.

    Args:
        surface: The samples.
        light: The light.
        lit: Share of the key light that arrives, shape (P,).
        crevice: Share of the ambient light that arrives, shape (P,).

    Returns:
        Linear RGB, shape (P, 3).
    """
    albedo = np.clip(surface.colour, 0, 1) ** GAMMA
    facing = surface.normal @ light.direction
    wrap = 0.05 + 0.35 * surface.softness[:, None] * np.array([1.0, 0.55, 0.45])
    diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, 1)
    shadow = 1 - light.shadow_depth * (1 - lit)
    key = light.key * light.colour * diffuse * shadow[:, None]
    sky = (0.55 + 0.45 * surface.normal[:, 1])[:, None] * np.array([0.95, 1.0, 1.05])
    fill_direction = np.array([-light.direction[0], 0.1, 0.9])
    fill = light.fill * np.clip(surface.normal @ fill_direction, 0, 1)
    ambient = (light.ambient * sky + fill[:, None]) * crevice[:, None]
    half = light.direction + VIEW
    half = half / np.linalg.norm(half)
    highlight = np.clip(surface.normal @ half, 0, 1) ** surface.sharpness
    gloss = (surface.gloss * highlight * shadow)[:, None] * light.colour
    return albedo * (key + ambient) + gloss


def light_strands(
    tangent: Array, normal: Array, colour: Array, light: Light, lit: Array, crevice: Array
) -> Array:
    """Lights hair with the Kajiya-Kay model, softened by the head's own shading.

    Args:
        tangent: Unit direction of the strand in camera axes, shape (P, 3).
        normal: Unit normal of the body below in camera axes, shape (P, 3).
        colour: sRGB colour, shape (P, 3).
        light: The light.
        lit: Share of the key light that arrives, shape (P,).
        crevice: Share of the ambient light that arrives, shape (P,).

    Returns:
        Linear RGB, shape (P, 3).
    """
    albedo = np.clip(colour, 0, 1) ** GAMMA
    across = np.sqrt(np.clip(1 - (tangent @ light.direction) ** 2, 0, 1))
    head = np.clip((normal @ light.direction + 0.35) / 1.35, 0, 1)
    shadow = 1 - light.shadow_depth * (1 - lit)
    diffuse = light.key * (0.35 + 0.65 * across) * head * shadow
    sky = light.ambient * (0.6 + 0.4 * normal[:, 1]) * crevice
    half = light.direction + VIEW
    half = half / np.linalg.norm(half)
    bent = tangent + 0.12 * normal
    bent = bent / np.maximum(np.linalg.norm(bent, axis=1, keepdims=True), 1e-9)
    shine = np.sqrt(np.clip(1 - (bent @ half) ** 2, 0, 1)) ** 60 * head * shadow
    brightness = (1.15 * diffuse + sky)[:, None] * light.colour
    return albedo * brightness + 0.10 * shine[:, None] * (0.3 + 0.7 * albedo**0.5) * light.key
