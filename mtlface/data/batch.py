"""The batch, defined in one place: the pictures of a split with their labels, gathered by position.

A batch is a dictionary of tensors:

- `image`: uint8 (B, 3, H, W), RGB, in channels-last memory;
- `index`: int64 (B,), the picture's row in the table, −1 for padding;
- `row`: int64 (B,), of a joined table only: the image's row in the table of its own source, which
  augmentation is keyed by, so that an image meets the same draws whatever it is joined with;
- `size`: float32 (B, 2), width and height of the picture as it lies on disk;
- a label each under its name, as `mtlface.data.schema` defines it, points in pixels of the working
  frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mtlface.data.pixels import JoinedStore, PixelStore
from mtlface.data.schema import Label, Points
from mtlface.data.table import FaceTable

Batch = dict[str, Tensor]


def draw_key(batch: Batch) -> Tensor:
    """What augmentation draws from for each image, int64 (B,): its row among its own source's."""
    return batch.get("row", batch["index"])


class Split:
    """One split's labels in memory and its pixels on disk.

    Args:
        table: The pictures with their labels.
        store: The packed pixels.
        stored: For each row of the table, its row in the store.
        split: `train`, `val` or `test`.
        labels: The labels that a batch holds.
        hidden: By label the rows of the split whose value is to be missing, bool (N,).
    """

    def __init__(
        self,
        table: FaceTable,
        store: PixelStore | JoinedStore,
        stored: np.ndarray,
        split: str,
        labels: Sequence[str],
        hidden: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.rows = table.rows(split)
        self._stored = stored[self.rows]
        self.frame = store.working
        # The store, not its pixels: a memory map is pickled as gigabytes, a store as its folder.
        self._store = store
        sizes = store.sizes[self._stored].astype(np.float32)
        self._targets = {"index": self.rows, "size": sizes}
        if "row" in table.frame:
            self._targets["row"] = table.frame["row"].to_numpy(dtype=np.int64)[self.rows]
        self._targets |= {
            name: _in_frame(table.labels[name], table, self.rows, sizes, self.frame)
            for name in labels
        }
        self._missing = {"index": -1.0, "size": 1.0, "row": -1.0} | {
            n: table.labels[n].missing for n in labels
        }
        for name, rows in (hidden or {}).items():
            self._targets[name][rows] = self._missing[name]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Batch:
        """The batch of the whole split, without its pictures."""
        return {name: torch.from_numpy(values) for name, values in self._targets.items()}

    def images(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The pictures at these positions of the split, uint8 (B, H, W, 3): one copy.

        Args:
            positions: int64 (B,); −1 reads the last picture.
            out: Where to put them, uint8 (B, H, W, 3), instead of new memory.
        """
        return self._store.gather(self._stored[positions], out)

    def labels_at(self, positions: np.ndarray) -> Batch:
        """The batch at these positions without its pictures; −1 is a row with no labels."""
        padding = positions < 0
        padded = padding.any()
        batch = {}
        for name, values in self._targets.items():
            gathered = values[positions]
            if padded:
                gathered[padding] = self._missing[name]
            batch[name] = torch.from_numpy(gathered)
        return batch

    def batch(self, positions: np.ndarray) -> Batch:
        """The batch at these positions, int64 (B,); −1 stands for a padding row."""
        images = torch.from_numpy(self.images(positions)).permute(0, 3, 1, 2)
        return {"image": images} | self.labels_at(positions)


def _in_frame(
    label: Label, table: FaceTable, rows: np.ndarray, sizes: np.ndarray, frame: tuple[int, int]
) -> np.ndarray:
    values = label.values(table.frame.iloc[rows])
    if not isinstance(label, Points):
        return np.array(values)  # a column may be the table's own memory, which is read-only
    # Pixel centres: the picture's edge lies half a pixel before the first one, in both frames.
    scale = np.array(frame[::-1], dtype=np.float32) / sizes
    moved: np.ndarray = (values + 0.5) * scale[:, None] - 0.5
    return moved.astype(np.float32)
