"""What the gradient methods leave on the trunk and on the heads."""

from functools import partial

import pytest
import torch
from torch import nn
from torchjd import aggregation as agg
from torchjd.autojac import jac_to_grad, mtl_backward

from mtlface.balancing import MGDA, Aggregated, NnlsProjector, feature_jacobian
from mtlface.errors import MtlfaceError

UPGRAD = partial(agg.UPGrad, projector=NnlsProjector())
GRAMIAN = [agg.PCGrad, MGDA, agg.IMTLG, agg.AlignedMTL, UPGRAD, agg.GradVac, agg.PCD]
SCALE_FREE = [agg.PCGrad, MGDA, agg.IMTLG, agg.AlignedMTL, UPGRAD]


def name(factory):
    return getattr(factory, "func", factory).__name__


def gradients(parameters):
    return torch.cat([p.grad.flatten() for p in parameters])


@pytest.mark.parametrize("factory", GRAMIAN, ids=name)
def test_feature_weights_are_torchjds_own(factory, network, batch, tasks, grads):
    losses, present, features = network(batch(0))
    balancer = Aggregated(tasks, factory)
    rows = torch.stack([torch.autograd.grad(x, features, retain_graph=True)[0] for x in losses])
    rows = rows.flatten(1)
    with balancer._bank._randomness.next_step(torch.device("cpu")):
        expected = factory().gramian_weighting(rows @ rows.T)
    balancer._bank._randomness.step = 0
    out = balancer(losses, present, features, network.shared())
    torch.testing.assert_close(out.weights, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.gramian, rows @ rows.T)
    expected = sum(w * grads(x, network.shared()) for w, x in zip(out.weights, losses, strict=True))
    torch.testing.assert_close(grads(out.loss, network.shared()), expected)


@pytest.mark.parametrize("level", ["features", "parameters"])
def test_heads_keep_their_own_gradient_whatever_the_weights(level, network, batch, tasks, grads):
    losses, present, features = network(batch(0))
    out = Aggregated(tasks, MGDA, level)(losses, present, features, network.shared())
    assert (out.weights - 1).abs().min() > 1e-3
    torch.testing.assert_close(
        grads(out.loss, network.heads()), grads(losses.sum(), network.heads()), rtol=0, atol=0
    )
    torch.testing.assert_close(out.loss, losses.sum(), rtol=0, atol=0)


@pytest.mark.parametrize("factory", [MGDA, agg.IMTLG, UPGRAD, agg.ConFIG, agg.ExcessMTL], ids=name)
def test_parameter_level_is_torchjds_mtl_backward(factory, network, batch, tasks):
    losses, present, features = network(batch(0))
    Aggregated(tasks, factory, "parameters")(
        losses, present, features, network.shared()
    ).loss.backward()
    found = gradients(network.shared()), gradients(network.heads())

    network.zero_grad()
    losses, _, features = network(batch(0))
    mtl_backward(list(losses), features, retain_graph=True)
    jac_to_grad(network.shared(), factory())
    torch.testing.assert_close(found[0], gradients(network.shared()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], gradients(network.heads()))


@pytest.mark.parametrize("level", ["features", "parameters"])
def test_loss_scale_and_accumulation_are_exact(level, network, batch, tasks):
    balancer = Aggregated(tasks, UPGRAD, level)
    parts = []
    for seed in (0, 1):
        network.zero_grad()
        losses, present, features = network(batch(seed))
        balancer(losses, present, features, network.shared()).loss.backward()
        parts.append(gradients(network.parameters()))
    network.zero_grad()
    for seed in (0, 1):
        losses, present, features = network(batch(seed))
        loss = balancer(losses, present, features, network.shared()).loss
        (1024.0 * loss / 2).backward()  # the scaler's factor, two batches a step
    torch.testing.assert_close(gradients(network.parameters()) / 1024, (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("factory", SCALE_FREE, ids=name)
def test_both_levels_agree_for_one_linear_layer_and_one_picture(factory, tasks):
    torch.manual_seed(1)
    trunk, head = nn.Linear(6, 5), nn.Linear(5, 2)
    picture = torch.randn(1, 6)
    here = torch.ones(2, dtype=torch.bool)
    outs = {}
    for level in ("features", "parameters"):
        torch.manual_seed(2)
        features = trunk(picture)
        losses = head(features).square().squeeze(0) * torch.tensor([1.0, 5.0])
        balancer = Aggregated(tasks, factory, level)
        outs[level] = balancer(losses, here, features, list(trunk.parameters()))
    scale = picture.square().sum() + 1
    torch.testing.assert_close(outs["parameters"].gramian, outs["features"].gramian * scale)
    torch.testing.assert_close(
        outs["parameters"].weights, outs["features"].weights, rtol=0, atol=1e-5
    )


def test_the_levels_differ_in_general(network, batch, tasks):
    weights = []
    for level in ("features", "parameters"):
        losses, present, features = network(batch(0))
        out = Aggregated(tasks, agg.IMTLG, level)(losses, present, features, network.shared())
        weights.append(out.weights)
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_small_gradients_of_batch_means_are_not_taken_for_zero(tasks):
    # torchjd's solvers hold a Gramian with a trace below 1e-4 for zero.
    trunk = nn.Linear(3, 2)
    conflict = torch.tensor([[1.0, 0.0], [-3.0, 0.5]]) * 1e-4
    features = trunk(torch.ones(1, 3))
    losses = (features @ conflict.T).squeeze(0)
    out = Aggregated(tasks, UPGRAD)(
        losses, torch.ones(2, dtype=torch.bool), features, list(trunk.parameters())
    )
    step = out.weights @ conflict
    assert (conflict @ step >= -1e-3 * conflict.norm() ** 2).all()
    assert (conflict @ conflict.sum(0)).min() < 0  # the mean gradient does conflict


def test_gradient_in_half_precision_survives_the_batch_mean():
    features = torch.zeros(4096, 2, dtype=torch.float16, requires_grad=True)
    losses = (features.float() * torch.tensor([1e-3, 1.0])).mean(dim=0)
    rows = feature_jacobian(losses, features).view(2, 4096, 2)
    torch.testing.assert_close(rows[0, :, 0], torch.full((4096,), 1e-3 / 4096), rtol=1e-3, atol=0)


def test_operators_without_a_batched_backward_are_looped_over(network, batch, tasks):
    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return torch.from_numpy(grad.numpy().copy())  # numpy knows no batched tensor

    losses, _, features = network(batch(0))
    odd = Plain.apply(losses)
    torch.testing.assert_close(feature_jacobian(odd, features), feature_jacobian(losses, features))


@pytest.mark.parametrize(
    "factory", [agg.ConFIG, agg.GradDrop, agg.ExcessMTL, partial(agg.TrimmedMean, 0)], ids=name
)
def test_methods_without_a_gramian_form_name_the_level_they_need(factory, tasks):
    with pytest.raises(MtlfaceError, match=r"balancing\.level=parameters"):
        Aggregated(tasks, factory)
    Aggregated(tasks, factory, "parameters")


def test_a_warm_up_does_not_hide_statistics_of_single_parameters(tasks):
    with pytest.raises(MtlfaceError, match=r"balancing\.level=parameters"):
        Aggregated(tasks, partial(agg.ExcessMTL, n_warmup_steps=300))


@pytest.mark.parametrize("factory", [agg.Random, agg.Mean, agg.Sum], ids=name)
def test_weights_that_follow_from_the_gramian_need_no_full_jacobian(factory, tasks):
    Aggregated(tasks, factory)


def test_preference_vectors_are_cut_to_the_tasks_of_the_batch(network):
    preference = torch.tensor([1.0, 2.0, 4.0])
    balancer = Aggregated(
        ("a", "b", "c"), partial(agg.DualProj, pref_vector=preference, projector=NnlsProjector())
    )
    features = network.trunk(torch.randn(3, 6))
    losses = features.sum() * torch.tensor([1.0, 0.0, 3.0])
    out = balancer(losses, torch.tensor([True, False, True]), features, network.shared())
    torch.testing.assert_close(out.weights, torch.tensor([1.0, 0.0, 4.0]))


def test_wrong_constructions_are_found_before_training(tasks):
    with pytest.raises(MtlfaceError, match="_partial_: true"):
        Aggregated(tasks, MGDA())
    with pytest.raises(MtlfaceError, match="GramianWeightedAggregator"):
        Aggregated(tasks, agg.MGDAWeighting)
    with pytest.raises(MtlfaceError, match="CAGrad"):
        Aggregated(tasks, agg.CAGrad)  # lacks its c
    with pytest.raises(MtlfaceError, match="2 tasks"):
        Aggregated(tasks, partial(agg.Krum, n_byzantine=1))
    with pytest.raises(MtlfaceError, match="features or parameters"):
        Aggregated(tasks, MGDA, "pixels")


def test_a_missing_package_names_the_extra(tasks, monkeypatch):
    monkeypatch.setattr(agg.CAGrad(c=0.5).gramian_weighting.__class__, "_REQUIRED_DEPS", ["none"])
    with pytest.raises(MtlfaceError, match=r"pip install \"mtlface\[balancing\]\""):
        Aggregated(tasks, partial(agg.CAGrad, c=0.5))


@pytest.mark.parametrize("autocast", [False, True])
def test_weights_are_computed_in_full_precision(autocast, network, batch, tasks):
    losses, present, features = network(batch(0))
    balancer = Aggregated(tasks, agg.IMTLG)
    reference = balancer(losses, present, features, network.shared())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = balancer(losses, present, features, network.shared())
    torch.testing.assert_close(out.weights, reference.weights, rtol=0, atol=0)
