import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtlface.data.augment import Augment
from mtlface.data.augment_draws import (
    COLUMNS,
    EpochDraws,
    draw,
    keyed_uniforms,
    picture_key,
)

EVERYTHING = Augment(
    flip=0.5,
    rotate=30,
    translate=0.2,
    scale=(0.7, 1.4),
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    erase=0.5,
)
numbers = st.integers(min_value=0, max_value=2**40)


def splitmix64(state: int, n: int) -> list[int]:
    """The reference algorithm (Vigna, splitmix64.c) in unbounded integers."""
    mask, numbers = 2**64 - 1, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_reference_gives_the_published_numbers():
    assert splitmix64(1234567, 3) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(seed=numbers, epoch=numbers, index=numbers)
@settings(max_examples=50, deadline=None)
def test_uniforms_are_splitmix64_seeded_with_the_key_of_the_picture(seed, epoch, index):
    expected = [(n >> 40) / 2**24 for n in splitmix64(picture_key(seed, epoch, index), COLUMNS)]
    assert keyed_uniforms(seed, epoch, torch.tensor([index]))[0].tolist() == expected


def test_uniforms_are_uniform_and_columns_pictures_and_epochs_are_uncorrelated():
    n = 20_000
    index = torch.arange(n)
    first, next_epoch = (keyed_uniforms(0, epoch, index).numpy() for epoch in (0, 1))
    for column in first.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    side_by_side = np.concatenate([first[:-1], first[1:], next_epoch[:-1]], axis=1)
    correlation = np.corrcoef(side_by_side, rowvar=False) - np.eye(3 * COLUMNS)
    # About 1000 correlations of independent columns, each normal with deviation 1/√n.
    assert np.abs(correlation).max() < 5.5 / math.sqrt(n)


def test_seeds_and_epochs_draw_differently():
    index = torch.arange(100)
    draws = [keyed_uniforms(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_the_draw_of_a_picture_does_not_depend_on_the_batch():
    together = draw(EVERYTHING, (48, 64), 3, 5, torch.arange(37))
    alone = draw(EVERYTHING, (48, 64), 3, 5, torch.tensor([23]))
    for name in ("flip", "matrix", "inverse", "color", "erase"):
        assert torch.equal(getattr(together, name)[23:24], getattr(alone, name)), name


@pytest.mark.parametrize(
    "augment",
    [EVERYTHING, Augment(flip=0.5), Augment(erase=0.3), Augment(rotate=9, contrast=0.2)],
)
def test_rows_of_an_epochs_draws_are_the_draws_of_a_batch_bit_for_bit(augment):
    count = 70_000  # more than torch gives to one thread at a time
    draws = EpochDraws(augment, (48, 64), 3, count)
    index = torch.from_numpy(np.random.default_rng(0).permutation(count)[:37])
    for epoch in (0, 5, 0):
        found, expected = draws.of(epoch, index), draw(augment, (48, 64), 3, epoch, index)
        for name in ("flip", "matrix", "inverse", "color", "erase"):
            one, other = getattr(found, name), getattr(expected, name)
            assert one is other is None or torch.equal(one, other), name


def test_the_inverse_undoes_the_matrix():
    draws = draw(EVERYTHING, (48, 64), 0, 0, torch.arange(200))
    last = torch.tensor([0.0, 0.0, 1.0]).expand(200, 1, 3)
    product = torch.cat([draws.matrix, last], 1) @ torch.cat([draws.inverse, last], 1)
    assert torch.allclose(product, torch.eye(3).expand(200, 3, 3), atol=1e-4)


def test_draws_fill_the_ranges_that_are_asked_for():
    height, width = 48, 64
    draws = draw(EVERYTHING, (height, width), 0, 0, torch.arange(5000))
    a, b, c, d = draws.matrix[:, :, :2].reshape(-1, 4).T
    scale = torch.sqrt(b**2 + d**2)
    angle = torch.rad2deg(torch.atan2(-b, d))
    center = torch.tensor([(width - 1) / 2, (height - 1) / 2, 1.0])
    shift = (draws.matrix @ center - center[:2]) / torch.tensor([width, height])
    assert torch.equal(a * d - b * c < 0, draws.flip)
    for values, low, high in [
        (scale, 0.7, 1.4),
        (angle, -30, 30),
        (shift, -0.2, 0.2),
        (draws.color, 0.7, 1.3),
    ]:
        margin = 0.005 * (high - low)
        assert low - 1e-4 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-4


def test_erased_rectangles_lie_inside_and_have_the_area_that_is_asked_for():
    draws = draw(Augment(erase=0.4, erase_area=(0.05, 0.2)), (64, 64), 0, 0, torch.arange(5000))
    left, top, right, bottom = draws.erase.T
    area = (right - left) * (bottom - top) / 64**2
    erased = area > 0
    assert abs(erased.float().mean() - 0.4) < 4 * math.sqrt(0.4 * 0.6 / 5000)
    # Sides are whole pixels: half a pixel either way on sides of 8 or more.
    assert area[erased].min() > 0.05 * 0.9 and area[erased].max() < 0.2 * 1.1
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 64 and bottom.max() <= 64
