import pickle

import cv2
import numpy as np
import pytest
from augment_stages import MIRRORED, on_cpu, some_points

from mtlface.data.augment import WEATHER, Augment
from mtlface.data.augment_cpu import CpuAugment

SIZE = (64, 64)
N = 40


def textured_pictures(n: int) -> np.ndarray:
    """Mid-grey pictures with shapes of a few pixels."""
    noise = np.random.default_rng(0).uniform(0, 255, (n, *SIZE, 3)).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in noise])
    return (100 + 1.2 * (blurred - blurred.mean())).clip(20, 200).astype(np.uint8)


def under(condition: str, p: float = 1.0, images: np.ndarray | None = None) -> np.ndarray:
    images = textured_pictures(N) if images is None else images
    points = some_points(len(images), SIZE)
    weather = Augment(weather={condition: p})
    return on_cpu(weather, images, points, np.arange(len(images)))[0].astype(float)


def detail(images: np.ndarray) -> np.ndarray:
    """Mean difference of neighbouring pixels, a picture."""
    return np.abs(np.diff(images.astype(float), axis=2)).mean((1, 2, 3))


BEFORE = textured_pictures(N).astype(float)


def test_low_light_is_dark():
    assert (under("low_light").mean((1, 2, 3)) < 0.55 * BEFORE.mean((1, 2, 3))).all()


def test_rain_adds_bright_streaks_that_are_longer_than_wide():
    streaks = under("rain") - 0.8 * BEFORE > 40
    assert (streaks.mean((1, 2, 3)) > 0.03).all() and (streaks.mean((1, 2, 3)) < 0.4).all()
    upright = (streaks[:, 1:] & streaks[:, :-1]).sum()
    across = (streaks[:, :, 1:] & streaks[:, :, :-1]).sum()
    assert upright > 2 * across


def test_fog_is_bright_and_takes_contrast():
    foggy = under("fog")
    assert (foggy.mean((1, 2, 3)) > BEFORE.mean((1, 2, 3)) + 15).all()
    assert (detail(foggy) < 0.85 * detail(BEFORE)).all()


def test_blur_takes_detail_and_leaves_the_mean():
    blurred = under("blur")
    assert np.abs(blurred.mean((1, 2, 3)) - BEFORE.mean((1, 2, 3))).max() < 1
    assert (detail(blurred) < detail(BEFORE)).all()
    assert detail(blurred).mean() < 0.8 * detail(BEFORE).mean()


def test_noise_has_the_strength_that_is_asked_for_and_no_bias():
    added = under("noise") - BEFORE
    deviation = added.std((1, 2, 3)) / 255
    assert (deviation > 0.035).all() and (deviation < 0.125).all()
    assert np.abs(added.mean((1, 2, 3))).max() < 4 * 0.12 * 255 / np.sqrt(64 * 64 * 3) + 0.5


def test_brightness_contrast_changes_both_either_way():
    changed = under("brightness_contrast")
    for measure in (
        changed.mean((1, 2, 3)) - BEFORE.mean((1, 2, 3)),
        detail(changed) - detail(BEFORE),
    ):
        assert measure.min() < 0 < measure.max()


def test_conditions_are_drawn_independently():
    n = 400
    board = np.indices(SIZE).sum(0) % 2 * 200
    images = np.tile(board[None, ..., None], (n, 1, 1, 3)).astype(np.uint8)
    both = Augment(weather={"low_light": 0.5, "blur": 0.5})
    changed = on_cpu(both, images, some_points(n, SIZE), np.arange(n))[0].astype(float)
    dark = changed.mean((1, 2, 3)) < 75
    blurred = changed.std((1, 2, 3)) / changed.mean((1, 2, 3)) < 0.6
    for a in (dark, ~dark):
        for b in (blurred, ~blurred):
            assert abs((a & b).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)


@pytest.mark.parametrize("condition", WEATHER)
def test_weather_is_keyed_by_seed_epoch_and_index(condition):
    images = np.repeat(textured_pictures(1), 6, axis=0)
    points, index = some_points(6, SIZE), np.arange(6)
    weather = Augment(weather={condition: 1.0})
    first, moved = on_cpu(weather, images, points, index)
    backwards, _ = on_cpu(weather, images, points, index[::-1].copy())
    later, _ = on_cpu(weather, images, points, index, epoch=1)
    assert np.array_equal(first, backwards[::-1])
    assert not np.array_equal(first, later)
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(moved, points)


def test_the_stage_travels_to_a_spawned_worker():
    stage = CpuAugment(Augment(flip=0.5, weather={"fog": 0.5, "low_light": 0.5}), SIZE, MIRRORED)
    images, index = textured_pictures(8), np.arange(8)
    here, _ = stage.batch(images, {}, index, 0, 0)
    there, _ = pickle.loads(pickle.dumps(stage)).batch(images, {}, index, 0, 0)
    assert np.array_equal(here, there)
