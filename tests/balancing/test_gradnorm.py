"""GradNorm against the formulas of the paper."""

import pytest
import torch

from mtlface.balancing import GradNorm


def run(balancer, trunk, directions, factors, present=None):
    """One step on losses that are linear in the features, so gradients are the directions."""
    features = trunk(torch.ones(1, 2))
    anchored = features - features.detach() + torch.ones_like(features)
    losses = (anchored @ directions.T).squeeze(0) * factors
    here = torch.ones(len(factors), dtype=torch.bool) if present is None else present
    return losses, balancer(losses * here, here, features, list(trunk.parameters()))


@pytest.fixture
def trunk():
    return torch.nn.Linear(2, 2)


def test_two_steps_by_hand(trunk):
    # Gradients 3 and 4 long, losses 3 and 4: both weights are 1 at first.
    directions = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    balancer = GradNorm(("a", "b"), alpha=1.5, lr=0.025)
    _, out = run(balancer, trunk, directions, torch.ones(2))
    assert out.loss.item() == 7 and out.weights.tolist() == [1, 1]
    assert out.gramian.tolist() == [[9, 0], [0, 16]]
    # Rates are 1, the target is 3.5 for both; G is below for a, above for b. The slopes are -3 and
    # +4, and Adam's first step is lr in their sign: 1.025 and 0.975, which sum to 2 already.
    torch.testing.assert_close(balancer.weights, torch.tensor([1.025, 0.975]))

    # Now a's loss has halved: rates 0.5 and 1 over a mean of 0.75.
    _, out = run(balancer, trunk, directions, torch.tensor([0.5, 1.0]))
    assert out.loss.item() == pytest.approx(1.025 * 1.5 + 0.975 * 4)
    sizes = torch.tensor([1.025 * 1.5, 0.975 * 4])
    target = sizes.mean() * (torch.tensor([0.5, 1.0]) / 0.75) ** 1.5
    slope = torch.sign(sizes - target) * torch.tensor([1.5, 4.0])
    reference = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([reference], lr=0.025)
    reference.grad = torch.tensor([-3.0, 4.0])
    adam.step()
    reference.data = 2 * reference.data / reference.data.sum()
    reference.grad = slope
    adam.step()
    expected = 2 * reference.detach() / reference.detach().sum()
    torch.testing.assert_close(balancer.weights, expected)


def test_weights_follow_the_inverse_gradient_norms_for_alpha_zero(trunk):
    directions = torch.tensor([[1.0, 0.0], [0.0, 10.0]])
    balancer = GradNorm(("a", "b"), alpha=0.0)
    for _ in range(100):
        _, out = run(balancer, trunk, directions, torch.ones(2))
    sizes = out.weights * torch.tensor([1.0, 10.0])
    assert sizes[0] / sizes[1] == pytest.approx(1, abs=0.3)
    assert balancer.weights.sum() == pytest.approx(2, abs=1e-5)


def test_an_absent_task_keeps_all_that_it_learned(trunk):
    directions = torch.tensor([[3.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    balancer = GradNorm(("a", "b", "c"))
    run(balancer, trunk, directions, torch.ones(3))
    before = {key: value.clone() for key, value in balancer.state_dict().items()}
    some = torch.tensor([True, True, False])
    _, out = run(balancer, trunk, directions, torch.ones(3), some)
    assert out.weights[2] == 0 and out.gramian[2].isnan().all()
    for key, value in balancer.state_dict().items():
        assert torch.equal(value[..., 2], before[key][..., 2])
    assert not torch.equal(balancer.weights, before["weights"])
    assert balancer.weights.sum() == pytest.approx(3, abs=1e-5)


def test_the_reference_is_the_first_loss_with_a_label(trunk):
    directions = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    balancer = GradNorm(("a", "b"))
    run(balancer, trunk, directions, torch.ones(2), torch.tensor([True, False]))
    assert balancer.first_losses.isnan().tolist() == [False, True]
    run(balancer, trunk, directions, torch.tensor([1.0, 7.0]))
    assert balancer.first_losses.tolist() == [3.0, 28.0]


@pytest.mark.parametrize("factor", [0.0, 1e18, float("inf")])
def test_weights_stay_finite(trunk, factor):
    balancer = GradNorm(("a", "b"))
    for _ in range(3):
        run(balancer, trunk, torch.eye(2), torch.tensor([1.0, factor]))
    assert balancer.weights.isfinite().all() and (balancer.weights > 0).all()
