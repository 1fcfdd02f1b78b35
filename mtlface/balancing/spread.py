"""Putting what was found for the present tasks back in the places of all tasks."""

import torch
from torch import Tensor


def spread(values: Tensor, index: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """Returns a vector ``(size,)`` with ``values`` at ``index`` and ``fill`` elsewhere."""
    return torch.full((size,), fill, dtype=values.dtype, device=values.device).index_copy(
        0, index.to(values.device), values
    )


def spread_square(matrix: Tensor, index: Tensor, size: int) -> Tensor:
    """Returns a float32 matrix ``(size, size)`` with ``matrix`` at ``index``, NaN elsewhere."""
    whole = torch.full((size, size), torch.nan, device=matrix.device)
    whole[index.unsqueeze(1), index] = matrix.float()
    return whole
