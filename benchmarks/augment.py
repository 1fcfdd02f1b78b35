"""Pictures a second of every augmentation stage, and its share of a ResNet-18 training step.

`python -m benchmarks.augment`: about a minute on one core. Every stage augments pictures and five
points with parameters of their own for each picture, except where the table says otherwise. On a
CPU everything runs on one thread and is measured in CPU seconds: no ratio hangs on how well one
side spreads over cores, nor on what else the machine does. On a GPU it is wall time.
"""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import albumentations
import cv2
import kornia.augmentation
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torchvision import tv_tensors
from torchvision.models import resnet18
from torchvision.transforms import v2

from benchmarks import measure
from mtlface.data.augment import Augment
from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.augment_device import DeviceAugment
from mtlface.data.augment_draws import EpochDraws

PRESETS = Path(__file__).parent.parent / "conf" / "augment"
MIRRORED = {"landmarks": (1, 0, 2, 4, 3)}
REPEATS = 9
Case = Callable[[], object]


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and writes the table; `arguments` stand for the command line."""
    chosen = measure.options(__doc__, REPEATS).parse_args(arguments)
    repeats = 1 if chosen.quick else chosen.repeats
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    where = measure.machine(torch.cuda.get_device_name() if on_gpu else None)
    batch = 512 if on_gpu else 32
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    results: dict[str, Any] = {}
    rows, headlines = [], []
    for side in (64,) if chosen.quick else (64, 128):
        cases = _cases(side, batch, device)
        seconds = measure.interleave(cases, repeats) if on_gpu else _cpu_seconds(cases, repeats)
        step = seconds["bare training step"]
        for name, times in seconds.items():
            rate = measure.spread([batch / time for time in times])
            share = measure.ratio(times, step)
            if name in ("device basic", "device strong"):
                title = f"{name.replace('device', 'augmentation')}, {side} px: share of a step"
                percent = {key: share[key] * 100 for key in ("median", "low", "high")}
                headlines.append(measure.headline(title, percent | {"n": share["n"]}, " %"))
            results[f"{side} px/{name}"] = {"pictures_per_s": rate, "share_of_step": share}
            rows.append(
                (
                    f"{side}",
                    name,
                    f"{1e6 / rate['median']:.0f}",
                    f"{rate['median']:.0f} ({rate['low']:.0f} to {rate['high']:.0f})",
                    f"{share['median']:.1%} ({share['low']:.1%} to {share['high']:.1%})",
                )
            )
    columns = ["px", "stage", "µs a picture", "pictures/s (range)", "of a step (range)"]
    clock = "wall" if on_gpu else "CPU, one thread"
    results["protocol"] = {"batch": batch, "seconds": clock, "repeats": repeats}
    measure.report("augment", results, rows, columns, where, headlines, keep=not chosen.quick)


def _cpu_seconds(cases: Mapping[str, Case], repeats: int) -> dict[str, list[float]]:
    """As `measure.interleave`, by the process's CPU clock."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, case in cases.items():
            started = time.process_time()
            case()
            if turn > 0:  # the first warms up
                seconds[name].append(time.process_time() - started)
    return seconds


def _cases(side: int, batch: int, device: torch.device) -> dict[str, Case]:
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    points = rng.uniform(0, side, (batch, 5, 2)).astype(np.float32)
    images = torch.from_numpy(arrays).permute(0, 3, 1, 2).to(device)
    landmarks = torch.from_numpy(points).to(device)
    cases: dict[str, Case] = {"bare training step": _step(images)}
    for name in ("none", "flip", "basic", "strong"):
        cases[f"device {name}"] = _device(_preset(name), images, landmarks)
    cases["kornia basic"] = _kornia(images, landmarks)
    cases["torchvision v2 basic, one draw a batch"] = _torchvision_batch(images, landmarks)
    cases["torchvision v2 basic, picture by picture"] = _torchvision(images, landmarks)
    for name in ("basic", "strong", "adverse"):
        cases[f"cpu {name}, one process"] = _cpu(_preset(name), arrays, points)
    cases["albumentations Compose basic, one process"] = _albumentations(arrays, points)
    return {name: _synchronized(case, device) for name, case in cases.items()}


def _preset(name: str) -> Augment:
    augment: Augment = instantiate(OmegaConf.load(PRESETS / f"{name}.yaml"))
    return augment


def _synchronized(case: Case, device: torch.device) -> Case:
    def run() -> None:
        case()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def _step(images: torch.Tensor) -> Case:
    model = resnet18(num_classes=11).to(images.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def run() -> None:
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = model(images.float() / 255).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def _device(augment: Augment, images: torch.Tensor, landmarks: torch.Tensor) -> Case:
    stage = DeviceAugment(augment, tuple(images.shape[-2:]), MIRRORED)
    draws = EpochDraws(augment, tuple(images.shape[-2:]), seed=0, count=len(images))
    index = torch.arange(len(images), device=images.device)
    return lambda: stage(images, {"landmarks": landmarks}, draws.of(0, index))


def _cpu(augment: Augment, images: np.ndarray, landmarks: np.ndarray) -> Case:
    stage = CpuAugment(augment, images.shape[1:3], MIRRORED)
    index = np.arange(len(images))
    return lambda: stage.batch(images, {"landmarks": landmarks}, index, 0, 0)


def _kornia(images: torch.Tensor, landmarks: torch.Tensor) -> Case:
    pipeline = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.RandomHorizontalFlip(p=0.5),
        kornia.augmentation.RandomAffine(degrees=10.0, p=1.0),
        kornia.augmentation.ColorJitter(0.2, 0.2, p=1.0),
        data_keys=["input", "keypoints"],
    )
    return lambda: pipeline(images.float() / 255, landmarks)


def _torchvision_pipeline() -> v2.Compose:
    rotation = v2.RandomRotation(10, interpolation=v2.InterpolationMode.BILINEAR)
    return v2.Compose([v2.RandomHorizontalFlip(), rotation, v2.ColorJitter(0.2, 0.2)])


def _torchvision_batch(images: torch.Tensor, landmarks: torch.Tensor) -> Case:
    pipeline = _torchvision_pipeline()
    size = tuple(images.shape[-2:])
    points = tv_tensors.KeyPoints(landmarks, canvas_size=size)
    return lambda: pipeline(tv_tensors.Image(images), points)


def _torchvision(images: torch.Tensor, landmarks: torch.Tensor) -> Case:
    pipeline = _torchvision_pipeline()
    size = tuple(images.shape[-2:])
    pairs = [
        (tv_tensors.Image(image), tv_tensors.KeyPoints(points, canvas_size=size))
        for image, points in zip(images, landmarks, strict=True)
    ]
    return lambda: torch.stack([pipeline(image, points)[0] for image, points in pairs])


def _albumentations(images: np.ndarray, landmarks: np.ndarray) -> Case:
    A = albumentations
    pipeline = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(rotate=(-10, 10), p=1),
            A.ColorJitter((0.8, 1.2), (0.8, 1.2), (1, 1), (0, 0), p=1),
        ],
        keypoint_params=A.KeypointParams("xy", remove_invisible=False),
    )

    def run() -> None:
        for index, (image, points) in enumerate(zip(images, landmarks, strict=True)):
            pipeline.set_random_state(np.random.default_rng(index), random.Random(index))
            pipeline(image=image, keypoints=points)

    return run


if __name__ == "__main__":
    main()
