"""Two ways from a split to batches: worker processes, or a gather where the pixels already are."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.batch import Batch, Split, draw_key
from mtlface.data.sampler import BatchSampler, Draw

# What the network, its gradients and its activations need is unknown before the first step, so a
# split may take at most this share of the memory that is free when training starts.
SHARE_OF_DEVICE_MEMORY = 0.5
BUFFERS = 3  # one that the device reads, one that is ready, one that is being filled


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
            images, points, draw_key(batch).numpy(), self.seed, draw.epoch
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
    """Gathers batches where the network reads them, without worker processes.

    On a CPU they come from the memory-mapped store. On a GPU the labels lie in its memory, and the
    whole split as uint8 too if it takes no more than half of the free memory; otherwise a thread
    gathers the pictures ahead into pinned buffers. Either way a step waits for nothing: which
    pictures make up the batches is known, and copied, before the epoch.

    Args:
        split: The split.
        sampler: Which positions make a batch; Lightning tells it the epoch.
        device: Where batches are wanted.
    """

    # Lightning looks for both samplers of a DataLoader; `sampler` is the one that it tells epochs.
    batch_sampler = None

    def __init__(self, split: Split, sampler: BatchSampler, device: torch.device) -> None:
        self.split, self.sampler, self.device = split, sampler, device
        self.labels: Batch = {}
        self.pixels: Tensor | None = None
        if device.type != "cpu":
            # One row more, for padding: position −1 is the last row.
            rows = np.append(np.arange(len(split)), -1)
            self.labels = {n: values.to(device) for n, values in split.labels_at(rows).items()}
            self.pixels = self._place()

    def _place(self) -> Tensor | None:
        height, width = self.split.frame
        shape = (len(self.split), height, width, 3)
        free, _ = torch.cuda.mem_get_info(self.device)
        # What earlier jobs of this process left in torch's cache is free as well.
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        if int(np.prod(shape)) > SHARE_OF_DEVICE_MEMORY * (free + held):
            return None
        pixels = torch.empty(shape, dtype=torch.uint8, device=self.device)
        step = max(1, (1 << 28) // (height * width * 3))
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            pixels[start:stop].copy_(torch.from_numpy(self.split.images(np.arange(start, stop))))
        return pixels

    @property
    def place(self) -> str:
        """Where the pixels lie, in words."""
        if self.device.type == "cpu":
            return "the memory-mapped store"
        return "the store through pinned buffers" if self.pixels is None else "GPU memory"

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        batches = [positions for _, positions in self.sampler]
        if not batches:
            return
        everything, lengths = np.concatenate(batches), [len(positions) for positions in batches]
        images: Iterator[Tensor]
        if self.device.type == "cpu":
            labels = self.split.labels_at(everything)
            images = (torch.from_numpy(self.split.images(positions)) for positions in batches)
        else:
            order = torch.from_numpy(everything)
            # From pageable memory the copy would wait for all that the device has to do.
            order = order.pin_memory().to(self.device, non_blocking=True)
            labels = {name: values[order] for name, values in self.labels.items()}
            if self.pixels is None:
                images = pinned_ahead(self.split, batches, self.device)
            else:
                # Padding reads any image; its labels say that it does not count.
                images = (self.pixels[rows] for rows in torch.split(order, lengths))
        # An epoch's labels are gathered at once, and each batch is a view of them.
        views = zip(*(torch.split(values, lengths) for values in labels.values()), strict=True)
        for pixels, targets in zip(images, views, strict=True):
            yield {"image": pixels.permute(0, 3, 1, 2), **dict(zip(labels, targets, strict=True))}


def pinned_ahead(
    split: Split, batches: Sequence[np.ndarray], device: torch.device
) -> Iterator[Tensor]:
    """A split's pictures batch by batch on a device, gathered ahead by a thread.

    Args:
        split: The split; its store stays a memory map.
        batches: The positions of each batch, int64 (B,).
        device: Where they are wanted.

    Yields:
        uint8 of shape (B, H, W, 3).
    """
    shape = (max(map(len, batches)), *split.frame, 3)
    buffers = [
        torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        for _ in range(min(BUFFERS, len(batches)))
    ]
    copied = [torch.cuda.Event() for _ in buffers]  # type: ignore[no-untyped-call]

    def gather(number: int) -> Tensor:
        slot = number % len(buffers)
        copied[slot].synchronize()  # the device may still be reading the batch before
        pinned = buffers[slot][: len(batches[number])]
        split.images(batches[number], out=pinned.numpy())
        return pinned

    with ThreadPoolExecutor(1, thread_name_prefix="gather") as thread:
        ahead = deque(thread.submit(gather, number) for number in range(len(buffers)))
        for number in range(len(batches)):
            images = ahead.popleft().result().to(device, non_blocking=True)
            copied[number % len(buffers)].record()
            if number + len(buffers) < len(batches):
                ahead.append(thread.submit(gather, number + len(buffers)))
            yield images
