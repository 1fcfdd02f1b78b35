"""From a folder of pictures to batches: the one data module of every data set."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning import LightningDataModule

from mtlface.data.augment import Augment
from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.augment_device import DeviceAugment
from mtlface.data.augment_draws import EpochDraws
from mtlface.data.batch import Batch, Split
from mtlface.data.loaders import DeviceLoader, worker_loader
from mtlface.data.pixels import PixelStore, open_store
from mtlface.data.point_frame import misplaced
from mtlface.data.reading import read_table, with_all_splits
from mtlface.data.sampler import BatchSampler
from mtlface.data.schema import Points
from mtlface.data.settings import Loader, OnBadImage, check_settings
from mtlface.data.table import FaceTable, Omission, Reader
from mtlface.errors import MtlfaceError

log = logging.getLogger(__name__)

NAMED = 5  # omissions that a warning names; result.json counts them all


class _Loaded(NamedTuple):
    table: FaceTable
    stored: np.ndarray  # for each row of the table, its row in the store
    store: PixelStore
    root_kind: str
    content: str  # fingerprint of the labels as they were read, of unusable images too


class FaceDataModule(LightningDataModule):
    """Reads a data set once, packs its pictures once, and serves batches of them.

    Args:
        name: What run folders call the data.
        reader: Knows the native layout.
        kaggle: The pinned kagglehub handle, `owner/name/versions/N`.
        demo: The zip of rendered faces in the same layout.
        root: A folder with the native layout; it wins over `source`.
        source: Where the data comes from when no root is given: `kaggle` or `demo`.
        limit: `{train, val, test, order, seed}`: n images of each split, see `limited`.
        draw: `{count, ratios, seed}`: a seeded draw over all splits, split anew.
        seed: Keys the order of pictures, their augmentation, and splits that the data lacks.
        batch_size: Pictures in a step, over all devices.
        image_size: (height, width) of the working frame.
        augment: What happens to training pictures.
        loader: `workers`, `device`, or `auto`, which takes workers only where the augmentation
            needs them.
        workers: Worker processes; by default one for each core, at most 16.
        cache: Where packed pictures and unpacked archives are kept.
        max_bad_fraction: The share of unreadable pictures above which the run stops.
        on_bad_image: `omit` leaves unreadable pictures out, by name and count; `raise` stops.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        kaggle: str | None,
        demo: str | None,
        cache: str | Path,
        image_size: Sequence[int],
        batch_size: int,
        augment: Augment,
        seed: int = 0,
        root: str | None = None,
        source: Literal["kaggle", "demo"] = "kaggle",
        limit: Mapping[str, Any] | None = None,
        draw: Mapping[str, Any] | None = None,
        loader: Loader = "auto",
        workers: int | None = None,
        max_bad_fraction: float = 0.01,
        on_bad_image: OnBadImage = "omit",
    ) -> None:
        super().__init__()
        check_settings(batch_size, image_size, loader, on_bad_image, augment, limit, draw)
        self.source_name = name  # Lightning has a `name` of its own
        self.reader, self.seed, self.augment = reader, seed, augment
        self.root, self.source, self.kaggle, self.demo = root, source, kaggle, demo
        self.limit, self.draw_options = limit, draw
        self.batch_size, self.image_size = batch_size, (int(image_size[0]), int(image_size[1]))
        self.cache = Path(cache).expanduser()
        self.loader, self.workers = loader, workers
        self.max_bad_fraction, self.on_bad_image = max_bad_fraction, on_bad_image
        self.batch_labels: tuple[str, ...] = ()
        self._loaded: _Loaded | None = None
        self._device_augment: DeviceAugment | None = None
        self._draws = EpochDraws(augment, self.image_size, seed, count=0)

    @property
    def table(self) -> FaceTable:
        """The pictures that are used, with their labels."""
        return self.load().table

    @property
    def store(self) -> PixelStore:
        """The packed pixels, of unusable pictures too."""
        return self.load().store

    @property
    def root_kind(self) -> str:
        """`folder`, `kaggle` or `demo`."""
        return self.load().root_kind

    @property
    def evaluation_batch_size(self) -> int:
        """Pictures in a batch that asks for no gradient, whose memory is a fraction of a step's."""
        return 4 * self.batch_size

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the images, splits, labels and decoded pixels that are used."""
        content = f"{self.table.fingerprint()} {self.store.digest}"
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()

    def description(self) -> dict[str, dict[str, Any]]:
        """Which data this is and what was left out of it, by source, in plain data for a result."""
        return {
            self.source_name: {
                "root_kind": self.root_kind,
                "counts": self.table.counts,
                "fingerprint": self.load().content,
                "images": self._images_fingerprint(),
                "pixels": self.store.digest,
                "omitted": len(self.table.omitted),
                "remarks": list(self.table.remarks),
            }
        }

    def _images_fingerprint(self) -> str:
        """Of which images are used, whatever their splits, labels and working size."""
        table, stored, store, *_ = self.load()
        images = pd.DataFrame(store.sizes[stored], columns=["width", "height"])
        images["image"] = table.image_names()
        hashed = pd.util.hash_pandas_object(images, index=False).to_numpy()
        return hashlib.blake2b(np.sort(hashed).tobytes(), digest_size=8).hexdigest()

    def read(self) -> tuple[FaceTable, str]:
        """The chosen rows with their labels, no image looked at yet, and the root's kind.

        Raises:
            MtlfaceError: The data cannot be had or read.
        """
        return read_table(
            self.reader,
            self.seed,
            root=self.root,
            source=self.source,
            kaggle=self.kaggle,
            demo=self.demo,
            cache=self.cache,
            limit=self.limit,
            draw=self.draw_options,
        )

    def load(self) -> _Loaded:
        """Reads the labels and opens the packed pictures, building them if they are not there.

        Raises:
            MtlfaceError: The data cannot be had, read or used.
        """
        if self._loaded is None:
            table, kind = self.read()
            content = table.fingerprint()
            images = table.frame["image"].tolist()
            store = open_store(images, table.root, self.image_size, self.cache, self.workers)
            table, stored = self._without_bad(table, store)
            table, stored = self._without_misplaced(table, stored, store)
            _warn_of(table.omitted)
            for remark in table.remarks:
                log.warning("%s: %s.", table.root, remark)
            self._loaded = _Loaded(with_all_splits(table), stored, store, kind, content)
        return self._loaded

    def _without_bad(self, table: FaceTable, store: PixelStore) -> tuple[FaceTable, np.ndarray]:
        kept = np.setdiff1d(np.arange(len(table)), [bad.row for bad in store.bad])
        if not store.bad:
            return table, kept
        share, first = len(store.bad) / len(table), store.bad[0]
        if self.on_bad_image == "raise" or share > self.max_bad_fraction:
            raise MtlfaceError(
                f"{len(store.bad)} of {len(table)} images in {table.root} cannot be used, first "
                f"{first.image}: {first.reason}. Fix or remove them. data.on_bad_image=omit leaves "
                f"them out as long as they are at most a share of data.max_bad_fraction="
                f"{self.max_bad_fraction:g}; these are {share:.2g}."
            )
        omitted = [Omission(bad.image, None, bad.reason) for bad in store.bad]
        return table.keep(kept, omitted), kept

    def _without_misplaced(
        self, table: FaceTable, stored: np.ndarray, store: PixelStore
    ) -> tuple[FaceTable, np.ndarray]:
        """Leaves out images whose points are not theirs; more than a few are an error."""
        frame, declared = (getattr(self.reader, name, None) for name in ("face_frame", "size"))
        found = misplaced(table, store.sizes[stored], frame, declared)
        if not found:
            return table, stored
        images, share = table.frame["image"], len(found) / len(table)
        if self.on_bad_image == "raise" or share > self.max_bad_fraction:
            row, reason = next(iter(found.items()))
            raise MtlfaceError(
                f"The points of {len(found)} of {len(table)} images in {table.root} are not those "
                f"of the images, first {images[row]}: {reason}. Take the original images, or "
                "scale the points of the label file as the images were scaled; where the reader "
                "has points to choose, data.points=[] does without them. Points are in pixels of "
                "the upright image."
            )
        omitted = [Omission(images[row], None, reason) for row, reason in found.items()]
        kept = np.setdiff1d(np.arange(len(table)), list(found))
        return table.keep(kept, omitted), stored[kept]

    def prepare_data(self) -> None:
        """Builds what is not there yet; Lightning calls it on one process a machine."""
        self.load()

    def setup(self, stage: str | None = None) -> None:
        """Opens what `prepare_data` built."""
        self.load()

    def split(self, name: str) -> Split:
        """A split with the labels that the tasks asked for in `batch_labels`."""
        table, stored, store, *_ = self.load()
        return Split(table, store, stored, name, self.batch_labels)

    def train_dataloader(self) -> Any:
        """Shuffled and augmented batches."""
        return self._loader("train", train=True)

    def val_dataloader(self) -> Any:
        """Batches of the validation split, in order."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> Any:
        """Batches of the test split, in order."""
        return self._loader("test", train=False)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Moves what is not there yet; the device loader's batches are."""
        if batch["image"].device == device:
            return batch
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments a training batch on its device, if it was not augmented on the CPU."""
        if self.trainer is None or not self.trainer.training or self._device_augment is None:
            return batch
        names = self._device_augment.mirrored
        points = {name: batch[name] for name in names if name in batch}
        draws = self._draws.of(self.trainer.current_epoch, batch["index"])
        images, points = self._device_augment(batch["image"], points, draws)
        return batch | {"image": images} | points

    def _loader(self, name: str, train: bool) -> Any:
        rank, world, device = 0, 1, torch.device("cpu")
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            device = self.trainer.strategy.root_device
        if self.batch_size % world:
            raise MtlfaceError(
                f"data.batch_size={self.batch_size} is shared among {world} devices, of which it "
                f"is no multiple. Take {-(-self.batch_size // world) * world}."
            )
        split = self.split(name)
        size = self.batch_size if train else self.evaluation_batch_size
        sampler = BatchSampler(len(split), size, self.seed, train, rank, world)
        if train and self.trainer is not None:
            # Workers fetch their first batches before Lightning tells the sampler the epoch.
            sampler.set_epoch(self.trainer.current_epoch)
        if self.loader == "workers" or (train and self.augment.needs_cpu):
            augment = self._cpu_augment() if train else None
            workers = min(16, os.cpu_count() or 1) if self.workers is None else self.workers
            if train:
                log.info("Loader: %d worker processes augment on the CPU.", workers)
            return worker_loader(split, sampler, augment, workers, device.type == "cuda")
        loader = DeviceLoader(split, sampler, device)
        if train and not self.augment.is_identity:
            self._device_augment = DeviceAugment(self.augment, self.image_size, self._mirrored())
            self._draws = EpochDraws(self.augment, self.image_size, self.seed, len(self.table))
        if train:
            log.info("Loader: batches are gathered from %s, without workers.", loader.place)
        return loader

    def _cpu_augment(self) -> CpuAugment | None:
        if self.augment.is_identity:
            return None
        return CpuAugment(self.augment, self.image_size, self._mirrored())

    def _mirrored(self) -> dict[str, tuple[int, ...]]:
        labels = self.table.labels
        return {
            name: label.mirrored
            for name in self.batch_labels
            if isinstance(label := labels[name], Points)
        }


def _warn_of(omitted: Sequence[Omission]) -> None:
    if not omitted:
        return
    lines = [
        f"{o.file}{'' if o.row is None else f', line {o.row}'}: {o.reason}" for o in omitted[:NAMED]
    ]
    more = [f"{len(omitted) - NAMED} more"] if len(omitted) > NAMED else []
    log.warning("Left out %d: %s.", len(omitted), "; ".join([*lines, *more]))
