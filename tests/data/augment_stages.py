"""Both augmentation stages behind one call on NumPy arrays, for the tests that hold for both."""

import cv2
import numpy as np
import torch

from mtlface.data.augment import Augment
from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.augment_device import DeviceAugment
from mtlface.data.augment_draws import draw

MIRRORED = {"landmarks": (1, 0, 2)}  # left eye, right eye, nose


def on_cpu(augment: Augment, images, points, index, seed=0, epoch=0):
    stage = CpuAugment(augment, images.shape[1:3], MIRRORED)
    images, moved = stage.batch(images, {"landmarks": points}, index, seed, epoch)
    return images, moved["landmarks"]


def on_device(augment: Augment, images, points, index, seed=0, epoch=0, device="cpu"):
    stage = DeviceAugment(augment, images.shape[1:3], MIRRORED)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    landmarks = {"landmarks": torch.from_numpy(points).to(device)}
    drawn = draw(augment, images.shape[1:3], seed, epoch, torch.from_numpy(index).to(device))
    pictures, moved = stage(pictures, landmarks, drawn)
    return pictures.permute(0, 2, 3, 1).cpu().numpy(), moved["landmarks"].cpu().numpy()


def smooth_pictures(n: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Pictures without sharp edges, where interpolation has little room to differ."""
    height, width = size
    grids = np.random.default_rng(seed).uniform(60, 190, (n, 6, 6, 3)).astype(np.float32)
    stretched = [
        cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR) for grid in grids
    ]
    return np.stack(stretched).round().astype(np.uint8)


def some_points(n: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Points (n, 3, 2) on whole pixels inside the picture."""
    height, width = size
    return np.random.default_rng(seed).integers(0, [width, height], (n, 3, 2)).astype(np.float32)
