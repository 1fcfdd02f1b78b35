"""What holds for the CPU and the device stage alike, and that the two agree."""

import math
from pathlib import Path

import kornia
import numpy as np
import pytest
import torch
from augment_stages import MIRRORED, on_cpu, on_device, smooth_pictures, some_points
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torchvision.transforms.v2 import functional as torchvision

from mtlface.data.augment import Augment
from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.augment_device import DeviceAugment
from mtlface.data.augment_draws import draw
from mtlface.errors import MtlfaceError

PRESETS = Path(__file__).parents[2] / "conf" / "augment"
SIZE = (48, 40)
FLIP = Augment(flip=1.0)
AFFINE = Augment(flip=0.5, rotate=40, translate=0.15, scale=(0.7, 1.3))
stages = pytest.mark.parametrize("stage", [on_cpu, on_device])
presets = pytest.mark.parametrize("name", ["flip", "basic", "strong"])


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def preset(name: str) -> Augment:
    return instantiate(OmegaConf.load(PRESETS / f"{name}.yaml"))


def noise_pictures(n: int, size=SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, *size, 3), dtype=np.uint8)


@stages
def test_flip_twice_is_the_identity_for_picture_and_points(stage):
    images, points, index = noise_pictures(4), some_points(4, SIZE), np.arange(4)
    twice = stage(FLIP, *stage(FLIP, images, points, index), index)
    assert np.array_equal(twice[0], images)
    assert np.array_equal(twice[1], points)


@stages
def test_flip_swaps_left_and_right_eye(stage):
    width = SIZE[1]
    left_eye, right_eye, nose = (10.0, 20.0), (30.0, 21.0), (19.0, 28.0)
    points = np.array([[left_eye, right_eye, nose]], dtype=np.float32)
    images = noise_pictures(1)
    flipped, moved = stage(FLIP, images, points, np.array([0]))
    assert np.array_equal(flipped, images[:, :, ::-1])
    expected = [(width - 1 - x, y) for x, y in (right_eye, left_eye, nose)]
    assert moved[0].tolist() == [list(point) for point in expected]


@stages
def test_a_bright_dot_stays_under_its_point(stage):
    n, size = 60, (64, 80)
    index = np.arange(n)
    points = np.random.default_rng(0).integers([25, 20], [55, 44], (n, 3, 2)).astype(np.float32)
    points[:, 1:] = points[:, :1]  # whichever takes which place on a flip, they are one dot
    images = np.zeros((n, *size, 3), dtype=np.uint8)
    for image, (x, y) in zip(images, points[:, 0].astype(int), strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 100
        image[y, x] = 255
    images, moved = stage(AFFINE, images, points, index)
    for image, (x, y) in zip(images, moved[:, 0], strict=True):
        row, column = np.unravel_index(image[..., 0].argmax(), size)
        assert math.hypot(column - x, row - y) <= 1
    assert np.abs(moved[:, 0] - points[:, 0]).mean() > 3


@stages
def test_missing_points_stay_missing_and_points_outside_keep_their_place(stage):
    n, (height, width) = 64, SIZE
    points = np.tile(np.float32([[1, 1], [np.nan, np.nan], [width - 2, height - 2]]), (n, 1, 1))
    before = np.linalg.norm(points[0, 0] - points[0, 2])
    shifts = Augment(rotate=45, translate=0.4)
    _, moved = stage(shifts, noise_pictures(n), points, np.arange(n))
    assert np.isnan(moved[:, 1]).all() and np.isfinite(moved[:, [0, 2]]).all()
    outside = (moved < 0) | (moved > [width - 1, height - 1])
    assert outside.any(axis=(1, 2)).mean() > 0.5
    assert np.linalg.norm(moved[:, 0] - moved[:, 2], axis=1) == pytest.approx(before, abs=1e-3)


@stages
@presets
def test_a_picture_becomes_the_same_alone_as_in_a_batch(stage, name):
    n = 13
    images, points, index = noise_pictures(n), some_points(n, SIZE), np.arange(100, 100 + n)
    together = stage(preset(name), images, points, index)
    order = np.random.default_rng(0).permutation(n)
    shuffled = stage(preset(name), images[order], points[order], index[order])
    for i in range(n):
        alone = stage(preset(name), images[i : i + 1], points[i : i + 1], index[i : i + 1])
        place = order.tolist().index(i)
        for whole, one, other in zip(together, alone, shuffled, strict=True):
            assert np.array_equal(whole[i], one[0])
            assert np.array_equal(whole[i], other[place])


@stages
def test_pictures_that_are_not_drawn_stay_as_they_are(stage):
    n = 200
    rare = Augment(rotate=30, affine_probability=0.3, contrast=0.5, color_probability=0.3)
    images, points, index = noise_pictures(n, (20, 20)), some_points(n, (20, 20)), np.arange(n)
    changed, moved = stage(rare, images, points, index)
    same = (changed == images).all(axis=(1, 2, 3))
    assert abs(same.mean() - 0.7 * 0.7) < 4 * math.sqrt(0.49 * 0.51 / n)
    assert np.array_equal(moved[same], points[same])


@stages
def test_nothing_asked_for_changes_nothing(stage):
    images, points = noise_pictures(3), some_points(3, SIZE)
    changed, moved = stage(Augment(), images, points, np.arange(3))
    assert np.array_equal(changed, images) and np.array_equal(moved, points)


@presets
def test_both_stages_make_the_same_of_the_same_picture(name):
    n = 64
    images, points, index = smooth_pictures(n, (64, 64)), some_points(n, (64, 64)), np.arange(n)
    on_the_cpu, cpu_points = on_cpu(preset(name), images, points, index, seed=3, epoch=2)
    on_a_device, device_points = on_device(preset(name), images, points, index, seed=3, epoch=2)
    assert cpu_points == pytest.approx(device_points, abs=1e-4)
    difference = np.abs(on_the_cpu.astype(int) - on_a_device.astype(int))
    # OpenCV rounds where a pixel comes from to 1/32, which shows at the black border alone.
    assert difference.mean() < 0.5
    assert (difference > 3).mean() < 0.005


@pytest.mark.parametrize("name", ["basic", "strong"])
def test_both_stages_have_the_same_distribution_over_seeds(name):
    n = 3000
    images = np.repeat(smooth_pictures(1, (24, 24)), n, axis=0)
    points = np.tile(np.float32([[[6, 9], [17, 9], [11, 15]]]), (n, 1, 1))
    statistics = []
    for stage, seed in ((on_cpu, 0), (on_device, 1)):
        changed, moved = stage(preset(name), images, points, np.arange(n), seed=seed)
        pixels, flat = changed.reshape(n, -1).astype(float), moved.reshape(n, -1)
        centred = flat - flat.mean(0)
        products = (centred[:, :, None] * centred[:, None, :]).reshape(n, -1)
        flipped = moved[:, 0, 0] > moved[:, 1, 0]  # never by less than 90 degrees of rotation
        moments = [flipped, pixels.mean(1), pixels.std(1), *flat.T, *products.T]
        statistics.append(np.stack(moments, axis=1).astype(float))
    a, b = statistics
    error = np.sqrt((a.var(0) + b.var(0)) / n)
    # 45 statistics: a difference of 4.5 standard errors comes by chance once in 3000 such tests.
    assert (np.abs(a.mean(0) - b.mean(0)) <= 4.5 * error + 1e-9).all()


def test_the_warp_is_that_of_kornia():
    images, index = smooth_pictures(16, SIZE), np.arange(16)
    changed, _ = on_device(AFFINE, images, some_points(16, SIZE), index)
    matrix = draw(AFFINE, SIZE, 0, 0, torch.from_numpy(index)).matrix
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = kornia.geometry.warp_affine(pixels, matrix, SIZE).permute(0, 2, 3, 1).numpy()
    assert np.abs(changed - expected).max() <= 0.51


def test_the_colours_are_those_of_torchvision():
    jitter = Augment(brightness=0.2, contrast=0.2, saturation=0.2)
    images, index = smooth_pictures(16, SIZE), np.arange(16)
    changed, _ = on_device(jitter, images, some_points(16, SIZE), index)
    factors = draw(jitter, SIZE, 0, 0, torch.from_numpy(index)).color.tolist()
    for image, after, (brightness, contrast, saturation) in zip(
        images, changed, factors, strict=True
    ):
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        pixels = torchvision.adjust_saturation(pixels, saturation)
        pixels = torchvision.adjust_brightness(pixels, brightness)
        pixels = torchvision.adjust_contrast(pixels, contrast)
        # Its luma weights are .2989, .587, .114: their sum is not quite 1.
        assert np.abs(after - pixels.permute(1, 2, 0).numpy() * 255).max() <= 0.6


def test_one_picture_by_itself_is_as_in_a_batch():
    images, points = noise_pictures(2), some_points(2, SIZE)
    stage = CpuAugment(preset("strong"), SIZE, MIRRORED)
    together, moved = stage.batch(images, {"landmarks": points}, np.array([7, 8]), 1, 2)
    alone, alone_moved = stage(images[1], {"landmarks": points[1]}, 1, 2, 8)
    assert np.array_equal(alone, together[1])
    assert np.array_equal(alone_moved["landmarks"], moved["landmarks"][1])


@presets
def test_the_device_stage_gives_uint8_in_channels_last_and_leaves_its_input_alone(name):
    images = torch.from_numpy(noise_pictures(3)).permute(0, 3, 1, 2)
    before = images.clone()
    augment = preset(name)
    changed, _ = DeviceAugment(augment, SIZE, {})(
        images, {}, draw(augment, SIZE, 0, 0, torch.arange(3))
    )
    assert changed.dtype == torch.uint8 and changed.shape == images.shape
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_the_device_stage_refuses_weather():
    with pytest.raises(MtlfaceError, match=r"weather \(rain\).*loader with workers"):
        DeviceAugment(Augment(weather={"rain": 0.2}), SIZE, MIRRORED)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@presets
def test_a_gpu_draws_the_same_bits_and_makes_the_same_pictures(name):
    n = 64
    images, points, index = smooth_pictures(n, (64, 64)), some_points(n, (64, 64)), np.arange(n)
    here = on_device(preset(name), images, points, index)
    there = on_device(preset(name), images, points, index, device="cuda")
    assert there[1] == pytest.approx(here[1], abs=1e-4)
    difference = np.abs(here[0].astype(int) - there[0].astype(int))
    assert difference.max() <= 1 and difference.mean() < 0.01


@pytest.mark.parametrize(
    "augment",
    [
        Augment(brightness=0.3), Augment(contrast=0.3), Augment(saturation=0.3),
        Augment(brightness=0.3, contrast=0.3, saturation=0.3),
    ],
    ids=["brightness", "contrast", "saturation", "all"],
)  # fmt: skip
def test_no_stage_is_darker_than_the_other(augment):
    images = smooth_pictures(24, SIZE)
    points, index = some_points(24, SIZE), np.arange(24)
    here, there = (stage(augment, images, points, index)[0] for stage in (on_cpu, on_device))
    difference = here.astype(float) - there.astype(float)
    assert abs(difference.mean()) < 0.05 and np.abs(difference).max() <= 2
