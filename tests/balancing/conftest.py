import pytest
import torch
from torch import nn

TASKS = ("gender", "landmarks")


class TwoHeads(nn.Module):
    """A small trunk with a binary and a regression head, whose labels may be missing."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
        self.gender = nn.Linear(5, 1)
        self.landmarks = nn.Linear(5, 4)

    def forward(self, batch):
        features = self.trunk(batch["image"])
        logits = self.gender(features).squeeze(1)
        gender = nn.functional.binary_cross_entropy_with_logits(
            logits, batch["gender"], reduction="none"
        )
        points = (self.landmarks(features) - batch["landmarks"]).square().mean(dim=1)
        here = torch.stack([batch["has_gender"], batch["has_landmarks"]])  # (2, B)
        values = torch.where(here, torch.stack([gender, points]), 0.0)
        losses = values.sum(dim=1) / here.sum(dim=1).clamp(min=1)
        return losses, here.any(dim=1), features

    def shared(self):
        return list(self.trunk.parameters())

    def heads(self):
        return [*self.gender.parameters(), *self.landmarks.parameters()]


def draw_batch(seed, size=7, gender=True, landmarks=True):
    generator = torch.Generator().manual_seed(seed)
    some = torch.rand(size, generator=generator) < 0.7
    some[0] = True
    return {
        "image": torch.randn(size, 6, generator=generator),
        "gender": (torch.rand(size, generator=generator) < 0.5).float(),
        "landmarks": torch.randn(size, 4, generator=generator) * 3,
        "has_gender": some & gender,
        "has_landmarks": torch.full((size,), landmarks),
    }


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tasks():
    return TASKS


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TwoHeads()


@pytest.fixture
def batch():
    return draw_batch


@pytest.fixture
def grads():
    """Returns the gradients of some parameters as one vector."""

    def collect(loss, parameters):
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).flatten()
                for p, g in zip(parameters, found, strict=True)
            ]
        )

    return collect
