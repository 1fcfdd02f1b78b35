"""Hair, beards and brows of a look, as strands where the masks in `regions` let them grow."""

from __future__ import annotations

import numpy as np

from .arrays import Array, Generator
from .looks import Look
from .noise import smooth_step
from .people import Person
from .regions import beard_mask, brow_mask, scalp_mask, sideburn_mask
from .roots import RootPool, choose, root_pools
from .strands import Growth, ShapedBody, Strands, grow

INFANT_AGE = 2.5


def _strand_colours(base: Array, count: int, spread: float, rng: Generator) -> Array:
    """Varies a colour from strand to strand, shape (count, 3)."""
    return np.clip(base * np.exp(spread * rng.normal(size=(count, 1))), 0.01, 0.95)


def _comb_directions(look: Look, canonical: Array) -> Array:
    """Combing direction at each root for the look's hair style, shape (N, 3)."""
    from_part = canonical[:, 0] - look.hair_part
    side = np.tanh(6 * from_part)
    ones = np.ones_like(side)
    if look.hair_style in ("long", "medium"):
        front = smooth_step(0.6, 1.1, canonical[:, 2])
        return np.stack([side, -0.45 * ones + 0.4 * front, -0.35 * ones - 0.55 * front], axis=1)
    if look.hair_direction == "back":
        return np.stack([0.25 * side, 0.1 * ones, -ones], axis=1)
    if look.hair_direction == "forward":
        return np.stack([0.2 * side, -0.3 * ones, 0.9 * ones], axis=1)
    if look.hair_direction == "up":
        return np.stack([0.15 * side, 0.9 * ones, 0.2 * ones], axis=1)
    return np.stack([side, -0.25 * ones, 0.1 * ones], axis=1)


def scalp_hair(body: ShapedBody, person: Person, look: Look, rng: Generator) -> list[Strands]:
    """Grows the hair of the head.

    Args:
        body: The shaped body.
        person: The person.
        look: The look.
        rng: Random generator.

    Returns:
        The strands of the head, and of the bangs if there are any.
    """
    if look.hair_style == "bald":
        return []
    pool = root_pools()["head"]
    mask = scalp_mask(pool.canonical, pool.ears, person.hairline_recession)
    density = smooth_step(0.35, 0.75, mask)
    if person.age < INFANT_AGE:
        density = density * 0.5
    strand_count, steps = {"short": (5200, 5), "medium": (3400, 9), "long": (2600, 15)}[
        look.hair_style
    ]
    roots = pool.take(choose(density, strand_count, rng))
    count = len(roots.canonical)
    on_top = smooth_step(7.35, 7.9, roots.canonical[:, 1])
    length = look.hair_length * body.unit * rng.uniform(0.8, 1.1, size=count)
    if look.hair_style == "short":
        length = length * (0.35 + 0.65 * on_top)
    layer = rng.random(count)
    clearance = body.unit * (0.012 + look.hair_volume * layer * (0.35 + 0.65 * on_top))
    upright = look.hair_style == "short" and look.hair_direction == "up"
    growth = Growth(
        steps=steps,
        lift=1.2 if upright else 0.25 + look.hair_volume,
        gravity=0.04 if upright else 0.28,
        curl=0.75 * look.curl + 0.04,
        avoid_face=look.hair_style != "short",
    )
    comb = _comb_directions(look, roots.canonical)
    nodes, normals, kept = grow(body, roots, comb, length, clearance, growth, rng)
    colour = _strand_colours(np.array(look.hair_rgb), count, 0.22, rng)
    colour = colour * (0.55 + 0.45 * layer[:, None])
    strands = [Strands(nodes, normals, colour[kept])]
    if look.bangs:
        strands.append(_bangs(body, pool, density, look, rng))
    return strands


def _bangs(body: ShapedBody, pool: RootPool, density: Array, look: Look, rng: Generator) -> Strands:
    """Grows a fringe that falls from the front of the scalp down to the brows."""
    side, height, depth = np.abs(pool.canonical[:, 0]), pool.canonical[:, 1], pool.canonical[:, 2]
    front = density * smooth_step(0.62, 0.5, side) * smooth_step(8.3, 8.1, height) * (depth > 0.7)
    roots = pool.take(choose(front, 1300, rng))
    count = len(roots.canonical)
    reach = roots.canonical[:, 1] - 7.50
    sweep = np.full(count, 0.35 * np.tanh(4 * look.hair_part))
    comb = np.column_stack([sweep, np.full(count, -0.8), np.full(count, 0.6)])
    length = body.unit * (reach + 0.12) * rng.uniform(0.85, 1.08, size=count)
    clearance = body.unit * (0.03 + 0.6 * look.hair_volume * rng.random(count))
    growth = Growth(steps=7, lift=0.5, gravity=0.3, curl=0.5 * look.curl + 0.03)
    nodes, normals, _ = grow(body, roots, comb, length, clearance, growth, rng)
    return Strands(nodes, normals, _strand_colours(np.array(look.hair_rgb), count, 0.22, rng))


def beard_hair(body: ShapedBody, look: Look, rng: Generator) -> list[Strands]:
    """Grows mustache, goatee, full beard and sideburns; stubble is painted on the skin only."""
    pool = root_pools()["face"]
    mask = np.zeros(len(pool.canonical))
    if look.beard not in ("none", "stubble"):
        mask = beard_mask(pool.canonical, pool.lips, pool.ears, look.beard)
    if look.sideburns:
        mask = np.maximum(mask, sideburn_mask(pool.canonical, pool.ears))
    roots = pool.take(choose(smooth_step(0.25, 0.8, mask), 4200, rng))
    count = len(roots.canonical)
    if count == 0:
        return []
    from_middle = np.abs(roots.canonical[:, 0])
    side = np.sign(roots.canonical[:, 0]) * np.minimum(1, from_middle / 0.3)
    comb = np.column_stack([0.35 * side, -np.ones(count), np.full(count, 0.1)])
    is_upper_lip = (roots.canonical[:, 1] > 6.68) & (from_middle < 0.34)
    comb[is_upper_lip, 0] *= 3.0
    length = body.unit * np.where(is_upper_lip, 0.055, rng.uniform(0.08, 0.17, size=count))
    clearance = body.unit * 0.03 * rng.random(count)
    growth = Growth(steps=4, lift=0.5, gravity=0.1, curl=0.2)
    nodes, normals, _ = grow(body, roots, comb, length, clearance, growth, rng)
    return [Strands(nodes, normals, _strand_colours(beard_colour(look), count, 0.25, rng))]


def beard_colour(look: Look) -> Array:
    """Beards and brows are a little darker than the hair, shape (3,)."""
    strength = 0.62 if look.hair_colour in ("blond", "gray") else 0.85
    return np.array(look.hair_rgb) * strength


def brow_hair(body: ShapedBody, person: Person, look: Look, rng: Generator) -> Strands:
    """Grows the eyebrows."""
    pool = root_pools()["brow"]
    mask = brow_mask(pool.canonical, person.brow_thickness, person.brow_arch)
    density = 0.35 if person.age < 3 else 1.0
    chosen = choose(density * smooth_step(0.2, 0.9, mask), int(340 * person.brow_thickness), rng)
    roots = pool.take(chosen)
    count = len(roots.canonical)
    side = np.sign(roots.canonical[:, 0])
    inward = smooth_step(0.25, 0.12, np.abs(roots.canonical[:, 0]))
    comb = np.column_stack([side * (1 - 0.6 * inward), 0.35 + 0.6 * inward, np.zeros(count)])
    length = body.unit * rng.uniform(0.05, 0.085, size=count)
    clearance = np.full(count, 0.008 * body.unit)
    growth = Growth(steps=3, lift=0.25, gravity=0.0, curl=0.0)
    nodes, normals, _ = grow(body, roots, comb, length, clearance, growth, rng)
    return Strands(nodes, normals, _strand_colours(beard_colour(look), count, 0.2, rng))
