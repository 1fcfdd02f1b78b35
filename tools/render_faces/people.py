"""Draws people: what stays the same over the photos of one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Generator
from .colours import IRIS_COLOURS, SKIN_RANGES, Colour, as_colour, mix
from .draws import pick

LATENT_FEATURES = ("big_nose", "pointy_nose", "big_lips", "chubby", "narrow_eyes", "oval_face")
PLAIN_MORPHS = (
    "nose_width",
    "nose_length",
    "nose_depth",
    "nose_hump",
    "nose_tip_up",
    "nose_volume",
    "nostril_width",
    "nose_tip_width",
    "chin_width",
    "chin_height",
    "chin_prominence",
    "jaw_drop",
    "forehead_height",
    "temple_width",
    "mouth_width",
    "upper_lip",
    "lower_lip",
    "mouth_height",
    "head_fat",
    "head_width",
    "head_height",
    "brow_height",
    "brow_angle",
    "cheek_bones",
    "cheek_volume",
    "eye_size",
    "eye_distance",
    "eye_corner",
    "eye_opening",
    "ear_size",
    "ear_wing",
)
GENDER_SHIFTS = {
    "chin_width": 0.22,
    "chin_prominence": 0.15,
    "jaw_drop": 0.12,
    "nose_volume": 0.12,
    "eye_size": -0.18,
    "upper_lip": -0.12,
    "lower_lip": -0.12,
    "brow_height": -0.2,
}
HEAD_OUTLINES = ("round", "triangular", "diamond")


@dataclass
class Person:
    """Everything that is the same in all photos of one person.

    Attributes:
        male: Gender label.
        masculinity: Weight of the male macro shape, 0..1.
        age: Age in years.
        ancestry: A key of `SKIN_RANGES`.
        muscle: Macro muscle, 0..1.
        weight: Macro body weight, 0..1.
        morphs: Signed weights of the detail morphs, -1..1, by name.
        latents: Standard normal strengths of `LATENT_FEATURES`.
        outline: Head outline morph, "oval" or one of `HEAD_OUTLINES`.
        outline_weight: Weight of the head outline morph, 0..1.
        skin: Skin colour, sRGB 0..1.
        paleness: Lightness of the skin within its ancestry, 0 dark .. 1 light.
        skin_seed: Seed of the skin's blotches.
        iris: Iris colour, sRGB 0..1.
        natural_hair: Usual hair colour, a key of `HAIR_COLOURS`.
        brow_thickness: Thickness of the eyebrows, 1 is usual.
        brow_arch: Height of the eyebrows' arch, 1 is usual.
        eye_bags: Strength of the bags under the eyes, 0..1.
        hairline_recession: How far the hairline has moved up, 0..1.
        bald: Whether the person has no hair on the head.
        curl: Natural curl of the hair, 0 straight .. 1 wavy.
        wears_glasses: Probability of glasses in a photo.
        wears_beard: Probability of facial hair in a photo.
        wears_makeup: Probability of make-up in a photo.
        prefers_long_hair: Probability of long hair in a photo.
    """

    male: bool
    masculinity: float
    age: float
    ancestry: str
    muscle: float
    weight: float
    morphs: dict[str, float]
    latents: dict[str, float]
    outline: str
    outline_weight: float
    skin: Colour
    paleness: float
    skin_seed: int
    iris: Colour
    natural_hair: str
    brow_thickness: float
    brow_arch: float
    eye_bags: float
    hairline_recession: float
    bald: bool
    curl: float
    wears_glasses: float
    wears_beard: float
    wears_makeup: float
    prefers_long_hair: float


def draw_morphs(
    rng: Generator, latents: dict[str, float], male: bool, amount: float
) -> dict[str, float]:
    """Draws the detail morph weights: random ones plus the pull of gender and latent features.

    Args:
        rng: Random generator.
        latents: Standard normal strengths of `LATENT_FEATURES`.
        male: Gender.
        amount: Common factor; children's faces vary less.

    Returns:
        Signed weights -1..1 by name.
    """
    morphs = {name: rng.normal(0, 0.36) for name in PLAIN_MORPHS}
    for name, male_shift in GENDER_SHIFTS.items():
        morphs[name] += male_shift if male else -male_shift
    nose, lips, fat = latents["big_nose"], latents["big_lips"], latents["chubby"]
    morphs["nose_width"] += 0.32 * nose
    morphs["nose_volume"] += 0.35 * nose
    morphs["nose_depth"] += 0.15 * nose
    morphs["nostril_width"] += 0.2 * nose - 0.25 * latents["pointy_nose"]
    morphs["nose_tip_width"] -= 0.55 * latents["pointy_nose"]
    morphs["nose_depth"] += 0.3 * latents["pointy_nose"]
    morphs["upper_lip"] += 0.38 * lips
    morphs["lower_lip"] += 0.38 * lips
    morphs["head_fat"] = 0.12 * rng.normal() + 0.4 * fat
    morphs["cheek_volume"] += 0.25 * fat
    morphs["eye_opening"] -= 0.4 * latents["narrow_eyes"]
    return {name: float(np.clip(weight * amount, -1, 1)) for name, weight in morphs.items()}


def draw_person(rng: Generator, age: float) -> Person:
    """Draws one person of a given age in years."""
    male = bool(rng.random() < 0.5)
    ancestry = pick(rng, {"caucasian": 0.45, "african": 0.25, "asian": 0.30})
    adult = float(np.clip((age - 3) / 15, 0, 1))
    latents = {name: float(rng.normal()) for name in LATENT_FEATURES}
    oval = latents["oval_face"] > 0.5
    outline = "oval" if oval else str(rng.choice(HEAD_OUTLINES))
    paleness = float(rng.random())
    light, dark = SKIN_RANGES[ancestry]
    skin = mix(dark, light, paleness) * (1 + 0.03 * rng.normal(size=3))
    if ancestry == "caucasian":
        iris = pick(rng, {"brown": 3, "hazel": 2, "green": 2, "blue": 4})
        hair = pick(rng, {"black": 2, "brown": 5, "blond": 5, "red": 1})
    else:
        iris = pick(rng, {"dark": 3, "brown": 2})
        hair = pick(rng, {"black": 6, "brown": 2})
    if rng.random() < np.clip((age - 45) / 25, 0, 0.92):
        hair = "gray"
    recession = float(np.clip((age - 25) / 50, 0, 1) * rng.random() * (1.0 if male else 0.25))
    bald_chance = 0.06 + 0.22 * np.clip((age - 25) / 45, 0, 1) if male and age > 20 else 0.0
    bushy = rng.random() < (0.32 if male else 0.06)
    arched = rng.random() < (0.12 if male else 0.45)
    return Person(
        male=male,
        masculinity=float(rng.uniform(0.86, 1.0) if male else rng.uniform(0.0, 0.14)),
        age=age,
        ancestry=ancestry,
        muscle=float(np.clip(0.5 + 0.12 * rng.normal(), 0.2, 0.85)),
        weight=float(np.clip(0.5 + 0.10 * latents["chubby"], 0.25, 0.85)),
        morphs=draw_morphs(rng, latents, male, amount=0.55 + 0.45 * adult),
        latents=latents,
        outline=outline,
        outline_weight=float(rng.uniform(0.5, 0.9) if oval else rng.uniform(0.0, 0.4)),
        skin=as_colour(np.clip(skin, 0.05, 0.97)),
        paleness=paleness,
        skin_seed=int(rng.integers(1 << 30)),
        iris=IRIS_COLOURS[iris],
        natural_hair=hair,
        brow_thickness=float(rng.uniform(1.55, 1.9) if bushy else rng.uniform(0.7, 1.15)),
        brow_arch=float(rng.uniform(1.6, 2.1) if arched else rng.uniform(0.5, 1.0)),
        eye_bags=float(np.clip(rng.random() * 0.6 + (age - 40) / 70, 0, 1)),
        hairline_recession=recession,
        bald=bool(rng.random() < bald_chance),
        curl=float(rng.uniform(0.5, 1.0) if rng.random() < 0.4 else rng.uniform(0, 0.15)),
        wears_glasses=float(rng.choice([0.03, 0.5], p=[0.8, 0.2])),
        wears_beard=float(rng.choice([0.1, 0.8], p=[0.5, 0.5])) if male and age > 17 else 0.0,
        wears_makeup=float(np.clip((age - 14) / 6, 0, 1) * (0.03 if male else 0.6)),
        prefers_long_hair=float(np.clip(rng.normal(0.3 if male else 0.7, 0.12), 0.05, 0.95)),
    )
