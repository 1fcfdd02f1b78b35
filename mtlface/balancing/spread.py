"""From all tasks to those that a batch has, and back; nothing here waits for the device."""

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Sends a small tensor of the host to a device without waiting for what that has to do."""
    pinned = values.pin_memory() if device.type == "cuda" else values
    return pinned.to(device, non_blocking=True)


def rows_of(present: Tensor, device: torch.device) -> Tensor:
    """Returns the positions (int64) of the present tasks on a device.

    Args:
        present: ``(T,)`` bool on the CPU.
        device: Where they are wanted.
    """
    if bool(present.all()):
        return torch.arange(len(present), device=device)
    return to_device(present.nonzero().flatten(), device)


def spread(values: Tensor, index: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """Returns a vector ``(size,)`` with ``values`` at ``index`` and ``fill`` elsewhere."""
    if len(values) == size:
        return values
    return torch.full((size,), fill, dtype=values.dtype, device=values.device).index_copy(
        0, index, values
    )


def spread_square(matrix: Tensor, index: Tensor, size: int) -> Tensor:
    """Returns a float32 matrix ``(size, size)`` with ``matrix`` at ``index``, NaN elsewhere."""
    if len(matrix) == size:
        return matrix.float()
    whole = torch.full((size, size), torch.nan, device=matrix.device)
    whole[index.unsqueeze(1), index] = matrix.float()
    return whole
