"""From folders of images to batches: the one data module of every data set and every join."""

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
from mtlface.data.batch import Batch, Split, draw_key
from mtlface.data.join import join, join_labels
from mtlface.data.label_share import hidden_rows, known_rows
from mtlface.data.loaders import DeviceLoader, worker_loader
from mtlface.data.mix import MixedOrder, images_by_source, source_weights
from mtlface.data.pixels import JoinedStore, PixelStore, open_store
from mtlface.data.point_frame import misplaced
from mtlface.data.sampler import BatchSampler
from mtlface.data.schema import Labels, Points
from mtlface.data.settings import Loader, OnBadImage, check_settings
from mtlface.data.source import Source, with_all_splits
from mtlface.data.table import FaceTable, Omission
from mtlface.errors import MtlfaceError

log = logging.getLogger(__name__)

NAMED = 5  # omissions that a warning names; result.json counts them all


class _Loaded(NamedTuple):
    table: FaceTable
    stored: np.ndarray  # for each row of the table, its row in the store
    store: PixelStore | JoinedStore
    root_kind: str
    parts: dict[str, Part]


class Part(NamedTuple):
    """What is used of one source.

    Attributes:
        table: Its usable images with their labels, as its reader names them.
        stored: For each row of the table, its row in the store, int64 (N,).
        store: Its packed pixels.
        root_kind: `folder`, `kaggle` or `demo`.
        content: Fingerprint of the labels as they were read, of unusable images too.
    """

    table: FaceTable
    stored: np.ndarray
    store: PixelStore
    root_kind: str
    content: str

    def images_fingerprint(self) -> str:
        """Of which images are used, whatever their splits, labels and working size."""
        images = pd.DataFrame(self.store.sizes[self.stored], columns=["width", "height"])
        images["image"] = self.table.image_names()
        hashed = pd.util.hash_pandas_object(images, index=False).to_numpy()
        return hashlib.blake2b(np.sort(hashed).tobytes(), digest_size=8).hexdigest()


class FaceDataModule(LightningDataModule):
    """Reads data sets once, packs the images of each once, and serves batches of them.

    Args:
        name: What run folders call the data.
        sources: The data sets.
        cache: Where packed pictures and unpacked archives are kept.
        image_size: (height, width) of the working frame.
        batch_size: Pictures in a step, over all devices.
        augment: What happens to training pictures.
        seed: Keys the order of pictures, their augmentation, and splits that the data lacks.
        mix: How often each source is met, see `images_by_source`; None: the only source stands for
            itself, and its images and people do not carry its name.
        people: `apart` if people of one name in two sources are different people, see `join`.
        loader: `workers`, `device`, or `auto`, which takes workers only where the augmentation
            needs them.
        workers: Worker processes; by default one for each core, at most 16.
        max_bad_fraction: The share of unreadable pictures of a source above which the run stops.
        on_bad_image: `omit` leaves unreadable pictures out, by name and count; `raise` stops.
        label_fraction: By label the share of its training values that are used, drawn by the seed;
            all images stay, with their other labels.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        cache: str | Path,
        image_size: Sequence[int],
        batch_size: int,
        augment: Augment,
        seed: int = 0,
        mix: Any = None,
        people: Literal["apart"] | None = None,
        loader: Loader = "auto",
        workers: int | None = None,
        max_bad_fraction: float = 0.01,
        on_bad_image: OnBadImage = "omit",
        label_fraction: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        settings = {
            "batch_size": batch_size, "image_size": image_size, "loader": loader,
            "workers": workers, "on_bad_image": on_bad_image, "max_bad_fraction": max_bad_fraction,
            "label_fraction": label_fraction,
        }  # fmt: skip
        check_settings(settings, augment)
        self.label_fraction = dict(label_fraction or {})
        self.sources = {source.name: source for source in sources}
        self.weights = None if mix is None else source_weights(mix, list(self.sources))
        if people not in (None, "apart"):
            raise MtlfaceError(f"data.people is '{people}'; expected apart, or null.")
        self.source_name, self.seed, self.augment = name, seed, augment
        self.mix, self.people = mix, people
        self.batch_size, self.image_size = batch_size, (int(image_size[0]), int(image_size[1]))
        self.cache = Path(cache).expanduser()
        self.loader, self.workers = loader, workers
        self.max_bad_fraction, self.on_bad_image = max_bad_fraction, on_bad_image
        self.batch_labels: tuple[str, ...] = ()
        self._loaded: _Loaded | None = None
        self._device_augment: DeviceAugment | None = None

    @property
    def table(self) -> FaceTable:
        """The pictures that are used, with their labels."""
        return self.load().table

    @property
    def store(self) -> PixelStore | JoinedStore:
        """The packed pixels, of unusable pictures too."""
        return self.load().store

    @property
    def root_kind(self) -> str:
        """`folder`, `kaggle` or `demo`; `mixed` where sources differ."""
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
            name: {
                "root_kind": part.root_kind,
                "counts": part.table.counts,
                "fingerprint": part.content,
                "images": part.images_fingerprint(),
                "pixels": part.store.digest,
                "omitted": len(part.table.omitted),
                "remarks": list(part.table.remarks),
            }
            for name, part in self.load().parts.items()
        }

    def labels(self) -> Labels:
        """The labels that the data will have, before anything is read; people are not known yet.

        Raises:
            MtlfaceError: Two sources contradict each other.
        """
        schemas = {name: source.reader.labels() for name, source in self.sources.items()}
        return next(iter(schemas.values())) if self.mix is None else join_labels(schemas)

    def read(self) -> tuple[FaceTable, str]:
        """The chosen rows with their labels, no image looked at yet, and the root's kind.

        Raises:
            MtlfaceError: The data cannot be had or read.
        """
        tables, kinds = {}, set()
        for name, source in self.sources.items():
            tables[name], kind = source.read(self.cache, self.seed)
            kinds.add(kind)
        return self._united(tables), _one_kind(kinds)

    def load(self) -> _Loaded:
        """Reads the labels and opens the packed pictures, building them if they are not there.

        Raises:
            MtlfaceError: The data cannot be had, read or used.
        """
        if self._loaded is None:
            parts = {name: self._part(source) for name, source in self.sources.items()}
            table = self._united({name: part.table for name, part in parts.items()})
            stored = np.concatenate([part.stored for part in parts.values()])
            store: PixelStore | JoinedStore = next(iter(parts.values())).store
            if self.mix is not None:
                store = JoinedStore(tuple(part.store for part in parts.values()))
                number = np.repeat(np.arange(len(parts)), [len(p.table) for p in parts.values()])
                kept = self._kept(table, number)
                stored = (stored + store.starts[number])[kept]
                table = table.keep(kept)
            kind = _one_kind({part.root_kind for part in parts.values()})
            self._loaded = _Loaded(table, stored, store, kind, parts)
        return self._loaded

    def _part(self, source: Source) -> Part:
        table, kind = source.read(self.cache, self.seed)
        content = table.fingerprint()
        images = table.frame["image"].tolist()
        store = open_store(images, table.root, self.image_size, self.cache, self.workers)
        table, stored = self._without_bad(table, store)
        table, stored = self._without_misplaced(source, table, stored, store)
        _warn_of(table.omitted)
        for remark in table.remarks:
            log.warning("%s: %s.", table.root, remark)
        return Part(with_all_splits(table, source.name), stored, store, kind, content)

    def _united(self, tables: dict[str, FaceTable]) -> FaceTable:
        return next(iter(tables.values())) if self.mix is None else join(tables, self.people)

    def _kept(self, table: FaceTable, number: np.ndarray) -> np.ndarray:
        """The rows that are used: sources of weight 0 are tested on and nothing else."""
        weights = np.array([(self.weights or {}).get(name, 1.0) for name in self.sources])
        test = (table.frame["split"] == "test").to_numpy()
        return np.flatnonzero(test | (weights[number] > 0))

    def _order(self) -> MixedOrder | None:
        """The order of an epoch on several sources."""
        if self.mix is None:
            return None
        table = self.table
        found = table.frame["source"].to_numpy()[table.rows("train")]
        numbers = np.bincount(found, minlength=len(self.sources)).tolist()
        counts = dict(zip(self.sources, numbers, strict=True))
        taken = images_by_source(self.mix, counts)
        if self.trainer is None or self.trainer.current_epoch == 0:
            words = ", ".join(f"{n:,} of {counts[name]:,} from {name}" for name, n in taken.items())
            log.info("An epoch has %s images: %s.", f"{sum(taken.values()):,}", words)
        return MixedOrder(tuple(numbers), tuple(taken.values()))

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
        self, source: Source, table: FaceTable, stored: np.ndarray, store: PixelStore
    ) -> tuple[FaceTable, np.ndarray]:
        """Leaves out images whose points are not theirs; more than a few are an error."""
        frame, declared = (getattr(source.reader, name, None) for name in ("face_frame", "size"))
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
        hidden = self._hidden(table) if name == "train" else {}
        return Split(table, store, stored, name, self.batch_labels, hidden)

    def _hidden(self, table: FaceTable) -> dict[str, np.ndarray]:
        """The training labels that are not to be used, by label."""
        train, shares = table.frame.iloc[table.rows("train")], self.label_fraction
        hidden = hidden_rows(table.labels, train, shares, self.seed)
        return {name: rows for name, rows in hidden.items() if name in self.batch_labels}

    def label_counts(self) -> dict[str, int]:
        """Training images with each label that the tasks asked for, as far as they are used."""
        table = self.table
        train = table.frame.iloc[table.rows("train")]
        hidden = self._hidden(table)
        return {
            name: int((known_rows(table.labels[name], train) & ~hidden.get(name, False)).sum())
            for name in self.batch_labels
        }

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
        draws = self._draws.of(self.trainer.current_epoch, draw_key(batch))
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
        order = self._order() if train else None
        images = len(split) if order is None else len(order)
        sampler = BatchSampler(images, size, self.seed, train, rank, world, order)
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
            numbers = 1 + int(draw_key(split.targets).max())
            self._draws = EpochDraws(self.augment, self.image_size, self.seed, numbers)
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


def _one_kind(kinds: set[str]) -> str:
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _warn_of(omitted: Sequence[Omission]) -> None:
    if not omitted:
        return
    lines = [
        f"{o.file}{'' if o.row is None else f', line {o.row}'}: {o.reason}" for o in omitted[:NAMED]
    ]
    more = [f"{len(omitted) - NAMED} more"] if len(omitted) > NAMED else []
    log.warning("Left out %d: %s.", len(omitted), "; ".join([*lines, *more]))
