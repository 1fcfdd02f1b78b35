"""Turns a person and a look into a posed mesh shape and its five landmarks."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from .arrays import Array
from .looks import Look
from .mesh import LEFT_EYE_VERTICES, RIGHT_EYE_VERTICES, BaseMesh
from .people import Person
from .targets import has_target, load_target

AGE_KNOTS = ((1.0, "baby"), (11.0, "child"), (25.0, "young"), (75.0, "old"))
CHEEK_SQUINT_PER_SMILE = 0.55

# Each morph has a target for a positive weight and one for a negative weight.
MIDDLE_TARGETS = {
    "nose_width": ("nose/nose-scale-horiz-incr", "nose/nose-scale-horiz-decr"),
    "nose_length": ("nose/nose-scale-vert-incr", "nose/nose-scale-vert-decr"),
    "nose_depth": ("nose/nose-scale-depth-incr", "nose/nose-scale-depth-decr"),
    "nose_hump": ("nose/nose-hump-incr", "nose/nose-hump-decr"),
    "nose_tip_up": ("nose/nose-point-up", "nose/nose-point-down"),
    "nose_volume": ("nose/nose-volume-incr", "nose/nose-volume-decr"),
    "nostril_width": ("nose/nose-width3-incr", "nose/nose-width3-decr"),
    "nose_tip_width": ("nose/nose-point-width-incr", "nose/nose-point-width-decr"),
    "chin_width": ("chin/chin-width-incr", "chin/chin-width-decr"),
    "chin_height": ("chin/chin-height-incr", "chin/chin-height-decr"),
    "chin_prominence": ("chin/chin-prominent-incr", "chin/chin-prominent-decr"),
    "jaw_drop": ("chin/chin-jaw-drop-incr", "chin/chin-jaw-drop-decr"),
    "forehead_height": ("forehead/forehead-scale-vert-incr", "forehead/forehead-scale-vert-decr"),
    "temple_width": ("forehead/forehead-temple-incr", "forehead/forehead-temple-decr"),
    "mouth_width": ("mouth/mouth-scale-horiz-incr", "mouth/mouth-scale-horiz-decr"),
    "upper_lip": ("mouth/mouth-upperlip-volume-incr", "mouth/mouth-upperlip-volume-decr"),
    "lower_lip": ("mouth/mouth-lowerlip-volume-incr", "mouth/mouth-lowerlip-volume-decr"),
    "mouth_height": ("mouth/mouth-trans-up", "mouth/mouth-trans-down"),
    "head_fat": ("head/head-fat-incr", "head/head-fat-decr"),
    "head_width": ("head/head-scale-horiz-incr", "head/head-scale-horiz-decr"),
    "head_height": ("head/head-scale-vert-incr", "head/head-scale-vert-decr"),
    "brow_height": ("eyebrows/eyebrows-trans-up", "eyebrows/eyebrows-trans-down"),
    "brow_angle": ("eyebrows/eyebrows-angle-up", "eyebrows/eyebrows-angle-down"),
}
SIDED_TARGETS = {
    "cheek_bones": ("cheek/{}-cheek-bones-incr", "cheek/{}-cheek-bones-decr"),
    "cheek_volume": ("cheek/{}-cheek-volume-incr", "cheek/{}-cheek-volume-decr"),
    "eye_size": ("eyes/{}-eye-scale-incr", "eyes/{}-eye-scale-decr"),
    "eye_distance": ("eyes/{}-eye-trans-out", "eyes/{}-eye-trans-in"),
    "eye_corner": ("eyes/{}-eye-corner2-up", "eyes/{}-eye-corner2-down"),
    "eye_opening": ("eyes/{}-eye-height2-incr", "eyes/{}-eye-height2-decr"),
    "ear_size": ("ears/{}-ear-scale-incr", "ears/{}-ear-scale-decr"),
    "ear_wing": ("ears/{}-ear-wing-incr", "ears/{}-ear-wing-decr"),
}


def _add(vertices: Array, target: str, weight: float) -> None:
    """Adds a weighted morph target to vertices in place."""
    if abs(weight) > 1e-4:
        indices, displacements = load_target(target)
        vertices[indices] += weight * displacements


def _age_weights(age: float) -> dict[str, float]:
    """Weights of the four age shapes for an age in years; past 75 "old" is extrapolated."""
    clipped = float(np.clip(age, AGE_KNOTS[0][0], 90))
    last_age, last_name = AGE_KNOTS[-1]
    if clipped > last_age:
        return {last_name: 1 + (clipped - last_age) / 60}
    for (low_age, low_name), (high_age, high_name) in itertools.pairwise(AGE_KNOTS):
        if low_age <= clipped <= high_age:
            share = (clipped - low_age) / (high_age - low_age)
            return {low_name: 1 - share, high_name: share}
    raise ValueError(f"age {age} is not a number of years")


def _three_level(value: float, noun: str) -> dict[str, float]:
    """Weights of the minimum, average and maximum shape of a 0..1 macro value."""
    return {
        f"min{noun}": max(0.0, 1 - 2 * value),
        f"average{noun}": 1 - abs(2 * value - 1),
        f"max{noun}": max(0.0, 2 * value - 1),
    }


@cache
def _macro_target(name: str) -> str | None:
    """Path of a macro target, None where MakeHuman ships none (the shape of the base mesh)."""
    path = f"mpfb2/targets/macrodetails/{name}.target.gz"
    return path if has_target(path) else None


def person_vertices(mesh: BaseMesh, person: Person) -> Array:
    """Builds the neutral shape of one person.

    Args:
        mesh: The base mesh.
        person: The person.

    Returns:
        Vertex positions, shape (V, 3).
    """
    vertices = mesh.vertices.copy()
    genders = {"female": 1 - person.masculinity, "male": person.masculinity}
    for gender, gender_weight in genders.items():
        for age_name, age_weight in _age_weights(person.age).items():
            common = gender_weight * age_weight
            ancestry_target = _macro_target(f"{person.ancestry}-{gender}-{age_name}")
            if ancestry_target:
                _add(vertices, ancestry_target, common)
            for muscle, muscle_weight in _three_level(person.muscle, "muscle").items():
                for fat, fat_weight in _three_level(person.weight, "weight").items():
                    body_target = _macro_target(f"universal-{gender}-{age_name}-{muscle}-{fat}")
                    if body_target:
                        _add(vertices, body_target, common * muscle_weight * fat_weight)
    for name, weight in person.morphs.items():
        if name in MIDDLE_TARGETS:
            stem = MIDDLE_TARGETS[name][0 if weight >= 0 else 1]
            _add(vertices, f"mpfb2/targets/{stem}.target.gz", abs(weight))
        else:
            stem = SIDED_TARGETS[name][0 if weight >= 0 else 1]
            for side in "lr":
                _add(vertices, f"mpfb2/targets/{stem.format(side)}.target.gz", abs(weight))
    outline = f"mpfb2/targets/head/head-{person.outline}.target.gz"
    _add(vertices, outline, person.outline_weight)
    for side in "lr":
        bag = f"mpfb2/targets/eyes/{side}-eye-bag-incr.target.gz"
        _add(vertices, bag, 0.9 * max(0.0, person.eye_bags - 0.3))
    return vertices


def face_actions(look: Look) -> dict[str, float]:
    """Collects the weights of the face units (FACS-like actions) of a look."""
    actions = dict(look.expression)
    for side in ("Left", "Right"):
        if look.smile > 0:
            actions[f"mouthSmile{side}"] = look.smile
            actions[f"cheekSquint{side}"] = CHEEK_SQUINT_PER_SMILE * look.smile
            actions[f"mouthDimple{side}"] = 0.15 * look.smile
            upper_lip_lift = 0.3 * look.smile if look.jaw_open > 0 else 0.08
            actions[f"mouthUpperUp{side}"] = upper_lip_lift
        if look.jaw_open > 0:
            actions[f"mouthLowerDown{side}"] = 0.25 * look.jaw_open
    if look.jaw_open > 0:
        actions["jawOpen"] = look.jaw_open
    return actions


def expressive_vertices(neutral: Array, look: Look) -> Array:
    """Adds the expression of a look to a neutral shape, shape (V, 3)."""
    vertices = neutral.copy()
    for action, weight in face_actions(look).items():
        _add(vertices, f"faceunits01/targets/faceunits/{action}.target", weight)
    return vertices


def pupil_position(mesh: BaseMesh, vertices: Array, eye: slice, gaze: tuple[float, float]) -> Array:
    """Finds the point of an eyeball's surface that the iris is centred on.

    Args:
        mesh: The base mesh.
        vertices: Shaped vertices, shape (V, 3).
        eye: Vertices of the eyeball.
        gaze: Direction of the eyes, sideways and up, in eyeball radii.

    Returns:
        The point, shape (3,).
    """
    canonical = mesh.vertices[eye]
    centre = canonical.mean(axis=0)
    radius = np.ptp(canonical[:, 1]) / 2
    forward = np.sqrt(max(0.0, 1 - gaze[0] ** 2 - gaze[1] ** 2))
    point = centre + radius * np.array([gaze[0], gaze[1], forward])
    with_one = np.column_stack([canonical, np.ones(len(canonical))])
    affine, *_ = np.linalg.lstsq(with_one, vertices[eye], rcond=None)
    return np.append(point, 1.0) @ affine


def landmark_positions(mesh: BaseMesh, vertices: Array, gaze: tuple[float, float]) -> Array:
    """The five landmarks in the order of CelebA's columns.

    Args:
        mesh: The base mesh.
        vertices: Shaped vertices, shape (V, 3).
        gaze: Direction of the eyes, sideways and up, in eyeball radii.

    Returns:
        Eye, eye, nose, mouth corner, mouth corner; the image's left side first; shape (5, 3).
    """
    image_left_corner, image_right_corner = mesh.mouth_corners
    return np.stack(
        [
            pupil_position(mesh, vertices, RIGHT_EYE_VERTICES, gaze),
            pupil_position(mesh, vertices, LEFT_EYE_VERTICES, gaze),
            vertices[mesh.nose_tip],
            vertices[image_left_corner],
            vertices[image_right_corner],
        ]
    )
