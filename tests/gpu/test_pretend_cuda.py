"""The pretend device sees what a real one would: each case has a number of waits, or an error."""

import pytest
import torch
from pretend_cuda import MixedDevicesError, pretend_cuda
from torch import nn
from torch.nn import functional

CUDA = torch.device("cuda", 0)


class Here:
    """A device's tensors for the cases below."""

    def __init__(self):
        self.pinned = torch.randn(3).pin_memory()
        self.x = torch.randn(6, 4).pin_memory().to(CUDA, non_blocking=True)
        self.mask = self.x > 0
        self.rows = torch.zeros(2, dtype=torch.long, device=CUDA)
        self.classes = torch.zeros(6, dtype=torch.long, device=CUDA)
        self.layer = nn.Linear(4, 2).to(CUDA)
        self.logits = self.layer(self.x)


CASES = {
    "a tensor knows its device": (0, lambda h: h.x.device == CUDA and h.x.is_cuda),
    "item": (1, lambda h: h.x.sum().item()),
    "float": (1, lambda h: float(h.x.sum())),
    "bool": (1, lambda h: bool(h.mask.any())),
    "cpu": (1, lambda h: h.x.cpu()),
    "tolist": (1, lambda h: h.x.tolist()),
    "to, back": (1, lambda h: h.x.sum().to("cpu")),
    "to, from pageable memory": (1, lambda h: torch.randn(3).to(CUDA)),
    "to, from pinned memory": (0, lambda h: h.pinned.to(CUDA, non_blocking=True)),
    "to, from pinned memory, blocking": (1, lambda h: h.pinned.to(CUDA)),
    "to, back too early": (1, lambda h: h.x.to("cpu", non_blocking=True)),
    "to another type": (0, lambda h: h.x.to(torch.float64).half().float()),
    "indexing by a mask": (1, lambda h: h.x[h.mask]),
    "indexing by the device's rows": (0, lambda h: h.x[h.rows]),
    "indexing by a list": (1, lambda h: h.x[:, [1, 0]]),
    "indexing by a slice": (0, lambda h: h.x[1:3, 2]),
    "index_select": (0, lambda h: h.x.index_select(0, h.rows)),
    "nonzero": (1, lambda h: h.mask.nonzero()),
    "where": (0, lambda h: torch.where(h.mask, h.x, 0.0)),
    "a tensor of Python's numbers": (1, lambda h: torch.tensor([1.0, 2.0], device=CUDA)),
    "new_tensor": (1, lambda h: h.x.new_tensor([1.0, 2.0])),
    "zeros": (0, lambda h: torch.zeros(3, device=CUDA) + h.x.new_zeros(3)),
    "a scalar of the host": (0, lambda h: h.x * torch.tensor(2.0)),
    "filling by a mask": (0, lambda h: h.x.__setitem__(h.mask, 0.0)),
    "filling by rows": (0, lambda h: h.x.index_put_((h.rows[:1],), torch.ones(1, 4, device=CUDA))),
    "unique": (1, lambda h: torch.unique(h.mask.long())),
    "equal": (1, lambda h: torch.equal(h.x, h.x)),
    "eigh": (1, lambda h: torch.linalg.eigh(h.x.T @ h.x)),
    "bincount": (1, lambda h: torch.bincount(h.mask.long().flatten())),
    "backward": (0, lambda h: functional.cross_entropy(h.logits, h.classes).backward()),
    "an optimizer's step": (0, lambda h: step(h)),
    "clipping": (0, lambda h: nn.utils.clip_grad_norm_(h.layer.parameters(), 1.0)),
    "copy_ to the device": (1, lambda h: h.x.copy_(torch.randn(6, 4))),
    "copy_ from the device": (1, lambda h: torch.empty(6, 4).copy_(h.x)),
    "synchronize": (1, lambda h: torch.cuda.synchronize()),
}  # fmt: skip

REFUSED = {
    "both devices in a sum": (MixedDevicesError, lambda h: h.x + torch.randn(6, 4)),
    "both devices in cat": (MixedDevicesError, lambda h: torch.cat([h.x, torch.randn(1, 4)])),
    "the host's rows by the device's": (MixedDevicesError, lambda h: torch.randn(6)[h.rows]),
    "targets on the host": (
        MixedDevicesError,
        lambda h: functional.cross_entropy(h.logits, torch.zeros(6, dtype=torch.long)),
    ),
    "numpy": (TypeError, lambda h: h.x.numpy()),
    "pinning": (RuntimeError, lambda h: h.x.pin_memory()),
}


def step(here):
    here.layer(here.x).sum().backward()
    assert here.layer.weight.grad.device == CUDA
    torch.optim.Adam(here.layer.parameters(), fused=True).step()


@pytest.fixture(scope="module")
def device():
    with pretend_cuda() as log:
        yield log


@pytest.mark.parametrize("name", CASES)
def test_waits_are_seen(device, name):
    waits, act = CASES[name]
    here = Here()
    device.clear()
    act(here)
    assert len(device.waits) == waits, device.waits
    assert all("test_pretend_cuda.py" in line for _, _, line in device.waits)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(device, name):
    error, act = REFUSED[name]
    with pytest.raises(error):
        act(Here())


def test_kernels_are_counted_and_views_are_not(device):
    x = torch.zeros(4, 4, device=CUDA)
    device.clear()
    (x.T[:2] * 2 + 1).sum()
    assert sum(device.launches.values()) == 3


def test_nothing_is_pretended_afterwards():
    available = torch.cuda.is_available()
    with pretend_cuda():
        assert torch.cuda.is_available()
        assert torch.zeros(2, device=CUDA).is_cuda
    assert torch.cuda.is_available() == available
    assert not torch.zeros(2).is_cuda
