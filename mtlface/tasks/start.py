"""Where a head's outputs come from, so that training can start at a good constant."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtlface.errors import MtlfaceError


def output_layer(head: nn.Module, in_features: int, task: str) -> nn.Linear:
    """The linear layer of a head that gives its outputs, found by running it.

    Args:
        head: Features (B, in_features) to outputs.
        in_features: D, the number of features.
        task: The name of the head's task, for the error.

    Raises:
        MtlfaceError: The head does not end in a linear layer with a bias.
    """
    layers = [m for m in head.modules() if isinstance(m, nn.Linear) and m.bias is not None]
    given: list[tuple[nn.Linear, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda m, _, output: given.append((m, output)))
        for layer in layers
    ]
    training = head.training
    try:
        with torch.no_grad():
            output = head.eval()(torch.linspace(-1, 1, 2 * in_features).view(2, -1))
    finally:
        head.train(training)
        for hook in hooks:
            hook.remove()
    for layer, values in given:
        if torch.equal(values, output):
            return layer
    raise MtlfaceError(
        f"Task '{task}' has start_at_mean=true, but the last layer of its head "
        f"({type(head).__name__}) is no linear one with a bias that could start at the "
        "mean. Take another head, or start_at_mean=false."
    )
