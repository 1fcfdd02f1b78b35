"""The CPU stage of augmentation: a picture at a time through albumentations, weather included.

The changes that the device stage has too take their parameters from the same `Draws`; the weather
draws for itself, from a generator that is seeded with the picture's key.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import cv2
import numpy as np
import torch

from mtlface.data.augment import Augment
from mtlface.data.augment_draws import draw, picture_key

Points = dict[str, np.ndarray]


class CpuAugment:
    """Augments pictures together with their points, in a loader's worker.

    Args:
        augment: The changes that are asked for.
        size: Height and width of the working frame in pixels.
        mirrored: For each label of points, the index of the point that takes the place of each
            one in a flipped picture (`Points.mirrored`).
    """

    def __init__(
        self,
        augment: Augment,
        size: tuple[int, int],
        mirrored: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.augment = augment
        self.size = size
        self.mirrored = {name: list(order) for name, order in mirrored.items()}
        # Imported where it is used: it takes a second, which the device stage need not wait for.
        from mtlface.data.augment_weather import weather_pipeline

        import albumentations as A  # isort: skip  # after augment_weather, which keeps it offline

        # These draw nothing: each picture's parameters are handed to their `apply`.
        self._flip = A.HorizontalFlip(p=1)
        self._affine = A.Affine(border_mode=cv2.BORDER_CONSTANT, fill=0, p=1)
        self._saturation = A.ColorJitter(p=1)
        self._weather = weather_pipeline(augment.weather, size)

    def __call__(
        self, image: np.ndarray, points: Mapping[str, np.ndarray], seed: int, epoch: int, index: int
    ) -> tuple[np.ndarray, Points]:
        """Augments one picture: `batch` of one, which costs most of a millisecond more a picture.

        Args:
            image: uint8 of shape (H, W, 3).
            points: Each label's points, float32 of shape (K, 2), x and y in pixels from the
                centre of the top left one; NaN where missing.
            seed: Seed of the run.
            epoch: Number of the epoch.
            index: The picture's number in the data set.
        """
        several = {name: values[None] for name, values in points.items()}
        images, moved = self.batch(image[None], several, np.array([index]), seed, epoch)
        return images[0], {name: values[0] for name, values in moved.items()}

    def batch(
        self,
        images: np.ndarray,
        points: Mapping[str, np.ndarray],
        index: np.ndarray,
        seed: int,
        epoch: int,
    ) -> tuple[np.ndarray, Points]:
        """Augments a batch; a picture becomes the same alone as inside any batch.

        Args:
            images: uint8 of shape (B, H, W, 3).
            points: Each label's points, float32 of shape (B, K, 2).
            index: The pictures' numbers in the data set, int64 of shape (B,).
            seed: Seed of the run.
            epoch: Number of the epoch.

        Returns:
            The pictures and the points; new arrays, unless nothing is asked for.
        """
        if self.augment.is_identity:
            return images, dict(points)
        draws = draw(self.augment, self.size, seed, epoch, torch.as_tensor(index))
        flip, matrix = draws.flip.numpy(), draws.matrix.numpy()
        color = draws.color.numpy() if draws.color is not None else None
        erase = draws.erase.numpy().astype(int) if draws.erase is not None else None
        changed = np.empty_like(images)
        for row, image in enumerate(images):
            if color is not None:
                image = self._recolor(image, *color[row].tolist())
            image = self._move_image(image, matrix[row], bool(flip[row]))
            changed[row] = image
            if erase is not None:
                left, top, right, bottom = erase[row]
                changed[row, top:bottom, left:right] = 0
            if self.augment.needs_cpu:
                changed[row] = self._under_weather(changed[row], seed, epoch, int(index[row]))
        moved = {
            name: _move_points(values, flip, matrix, self.mirrored[name])
            for name, values in points.items()
        }
        return changed, moved

    def _recolor(
        self, image: np.ndarray, brightness: float, contrast: float, saturation: float
    ) -> np.ndarray:
        red, green, blue, _ = cv2.mean(image)
        mean = 0.299 * red + 0.587 * green + 0.114 * blue
        if saturation != 1:
            image = self._saturation.apply(
                image, brightness=1, contrast=1, saturation=saturation, hue=0, order=[2]
            )
        offset = brightness * (1 - contrast) * mean
        # albumentations' own change cuts the decimals off: half a grey level darker on average.
        table = brightness * contrast * np.arange(256) + offset
        changed: np.ndarray = cv2.LUT(image, (table + 0.5).clip(0, 255).astype(np.uint8))
        return changed

    def _move_image(self, image: np.ndarray, matrix: np.ndarray, flip: bool) -> np.ndarray:
        if self.augment.moves:
            square = np.vstack([matrix, [0, 0, 1]])
            image = self._affine.apply(image, matrix=square, output_shape=self.size)
        elif flip:
            image = self._flip.apply(image)
        return image

    def _under_weather(self, image: np.ndarray, seed: int, epoch: int, index: int) -> np.ndarray:
        key = picture_key(seed, epoch, index)
        # `set_random_seed` would start every condition from the same number, so that those of
        # equal probability always came together; shared generators draw them independently.
        self._weather.set_random_state(np.random.default_rng(key), random.Random(key))
        changed: np.ndarray = self._weather(image=image)["image"]
        return changed


def _move_points(
    points: np.ndarray, flip: np.ndarray, matrix: np.ndarray, order: list[int]
) -> np.ndarray:
    """Not by albumentations, whose keypoints lose their left and right."""
    points = np.where(flip[:, None, None], points[:, order], points)
    x, y = points[..., 0:1], points[..., 1:2]
    columns = matrix[:, None]  # (B, 1, 2, 3)
    moved: np.ndarray = columns[..., 0] * x + columns[..., 1] * y + columns[..., 2]
    return moved
