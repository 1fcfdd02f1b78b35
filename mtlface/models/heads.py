"""Heads: from shared features to one task's output."""

import torch
from torch import Tensor, nn


def linear_head(in_features: int, out_features: int, dropout: float = 0.0) -> nn.Module:
    """One linear layer: (B, in_features) to (B, out_features).

    Args:
        in_features: Width of the backbone's features.
        out_features: Width of the output.
        dropout: Probability of dropping a feature in training.
    """
    layer = nn.Linear(in_features, out_features)
    return nn.Sequential(nn.Dropout(dropout), layer) if dropout > 0 else layer


def mlp_head(
    in_features: int, out_features: int, hidden: int = 256, dropout: float = 0.0
) -> nn.Module:
    """Two linear layers with a ReLU between: (B, in_features) to (B, out_features).

    Args:
        in_features: Width of the backbone's features.
        out_features: Width of the output.
        hidden: Width between the two layers.
        dropout: Probability of dropping a hidden unit in training.
    """
    layers: list[nn.Module] = [nn.Linear(in_features, hidden), nn.ReLU()]
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden, out_features))


class SharedScore(nn.Linear):
    """One score of the features and a bias for each output, which begin in falling order.

    The last layer of CORAL (Cao et al. 2020, Theorem 1): the outputs keep the order of the biases,
    whatever the image. A linear layer, so that `start_at_mean` finds it as any other.

    Args:
        in_features: Width of the features.
        out_features: How many outputs.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, 1)
        self.out_features = out_features
        self.bias = nn.Parameter(torch.arange(out_features, 0, -1) / out_features)

    def forward(self, input: Tensor) -> Tensor:
        """Features (B, in_features) to outputs (B, out_features)."""
        return nn.functional.linear(input, self.weight) + self.bias


def coral_head(in_features: int, out_features: int) -> nn.Module:
    """One score and a bias for each output: (B, in_features) to (B, out_features)."""
    return SharedScore(in_features, out_features)


def no_head(in_features: int, out_features: int) -> nn.Module:
    """The features as they are, for tasks that bring a classifier of their own.

    Raises:
        ValueError: Another width than the features' was asked for.
    """
    if in_features != out_features:
        raise ValueError(f"no_head keeps {in_features} features, {out_features} were asked for.")
    return nn.Identity()
