"""Whether the probabilities of a task are right: NLL, Brier score and calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15  # of the calibration error
TINY = 1e-12  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities are right.

    Attributes:
        nll: Mean −ln p of the true value.
        brier: Mean squared distance of the probabilities from the truth, Σ (p_k − [y = k])².
        ece: Expected calibration error of the likeliest value's probability, 15 bins, L1.
    """

    nll: float
    brier: float
    ece: float


def calibration(probability: Tensor, positions: Tensor) -> Calibration | None:
    """NLL, Brier score and ECE of the labelled images; None if there are none.

    Args:
        probability: (N, K).
        positions: The true values, int64 (N,), −1 where missing.
    """
    known = positions >= 0
    if not known.any():
        return None
    p, y = probability[known].double(), positions[known]
    at_truth = p.gather(1, y[:, None])[:, 0]
    brier = p.square().sum(dim=1) - 2 * at_truth + 1
    sure, said = p.max(dim=1)
    bins = (sure * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64)
    gaps.index_add_(0, bins, sure - (said == y).double())
    return Calibration(
        nll=float(-at_truth.clamp(min=TINY).log().mean()),
        brier=float(brier.mean()),
        ece=float(gaps.abs().sum() / len(y)),
    )
