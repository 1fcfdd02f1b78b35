"""How much a step computes and moves, and what share of a GPU's peak that is."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

# NVIDIA's data sheets: dense bf16 FLOP/s and bytes/s of memory, by a word of the device's name.
PEAKS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.039e12),
    "L40S": (362e12, 0.864e12),
    "L4": (121e12, 0.3e12),
}


class ByteCounter(TorchDispatchMode):
    """Counts the bytes of all tensors that operators take and give.

    That is what an eager step moves when nothing stays in a cache: an upper bound for a compiled
    one, which fuses element-wise operators. Views move nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, found)):
                if isinstance(leaf, torch.Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return found


def counted(step: Callable[[], object]) -> dict[str, float]:
    """FLOPs and bytes of an eager step; the counters see no compiled one."""
    with FlopCounterMode(display=False) as flops:
        step()
    with ByteCounter() as moved:
        step()
    return {"flops": float(flops.get_total_flops()), "bytes": float(moved.bytes)}


def shares(work: dict[str, float], seconds: float, device: str) -> dict[str, float | None]:
    """Shares of the peak rates, and of the time that the roofline model allows.

    Args:
        work: What `counted` gave.
        seconds: Of a step.
        device: Its name; the shares of an unknown one are None.
    """
    peak = next((rates for word, rates in PEAKS.items() if word in device), None)
    if peak is None:
        return {"of_peak_flops": None, "of_peak_bytes": None}
    return {
        "of_peak_flops": work["flops"] / seconds / peak[0],
        "of_peak_bytes": work["bytes"] / seconds / peak[1],
    }
