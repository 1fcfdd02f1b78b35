"""GradNorm: learned weights that bring the task gradients to comparable sizes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlface.balancing.balancer import Balanced, Balancer
from mtlface.balancing.jacobian import feature_jacobian, gramian
from mtlface.balancing.ranks import gramian_over_ranks
from mtlface.balancing.spread import rows_of, spread, spread_square

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class GradNorm(Balancer):
    r"""Gradient normalisation (Chen et al., "GradNorm", ICML 2018).

    With task losses $L_i$, weights $w_i$ and gradient norms $G_i = \lVert \nabla w_i L_i \rVert$ at
    the shared features, the weights descend

    $$\sum_i \bigl| G_i - \bar G\, r_i^\alpha \bigr|, \qquad
    r_i = \frac{L_i / L_i(0)}{\operatorname{mean}_j L_j / L_j(0)},$$

    with the target $\bar G\, r_i^\alpha$ held constant, by an Adam of their own; then they are
    scaled to sum to T. A step uses the weights learned before it. $L_i(0)$ is the task's loss at
    the first step that has its label.

    Tasks absent from a batch: the means are over the present tasks, and the absent task's weight,
    moments and reference stay as they are.

    Args:
        tasks: Names of the losses.
        alpha: Strength of the pull back to a common training rate; the paper's 1.5 by default.
        lr: Learning rate of the weights' Adam.
    """

    level = "features"

    def __init__(self, tasks: Sequence[str], alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__(tasks)
        self.alpha = alpha
        self.lr = lr
        size = len(self.tasks)
        self.weights: Tensor
        self.first_losses: Tensor
        self.moments: Tensor
        self.updates: Tensor
        self.register_buffer("weights", torch.ones(size))
        self.register_buffer("first_losses", torch.full((size,), torch.nan))
        self.register_buffer("moments", torch.zeros(2, size))
        self.register_buffer("updates", torch.zeros(size))

    def balance(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Weighs the losses, and learns the next step's weights."""
        index = rows_of(present, losses.device)
        kept = losses.index_select(0, index)
        gram = gramian_over_ranks(gramian(feature_jacobian(kept, features)))
        weights = self.weights.index_select(0, index)
        loss = (weights * kept).sum()
        self._learn(kept.detach(), gram.diagonal().sqrt().float(), index)
        return Balanced(
            loss,
            spread(weights, index, len(losses)),
            spread_square(gram, index, len(losses)),
        )

    def _learn(self, losses: Tensor, norms: Tensor, index: Tensor) -> None:
        # A step that mixed precision skips teaches nothing; decided on the device.
        fine = losses.isfinite().all() & norms.isfinite().all()

        def keep(buffer: Tensor, new: Tensor) -> None:
            buffer.index_copy_(0, index, torch.where(fine, new, buffer.index_select(0, index)))

        first = self.first_losses.index_select(0, index)
        first = torch.where(first.isnan(), losses, first)
        rates = losses / first.clamp(min=_EPSILON)
        rates = rates / rates.mean().clamp(min=_EPSILON)
        weights = self.weights.index_select(0, index)
        sizes = weights * norms
        target = sizes.mean() * rates.clamp(min=0.0) ** self.alpha
        gradient = torch.sign(sizes - target) * norms

        # Adam, with a step count of its own for every task.
        b1, b2 = _BETAS
        updates = self.updates.index_select(0, index) + 1
        mean = b1 * self.moments[0].index_select(0, index) + (1 - b1) * gradient
        square = b2 * self.moments[1].index_select(0, index) + (1 - b2) * gradient**2
        size = (square / (1 - b2**updates)).sqrt() + _EPSILON
        stepped = (weights - self.lr * (mean / (1 - b1**updates)) / size).clamp(min=_EPSILON)
        # Absent weights keep their share of the sum T.
        keep(self.weights, stepped * weights.sum() / stepped.sum())
        keep(self.first_losses, first)
        keep(self.updates, updates)
        keep(self.moments[0], mean)
        keep(self.moments[1], square)
