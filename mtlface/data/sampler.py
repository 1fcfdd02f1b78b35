"""Which pictures come in which batch, known from (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mtlface.data.mix import MixedOrder


class Draw(NamedTuple):
    """A batch to be fetched.

    Attributes:
        epoch: The epoch that augmentation is keyed by.
        positions: Positions in the split, int64 (B,); −1 is padding.
    """

    epoch: int
    positions: np.ndarray


class BatchSampler:
    """Whole batches of positions, the same for the same seed and epoch whatever happened before.

    With several processes each global batch is cut into equal shares, so that together they see
    the batches that one process would. In training a last global batch that cannot be shared
    equally is cut; in evaluation it is padded with −1, so that each picture is counted once.

    Args:
        length: Pictures in the split.
        batch_size: Pictures in a global batch, over all processes.
        seed: Keys the order.
        train: Whether to shuffle.
        rank: This process.
        world: How many processes there are.
        order: In training on several sources, which positions an epoch has, `length` in all; by
            default each position once. Those of one source are next to each other in a batch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        train: bool,
        rank: int = 0,
        world: int = 1,
        order: MixedOrder | None = None,
    ) -> None:
        self.length, self.batch_size, self.seed, self.train = length, batch_size, seed, train
        self.rank, self.world, self.order = rank, world, order
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next iteration; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.length, self.batch_size)
        if self.train:
            # BatchNorm needs two pictures; a lone one would also be a step of its own.
            return full + (rest // self.world >= 2) or int(self.length > 0)
        return full + (rest > 0)

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(self.length)
        if self.train:
            order = (
                np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
                if self.order is None
                else self.order(self.seed, self.epoch)
            )
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = order[start : start + self.batch_size]
            if self.train:
                batch = batch if self.order is None else self.order.by_source(batch)
                batch = batch[: len(batch) // self.world * self.world]
            elif len(batch) % self.world:
                padding = -len(batch) % self.world
                batch = np.concatenate((batch, np.full(padding, -1)))
            yield Draw(self.epoch, batch[self.rank :: self.world])
