"""Methods that look at the losses only, against calculations by hand."""

import math
from functools import partial

import pytest
import torch
from torchjd import scalarization as sca

from mtlface.balancing import FixedWeights, Scalarized
from mtlface.errors import MtlfaceError

ABC = ("a", "b", "c")
ALL_HERE = torch.ones(3, dtype=torch.bool)
FEATURES = torch.zeros(1, 1, requires_grad=True)  # of a trunk that learns


def call(balancer, values, present=ALL_HERE):
    losses = torch.tensor(values, requires_grad=True)
    out = balancer(losses, present, FEATURES, [FEATURES])
    (slope,) = torch.autograd.grad(out.loss, losses, retain_graph=True)
    torch.testing.assert_close(slope, out.weights)
    return out


def test_fixed_is_the_sum():
    out = call(FixedWeights(ABC), [1.0, 2.0, 4.0])
    assert out.loss == 7 and out.weights.tolist() == [1, 1, 1] and out.gramian is None


def test_fixed_leaves_out_what_is_absent():
    out = call(FixedWeights(ABC), [1.0, math.nan, 4.0], torch.tensor([True, False, True]))
    assert out.loss == 5 and out.weights.tolist() == [1, 0, 1]


def test_uncertainty_by_hand():
    balancer = Scalarized(ABC, sca.UW)
    (log_var,) = balancer.parameters()
    with torch.no_grad():
        log_var.copy_(torch.tensor([0.0, 1.0, -1.0]))
    out = call(balancer, [1.0, 2.0, 4.0])
    hand = [0.5 * math.exp(-s) for s in (0.0, 1.0, -1.0)]
    assert out.weights.tolist() == pytest.approx(hand)
    assert float(out.loss) == pytest.approx(0.5 + 2 * hand[1] + 0.5 + 4 * hand[2] - 0.5)
    out.loss.backward()
    slopes = [0.5 - w * x for w, x in zip(hand, (1.0, 2.0, 4.0), strict=True)]
    assert log_var.grad.tolist() == pytest.approx(slopes)


@pytest.mark.parametrize("method", [sca.UW, sca.IMTLL])
def test_learned_scales_of_absent_tasks_stay(method):
    balancer = Scalarized(ABC, method)
    out = call(balancer, [2.0, 0.0, 4.0], torch.tensor([True, False, True]))
    out.loss.backward()
    (scales,) = balancer.parameters()
    assert scales.grad[1] == 0 and scales.grad[0] != 0 and out.weights[1] == 0


def test_dwa_by_hand():
    balancer = Scalarized(ABC, partial(sca.DWA, temperature=2.0))
    for values in ([2.0, 4.0, 1.0], [1.0, 4.0, 2.0]):
        for shift in (-0.5, 0.5):  # the mean over the epoch counts
            out = call(balancer, [v + shift for v in values])
            assert out.weights.tolist() == [1, 1, 1]
        balancer.end_epoch()
    exponents = [math.exp(r / 2.0) for r in (0.5, 1.0, 2.0)]
    hand = [3 * e / sum(exponents) for e in exponents]
    assert call(balancer, [1.0, 1.0, 1.0]).weights.tolist() == pytest.approx(hand)


def test_dwa_averages_the_batches_that_have_the_label():
    balancer = Scalarized(ABC, sca.DWA)
    some = torch.tensor([True, False, True])
    for means in ([2.0, 4.0, 1.0], [1.0, 4.0, 2.0]):
        call(balancer, means)
        call(balancer, [means[0], 0.0, means[2]], some)
        balancer.end_epoch()
    first, second = balancer._method()._previous_averages
    assert first.tolist() == [2.0, 4.0, 1.0] and second.tolist() == [1.0, 4.0, 2.0]
    out = call(balancer, [1.0, 0.0, 1.0], some)
    assert out.weights[1] == 0


def test_famo_by_hand():
    balancer = Scalarized(ABC, sca.FAMO)
    assert balancer.needs_losses_after_step and not list(balancer.parameters())
    out = call(balancer, [1.0, 2.0, 4.0])
    inverse = [1.0, 0.5, 0.25]  # equal logits: weights are 1/loss, scaled to sum to 1
    assert out.weights.tolist() == pytest.approx([i / 1.75 for i in inverse], rel=1e-5)
    balancer.update(torch.tensor([0.5, 2.0, 4.0]), ALL_HERE)
    logits = balancer._method()._w.tolist()
    assert logits[0] < 0 < logits[1]  # the task that improved counts less


def test_famo_learns_nothing_about_an_absent_task():
    some = torch.tensor([True, True, False])
    balancer = Scalarized(ABC, partial(sca.FAMO, weight_decay=0.0))
    out = call(balancer, [1.0, 1.0, 0.0], some)
    assert out.weights.tolist() == pytest.approx([0.5, 0.5, 0.0])
    balancer.update(torch.tensor([0.5, 2.0, 0.0]), some)
    alone = Scalarized(("a", "b"), partial(sca.FAMO, weight_decay=0.0))
    alone(torch.ones(2, requires_grad=True), some[:2], FEATURES, [FEATURES])
    alone.update(torch.tensor([0.5, 2.0]), some[:2])
    logits = balancer._method()._w
    torch.testing.assert_close(logits[:2], alone._method()._w)
    assert logits[2] == 0


def test_famo_forgets_a_step_that_was_not_finite():
    balancer = Scalarized(ABC, sca.FAMO)
    call(balancer, [1.0, 2.0, 4.0])
    balancer.update(torch.tensor([1.0, math.nan, 4.0]), ALL_HERE)
    assert balancer._method()._w.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "method",
    [
        sca.Sum,
        sca.Mean,
        sca.GeometricMean,
        sca.Random,
        partial(sca.STCH, 0.1),
        partial(sca.Constant, torch.tensor([1.0, 2.0, 3.0])),
        partial(sca.PBI, 5.0, torch.ones(3)),
        partial(sca.COSMOS, 1.0, torch.ones(3)),
    ],
    ids=lambda m: getattr(m, "func", m).__name__,
)
def test_absent_tasks_are_as_if_they_were_not(method):
    some = torch.tensor([True, False, True])
    torch.manual_seed(0)
    out = call(Scalarized(ABC, method), [1.0, 0.0, 4.0], some)
    torch.manual_seed(0)
    if isinstance(method, partial):
        cut = [a[some] if isinstance(a, torch.Tensor) else a for a in method.args]
        method = partial(method.func, *cut)
    alone = call(Scalarized(("a", "c"), method), [1.0, 4.0], some[some])
    torch.testing.assert_close(out.loss, alone.loss)
    torch.testing.assert_close(out.weights[some], alone.weights)
    assert out.weights[1] == 0


def test_random_weights_change_from_step_to_step_and_leave_the_global_generator():
    torch.manual_seed(0)
    balancer = Scalarized(ABC, sca.Random)
    before = torch.get_rng_state()
    first, second = (call(balancer, [1.0, 1.0, 1.0]).weights for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_of_zero_in_the_geometric_mean_falls_back_to_the_sum():
    balancer = Scalarized(ABC, sca.GeometricMean)
    out = call(balancer, [1.0, 0.0, 4.0])
    assert out.loss == 5 and out.weights.tolist() == [1, 1, 1] and balancer.fallbacks == 1
    with pytest.warns(UserWarning, match="1 steps of this epoch; their plain sum"):
        balancer.end_epoch()
    balancer.end_epoch()  # says it once


def test_a_negative_loss_in_the_geometric_mean_is_explained():
    with pytest.raises(MtlfaceError, match="GeometricMean"):
        call(Scalarized(ABC, sca.GeometricMean), [1.0, -1.0, 4.0])


def test_wrong_weights_are_found_before_training():
    with pytest.raises(MtlfaceError, match="3 losses"):
        Scalarized(ABC, partial(sca.Constant, torch.ones(2)))


def test_a_loss_too_many_is_explained():
    with pytest.raises(MtlfaceError, match="built for 2 task losses"):
        call(Scalarized(("a", "b"), sca.UW), [1.0, 1.0, 1.0])
