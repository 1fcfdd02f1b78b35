"""Two processes with half the batch each take the step that one takes with all of it."""

from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torchjd.scalarization import STCH

from mtlface.balancing import Aggregated, FairGrad, Scalarized


def balancers():
    fair = partial(FairGrad, alpha=2.0)  # its weights depend on the scale of the gradients
    return {
        "features": Aggregated(("a", "b"), fair, "features"),
        "parameters": Aggregated(("a", "b"), fair, "parameters"),
        "losses": Scalarized(("a", "b"), partial(STCH, mu=0.1)),
    }


def step(pictures, present):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4))
    head = nn.Linear(4, 2)
    shared = list(trunk.parameters())
    results = {}
    for name, balancer in balancers().items():
        features = trunk(pictures)
        losses = head(features).square().mean(dim=0) * present
        out = balancer(losses, present, features, shared)
        grads = torch.autograd.grad(out.loss, shared)
        results[name] = (out.weights, torch.cat([g.flatten() for g in grads]))
    return results


def work(rank, file, pictures, cases, outputs):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    results = [step(pictures.chunk(2)[rank], present[rank]) for present in cases]
    for _, grad in (pair for result in results for pair in result.values()):
        dist.all_reduce(grad)  # what the data-parallel wrapper does
        grad /= 2
    torch.save(results, f"{outputs}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_take_the_step_of_one(tmp_path):
    pictures = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    all_here = torch.ones(2, 2, dtype=torch.bool)
    some = torch.tensor([[True, True], [True, False]])  # rank 1 lacks the second label
    mp.spawn(work, (tmp_path / "store", pictures, (all_here, some), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, (weights, grad) in step(pictures, all_here[0]).items():
        for found in (first[0], second[0]):
            torch.testing.assert_close(found[name][0], weights, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(found[name][1], grad, rtol=1e-3, atol=1e-4)
    for name in first[1]:
        assert torch.equal(first[1][name][0], second[1][name][0])
        assert (first[1][name][0] != 0).all()
