"""Where the pretend device keeps its tensors, and the log of waits and launches."""

from __future__ import annotations

import collections
import traceback

import torch
from torch.multiprocessing.reductions import StorageWeakRef

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)

# Places of a storage. UNDECIDED is a constant that torch made by itself, in a backward pass for
# example: on a real GPU it would have been made where it is used.
DEVICE, HOST, PINNED, UNDECIDED = "cuda", "host", "pinned", "undecided"

TOO_MANY = 200_000  # marks, after which those of dead storages are dropped


class MixedDevicesError(RuntimeError):
    """An operation got tensors of both devices, which CUDA refuses."""


class Places:
    """Marks storages; one without a mark lies on the host."""

    def __init__(self):
        self._marks = {}

    def of(self, tensor):
        key = tensor.untyped_storage()._cdata
        weak, place = self._marks.get(key, (None, HOST))
        return HOST if weak is None or weak.expired() else place

    def on_device(self, tensor):
        return self.of(tensor) == DEVICE

    def put(self, tensor, place):
        storage = tensor.untyped_storage()
        self._marks[storage._cdata] = (StorageWeakRef(storage), place)
        if len(self._marks) > TOO_MANY:
            self._marks = {k: v for k, v in self._marks.items() if not v[0].expired()}


class Log:
    """What a GPU would have been asked for.

    Attributes:
        waits: (kind, operation, line of code) of every wait of the host for the device.
        launches: Kernels by operation.
    """

    def __init__(self):
        self.waits = []
        self.launches = collections.Counter()
        self.factories = 0  # calls from Python that make tensors and are under way

    def wait(self, kind, operation):
        self.waits.append((kind, operation, _line()))

    def clear(self):
        self.waits.clear()
        self.launches.clear()


def _line():
    """The innermost line outside of torch and of this detector, then the one in mtlface."""
    found = []
    for frame in reversed(traceback.extract_stack()[:-2]):
        path = frame.filename
        own = path.rpartition("/")[2].startswith("pretend_")
        torch_itself = "/torch/" in path and "torchmetrics" not in path and "torchjd" not in path
        if own or torch_itself:
            continue
        short = path.split("site-packages/")[-1].rpartition("/mtlface/")[2]
        found.append(f"{short}:{frame.lineno} {frame.name}")
        if "mtlface" in path or len(found) > 3:
            break
    return " < ".join(dict.fromkeys((found[0], found[-1]))) if found else "?"
