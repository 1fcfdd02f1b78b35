"""Two ways from a split to batches: worker processes, or a gather where the pixels already are."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.batch import Batch, Split
from mtlface.data.sampler import BatchSampler, Draw

# What the network, its gradients and its activations need is unknown before the first step, so a
# split may take at most this share of the memory that is free when training starts.
SHARE_OF_DEVICE_MEMORY = 0.5


class AugmentedSplit(Dataset[Batch]):
    """A split whose items are whole batches, augmented picture by picture on the CPU."""

    def __init__(self, split: Split, augment: CpuAugment | None, seed: int) -> None:
        self.split, self.augment, self.seed = split, augment, seed

    def __getitem__(self, draw: Draw) -> Batch:
        """The batch of a draw."""
        if self.augment is None:
            return self.split.batch(draw.positions)
        images = self.split.images(draw.positions)
        batch = self.split.labels_at(draw.positions)
        points = {name: batch[name].numpy() for name in self.augment.mirrored}
        images, moved = self.augment.batch(
            images, points, batch["index"].numpy(), self.seed, draw.epoch
        )
        batch |= {name: torch.from_numpy(values) for name, values in moved.items()}
        return {"image": torch.from_numpy(images).permute(0, 3, 1, 2)} | batch


def worker_loader(
    split: Split,
    sampler: BatchSampler,
    augment: CpuAugment | None,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Batch]:
    """Worker processes fetch and augment whole batches; 0 workers do it in this process."""
    return DataLoader(
        AugmentedSplit(split, augment, sampler.seed),
        sampler=sampler,
        batch_size=None,  # the sampler gives whole batches
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        multiprocessing_context=_start_method() if workers > 0 else None,
    )


def _start_method() -> str | None:
    """None for the way that this process starts others; in joblib's, which is no good, Python's."""
    known = multiprocessing.get_all_start_methods()
    chosen = multiprocessing.get_start_method(allow_none=True)
    return None if chosen in {None, *known} else known[0]


class DeviceLoader:
    """Gathers batches where the pixels are: on the GPU, in pinned memory, or from the store.

    On a CPU the memory map is already where the network reads from. On a GPU the whole split moves
    there as uint8 if it takes no more than half of the free memory, and to pinned host memory
    otherwise. There are no worker processes.

    Args:
        split: The split.
        sampler: Which positions make a batch; Lightning tells it the epoch.
        device: Where batches are wanted.
    """

    # Lightning looks for both samplers of a DataLoader; `sampler` is the one that it tells epochs.
    batch_sampler = None

    def __init__(self, split: Split, sampler: BatchSampler, device: torch.device) -> None:
        self.split, self.sampler, self.device = split, sampler, device
        self.pixels = None if device.type == "cpu" else self._place()

    def _place(self) -> Tensor:
        height, width = self.split.frame
        shape = (len(self.split), height, width, 3)
        free, _ = torch.cuda.mem_get_info(self.device)
        fits = int(np.prod(shape)) <= SHARE_OF_DEVICE_MEMORY * free
        where = {"device": self.device} if fits else {"pin_memory": True}
        pixels = torch.empty(shape, dtype=torch.uint8, **where)
        step = max(1, (1 << 28) // (height * width * 3))
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            pixels[start:stop].copy_(torch.from_numpy(self.split.images(np.arange(start, stop))))
        return pixels

    @property
    def place(self) -> str:
        """Where the pixels lie, in words."""
        if self.pixels is None:
            return "memory-mapped store"
        return "GPU memory" if self.pixels.is_cuda else "pinned host memory"

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for _, positions in self.sampler:
            yield self._gather(positions)

    def _gather(self, positions: np.ndarray) -> Batch:
        if self.pixels is None:
            return self.split.batch(positions)
        # Padding reads the last row; its labels say that it does not count.
        chosen = torch.from_numpy(positions % len(self.split))
        labels = self.split.labels_at(positions)
        if self.pixels.is_cuda:
            # From pageable memory the copy would wait for all that the device has to do.
            images = self.pixels[chosen.pin_memory().to(self.device, non_blocking=True)]
        else:
            images = self.pixels[chosen].pin_memory().to(self.device, non_blocking=True)
        on_device = {
            name: values.pin_memory().to(self.device, non_blocking=True)
            for name, values in labels.items()
        }
        return {"image": images.permute(0, 3, 1, 2)} | on_device
