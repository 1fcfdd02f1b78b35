"""The plain sum of the task losses."""

from collections.abc import Sequence

from torch import Tensor, nn

from mtlface.balancing.balancer import Balanced, Balancer


class FixedWeights(Balancer):
    """Adds the losses up; the weights are the tasks' own ``weight``, constant over training."""

    def forward(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Sums the present losses; needs no word from other ranks and no wait for the device."""
        if len(self.tasks) == 1:
            return super().forward(losses, present, features, shared)
        return self.balance(losses, present, features, shared)

    def balance(
        self,
        losses: Tensor,
        present: Tensor,
        features: Tensor,
        shared: Sequence[nn.Parameter],
    ) -> Balanced:
        """Sums the present losses."""
        return self._plain_sum(losses, present)
