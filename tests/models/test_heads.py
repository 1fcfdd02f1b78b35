"""Heads map (B, D) features to (B, outputs)."""

import torch
from torch import nn

from mtlface.models import linear_head, mlp_head


def test_heads_give_one_row_a_picture():
    features = torch.randn(5, 16)
    assert linear_head(16, 3)(features).shape == (5, 3)
    assert mlp_head(16, 3, hidden=8)(features).shape == (5, 3)


def test_an_mlp_head_is_two_linear_layers_with_a_relu_between():
    kinds = [type(m) for m in mlp_head(16, 3, hidden=8, dropout=0.5)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_dropout_acts_in_training_only():
    head = mlp_head(16, 3, dropout=0.5)
    features = torch.randn(5, 16)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))
