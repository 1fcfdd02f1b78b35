"""Ways to learn a probability for every value of a number: ages as an order, or as classes.

Each is a loss of a head's raw outputs, and knows what they mean. K is the number of values (an
age each), k = 0 … K − 1 counts them, and y is the true one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from coral_pytorch.losses import coral_loss
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

TINY = 1e-30  # of a probability whose logarithm is taken
RAREST = 1e-4  # of a share that a constant predictor's logit is taken of


class Distribution(nn.Module, ABC):
    """What a head's outputs say of K ordered values, and the loss that teaches it.

    Attributes:
        ordinal: Whether the outputs are about P(y > k), which have to fall with k.
    """

    ordinal = False

    def outputs(self, values: int) -> int:
        """How many outputs the head needs for K values."""
        return values

    @abstractmethod
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """The losses of labelled rows, and which of them count.

        Args:
            output: Raw outputs (B, outputs).
            target: The true values as positions 0 … K − 1, float (B,); not always whole.

        Returns:
            Losses (B,) or (B, …), and a bool mask of that shape; None where all count.
        """

    def probabilities(self, output: Tensor) -> Tensor:
        """Raw outputs (B, outputs) to the probability of each value, (B, K), rows of sum 1."""
        return output.float().softmax(dim=1)

    def position(self, output: Tensor) -> Tensor:
        """Raw outputs (B, outputs) to the value that is said, as a position, float (B,)."""
        return expectation(self.probabilities(output))

    def combined(self, outputs: Tensor) -> Tensor:
        """Raw outputs (B, outputs) of the mean of M distributions, (M, B, outputs)."""
        likely = outputs.double().log_softmax(dim=2)
        return (likely.logsumexp(dim=0) - math.log(len(outputs))).float()

    def exceedance(self, output: Tensor) -> Tensor:
        """Raw outputs (B, outputs) to P(y > k) for k = 0 … K − 2, (B, K − 1)."""
        return 1 - self.probabilities(output).cumsum(dim=1)[:, :-1]

    @abstractmethod
    def constant(self, target: Tensor, values: int) -> Tensor:
        """Raw outputs (outputs,) of about the least loss for all of these positions (N,)."""


class CrossEntropy(Distribution):
    r"""A class for each value; the number said is the expectation (DEX; Rothe et al., IJCV 2018).

    .. math:: -\ln p_y
    """

    @override
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        classes = target.round().long()
        return functional.cross_entropy(output.float(), classes, reduction="none"), None

    @override
    def constant(self, target: Tensor, values: int) -> Tensor:
        counts = torch.bincount(target.round().long(), minlength=values).float()
        # A count of 1 over all values, so that none is impossible.
        return ((counts + 1 / values) / (counts.sum() + 1)).log()


class MeanVariance(CrossEntropy):
    r"""Cross-entropy, and a mean that is right with little variance (Pan et al., CVPR 2018).

    .. math:: -\ln p_y + \lambda_1 (m - y)^2 / 2 + \lambda_2 v

    m and v are the mean and the variance of the distribution, in units of the values.

    Args:
        mean_weight: λ₁, the paper's .2.
        variance_weight: λ₂, the paper's .05.
    """

    def __init__(self, mean_weight: float = 0.2, variance_weight: float = 0.05) -> None:
        super().__init__()
        self.mean_weight, self.variance_weight = mean_weight, variance_weight

    @override
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        entropy, _ = super().forward(output, target)
        probabilities = self.probabilities(output)
        mean = expectation(probabilities)
        weighted = self.mean_weight * (mean - target).square() / 2
        return entropy + weighted + self.variance_weight * variance(probabilities), None

    @override
    def constant(self, target: Tensor, values: int) -> Tensor:
        start = super().constant(target, values)
        # The loss depends on the targets through how often each position is there.
        positions, counts = torch.unique(target, return_counts=True)
        shares = counts / counts.sum()
        with torch.enable_grad():
            logits = start.clone().requires_grad_()
            solver = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

            def loss() -> Tensor:
                solver.zero_grad()
                each, _ = self(logits.expand(len(positions), -1), positions)
                found: Tensor = (shares * each).sum()
                found.backward()  # type: ignore[no-untyped-call]
                return found

            solver.step(loss)  # type: ignore[no-untyped-call]
        return logits.detach() if bool(logits.isfinite().all()) else start


class LabelDistribution(Distribution):
    r"""Deep label distribution learning: a bell around the true value (Gao et al., TIP 2017).

    .. math:: \sum_k q_k \ln (q_k / p_k), \quad q_k \propto \exp(-(k - y)^2 / 2 \sigma^2)

    Args:
        sigma: σ of the bell, in units of the values.
    """

    def __init__(self, sigma: float = 2.0) -> None:
        super().__init__()
        self.sigma = sigma

    def labels(self, target: Tensor, values: int) -> Tensor:
        """The distributions (B, K) that the positions (B,) are taught as."""
        positions = torch.arange(values, device=target.device)
        return (-((positions - target[:, None]) ** 2) / (2 * self.sigma**2)).softmax(dim=1)

    @override
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        taught = self.labels(target, output.shape[1])
        found = output.float().log_softmax(dim=1)
        return functional.kl_div(found, taught, reduction="none").sum(dim=1), None

    @override
    def constant(self, target: Tensor, values: int) -> Tensor:
        return self.labels(target, values).mean(dim=0).clamp(min=1e-12).log()


class Coral(Distribution):
    r"""Consistent rank logits (Cao et al., Pattern Recognition Letters 2020).

    K − 1 yes/no questions "is y > k?", each a logit of one shared score and a bias of its own, see
    `mtlface.models.coral_head`; the value said is the number of questions with P > .5.

    .. math:: -\sum_k [y > k] \ln \sigma(z_k) + [y \le k] \ln (1 - \sigma(z_k))
    """

    ordinal = True

    @override
    def outputs(self, values: int) -> int:
        return values - 1

    @override
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        levels = above(target, output.shape[1]).float()
        losses: Tensor = coral_loss(output.float(), levels, reduction=None)
        return losses, None

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        yes, no = (side.double().sigmoid().mean(dim=0) for side in (outputs, -outputs))
        return (yes.log() - no.log()).float()

    @override
    def exceedance(self, output: Tensor) -> Tensor:
        return output.float().sigmoid()

    @override
    def probabilities(self, output: Tensor) -> Tensor:
        # Biases that are out of order for a while would make some differences negative: they are
        # rearranged (Chernozhukov et al. 2010).
        exceeded = self.exceedance(output).sort(dim=1, descending=True).values
        return torch.diff(-exceeded, dim=1, prepend=-torch.ones_like(exceeded[:, :1]),
                          append=torch.zeros_like(exceeded[:, :1]))  # fmt: skip

    @override
    def position(self, output: Tensor) -> Tensor:
        return (self.exceedance(output) > 0.5).sum(dim=1).float()

    @override
    def constant(self, target: Tensor, values: int) -> Tensor:
        shares = above(target, values - 1).float().mean(dim=0)
        return shares.clamp(RAREST, 1 - RAREST).logit()


class Corn(Coral):
    """Conditional rank logits (Shi et al., Pattern Analysis and Applications 2023).

    K − 1 questions "is y > k, if it is > k − 1?"; their products are P(y > k), which fall with k
    whatever the outputs are. A question counts for the rows that it is put to.
    """

    @override
    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        levels = above(target, output.shape[1])
        losses = functional.binary_cross_entropy_with_logits(
            output.float(), levels.float(), reduction="none"
        )
        return losses, asked(levels)

    @override
    def combined(self, outputs: Tensor) -> Tensor:
        # The members' P(y > k), averaged, as conditional probabilities again.
        exceeded = functional.logsigmoid(outputs.double()).cumsum(dim=2).exp().mean(dim=0)
        before = functional.pad(exceeded[:, :-1], (1, 0), value=1.0)
        return (exceeded.clamp(min=TINY).log() - (before - exceeded).clamp(min=TINY).log()).float()

    @override
    def exceedance(self, output: Tensor) -> Tensor:
        # A product as a sum of logarithms, which ONNX has.
        return functional.logsigmoid(output.float()).cumsum(dim=1).exp()

    @override
    def constant(self, target: Tensor, values: int) -> Tensor:
        levels = above(target, values - 1)
        shares = levels.sum(dim=0) / asked(levels).sum(dim=0).clamp(min=1)
        return shares.clamp(RAREST, 1 - RAREST).logit()


def above(target: Tensor, levels: int) -> Tensor:
    """Whether y > k for k = 0 … levels − 1: bool (B, levels) of positions (B,)."""
    return target.round()[:, None] > torch.arange(levels, device=target.device)


def asked(levels: Tensor) -> Tensor:
    """Whether y > k − 1, bool (B, levels) of `above`: the first question is put to all."""
    return functional.pad(levels[:, :-1], (1, 0), value=True)


def expectation(probabilities: Tensor) -> Tensor:
    """The mean position (B,) of probabilities (B, K)."""
    # A product with a vector would depend on the size of the batch in its last bits.
    return (probabilities * _positions(probabilities)).sum(dim=1)


def variance(probabilities: Tensor) -> Tensor:
    """The variance (B,) of probabilities (B, K), in squared units of the values."""
    away = _positions(probabilities) - expectation(probabilities)[:, None]
    return (probabilities * away.square()).sum(dim=1)


def _positions(probabilities: Tensor) -> Tensor:
    return torch.arange(probabilities.shape[1], device=probabilities.device, dtype=torch.float32)


FEWEST, MOST = 3, 1000  # values of a number that a distribution may have


def count_of(low: float, high: float) -> int | None:
    """K, the whole units from low to high; None where they are too few, too many or not whole."""
    values = high - low + 1
    fits = math.isfinite(values) and values == int(values) and FEWEST <= values <= MOST
    return int(values) if fits else None
