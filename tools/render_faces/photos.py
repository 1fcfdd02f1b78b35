"""Renders the photos of one person of each layout."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from .arrays import Array, Generator
from .camera import CELEBA_FRAMING, UTKFACE_FRAMING
from .conditions import apply_condition, draw_conditions
from .labels import YOUNG_BELOW, celeba_labels
from .looks import draw_look
from .people import Person, draw_person
from .render import FaceRenderer

Record: TypeAlias = dict[str, Any]

# Random streams are seeded by [seed, stream, person, 0] for the person and by
# [seed, stream, person, 1 + photo] for a photo: NumPy takes missing words for zeros, so a photo
# must not have the number 0, or it would repeat its person's random numbers.
CELEBA, AGEGENDER, FACECOM, CELEBA_ORDER = 1, 2, 3, 4
CELEBA_PHOTOS_PER_PERSON = 4
FACECOM_PHOTOS_PER_PERSON = 20
FACECOM_SPLITS = {"train": 14, "val": 3, "test": 3}
RACE_CODES = {"caucasian": 0, "african": 1, "asian": 2}
FIRST_UTKFACE_TIME = datetime(2017, 1, 9, 12, 0, 0)


@dataclass(frozen=True)
class Sample:
    """One encoded photo and what is known about it.

    Attributes:
        jpeg: The encoded file.
        record: Labels by name; which ones depends on the layout.
    """

    jpeg: bytes
    record: Record


@cache
def _shared_renderer() -> FaceRenderer:
    """The renderer of this process."""
    return FaceRenderer()


def _encode(pixels: Array, quality: int) -> bytes:
    """Encodes a picture of shape (H, W, 3), uint8, as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def _draw_adult(rng: Generator) -> Person:
    """Draws an adult; seven out of ten are young."""
    low, high = (18.0, YOUNG_BELOW) if rng.random() < 0.7 else (YOUNG_BELOW, 78.0)
    return draw_person(rng, float(rng.uniform(low, high)))


def _draw_any_age(rng: Generator) -> int:
    """Draws an age of 1 to 90 years that is most often between 20 and 40."""
    group = rng.choice(3, p=[0.24, 0.48, 0.28])
    if group == 0:
        return int(rng.integers(1, 20))
    if group == 1:
        return int(np.clip(np.round(rng.normal(29, 7)), 16, 50))
    return int(rng.integers(40, 91))


def render_celeba_person(identity: int, seed: int) -> list[Sample]:
    """Renders the photos of one person of the CelebA layout."""
    renderer = _shared_renderer()
    person = _draw_adult(np.random.default_rng([seed, CELEBA, identity, 0]))
    samples = []
    for photo_index in range(CELEBA_PHOTOS_PER_PERSON):
        rng = np.random.default_rng([seed, CELEBA, identity, 1 + photo_index])
        look = draw_look(rng, person)
        photo = renderer.render(person, look, CELEBA_FRAMING, rng)
        record = {
            "identity": identity,
            "attributes": celeba_labels(person, look),
            "landmarks": [int(value) for value in np.round(photo.landmarks).ravel()],
            "box": [round(value) for value in photo.face_box],
        }
        samples.append(Sample(_encode(photo.pixels, look.jpeg_quality), record))
    return samples


def render_agegender_person(identity: int, seed: int) -> list[Sample]:
    """Renders the one photo of one person of the UTKFace layout."""
    rng = np.random.default_rng([seed, AGEGENDER, identity, 0])
    age = _draw_any_age(rng)
    person = draw_person(rng, float(age))
    look = draw_look(rng, person)
    photo = _shared_renderer().render(person, look, UTKFACE_FRAMING, rng)
    taken = FIRST_UTKFACE_TIME + timedelta(seconds=37 * identity, milliseconds=identity % 1000)
    stamp = taken.strftime("%Y%m%d%H%M%S") + f"{taken.microsecond // 1000:03d}"
    record = {
        "age": age,
        "gender": 0 if person.male else 1,
        "race": RACE_CODES[person.ancestry],
        "stamp": stamp,
    }
    return [Sample(_encode(photo.pixels, look.jpeg_quality), record)]


def render_facecom_person(identity: int, seed: int) -> list[Sample]:
    """Renders the photos of one person of the FaceCom layout."""
    renderer = _shared_renderer()
    person_rng = np.random.default_rng([seed, FACECOM, identity, 0])
    person = _draw_adult(person_rng)
    conditions = draw_conditions(FACECOM_PHOTOS_PER_PERSON, person_rng)
    splits = [name for name, count in FACECOM_SPLITS.items() for _ in range(count)]
    splits = [str(name) for name in person_rng.permutation(splits)]
    samples = []
    for photo_index, (condition, split) in enumerate(zip(conditions, splits, strict=True)):
        rng = np.random.default_rng([seed, FACECOM, identity, 1 + photo_index])
        look = draw_look(rng, person)
        if look.blurry:
            look.blurry, look.blur = False, 0.5
        photo = renderer.render(person, look, CELEBA_FRAMING, rng)
        pixels = apply_condition(photo.pixels, condition, rng)
        name = f"id{identity + 1:04d}"
        record = {
            "image": f"{name}_{photo_index:03d}.jpg",
            "gender": "male" if person.male else "female",
            "identity": name,
            "split": split,
            "condition": condition,
        }
        samples.append(Sample(_encode(pixels, look.jpeg_quality), record))
    return samples
