"""What the methods promise for any gradients."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation as agg

from mtlface.balancing import NnlsProjector
from mtlface.balancing.bank import AggregatorBank

UPGRAD = partial(agg.UPGrad, projector=NnlsProjector())
DUALPROJ = partial(agg.DualProj, projector=NnlsProjector())
FAIRGRAD = partial(agg.FairGrad, alpha=2.0)
CAGRAD = partial(agg.CAGrad, c=0.5)
SCALE_FREE = [agg.PCGrad, agg.MGDA, agg.IMTLG, agg.AlignedMTL, UPGRAD, DUALPROJ, CAGRAD]

seeds = st.integers(0, 10_000)
scales = st.floats(-6.0, 6.0).map(lambda exponent: 10.0**exponent)
quick = settings(max_examples=8, deadline=None)
BANKS = {}


def weights(factory, rows):
    key = (str(factory), len(rows))
    bank = BANKS.setdefault(key, AggregatorBank(factory, len(rows)))
    bank._members.clear()
    bank._randomness.step = 0
    wide = rows.double()
    return bank.weights(wide @ wide.T, torch.ones(len(rows), dtype=torch.bool))


def draw(seed, tasks=3, dim=6):
    return torch.randn(tasks, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factory", [UPGRAD, DUALPROJ, agg.MGDA])
@quick
@given(seed=seeds, scale=scales)
def test_the_step_harms_no_task(factory, seed, scale):
    rows = draw(seed) * scale
    progress = rows @ (weights(factory, rows) @ rows)
    assert (progress >= -2e-3 * rows.square().sum()).all()


@pytest.mark.parametrize("factory", SCALE_FREE)
@quick
@given(seed=seeds, scale=scales)
def test_one_scale_for_all_gradients_changes_no_weight(factory, seed, scale):
    rows = draw(seed)
    torch.testing.assert_close(
        weights(factory, rows * scale), weights(factory, rows), rtol=2e-3, atol=2e-3
    )


@quick
@given(seed=seeds, factor=st.floats(0.2, 5.0))
def test_imtl_g_projects_equally_on_all_tasks_whatever_their_scale(seed, factor):
    rows = draw(seed) * torch.tensor([[factor], [1.0], [1.0]])
    found = weights(agg.IMTLG, rows)
    assert found.sum() == pytest.approx(1, abs=1e-3)
    projections = (rows @ (found @ rows)) / rows.norm(dim=1)
    torch.testing.assert_close(projections, projections.mean().expand(3), rtol=2e-2, atol=1e-3)


@quick
@given(seed=seeds)
def test_aligned_mtl_makes_a_step_of_orthogonal_components(seed):
    rows = draw(seed)
    # B·J has orthogonal rows of one length, the smallest singular value: the mean's norm follows.
    smallest = torch.linalg.svdvals(rows)[-1]
    step = weights(agg.AlignedMTL, rows) @ rows
    assert step.norm() == pytest.approx(float(smallest) / 3**0.5, rel=2e-2)


def test_nash_mtl_bargains_whatever_the_scale():
    pytest.importorskip("ecos")
    nash = partial(agg.NashMTL, max_norm=0.0)
    rows = torch.tensor([[2.0, 0.5, 0.0], [-0.5, 1.0, 1.0]])
    own = nash(n_tasks=2).weighting(rows)
    torch.testing.assert_close(weights(nash, rows), own, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights(nash, 4 * rows), own / 4, rtol=1e-3, atol=1e-3)
    # The bargaining solution: G α = 1/α.
    torch.testing.assert_close(rows @ rows.T @ own, 1 / own, rtol=1e-2, atol=1e-2)


@quick
@given(seed=seeds)
def test_fairgrad_solves_its_equation(seed):
    rows = draw(seed)
    found = weights(FAIRGRAD, rows)
    torch.testing.assert_close(rows @ rows.T @ found, found**-0.5, rtol=1e-2, atol=1e-2)


def degenerate(kind, seed):
    rows = draw(seed)
    if kind == "zero":
        return torch.zeros_like(rows)
    if kind == "one zero":
        return rows * torch.tensor([[0.0], [1.0], [1.0]])
    if kind == "collinear":
        return rows[:1] * torch.tensor([[1.0], [-2.0], [1.0]])
    if kind == "equal":
        return rows[:1].expand(3, -1)
    if kind == "infinite":
        return rows * torch.inf
    return rows * {"tiny": 1e-18, "huge": 1e18, "beyond float32": 3e30}[kind]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["zero", "one zero", "collinear", "equal", "infinite", "tiny", "huge", "beyond float32"]
)
@pytest.mark.parametrize(
    "factory",
    [*SCALE_FREE, agg.GradVac, agg.PCD, FAIRGRAD, agg.NashMTL],
    ids=lambda f: getattr(f, "func", f).__name__,
)
@settings(max_examples=2, deadline=None)
@given(seed=seeds)
def test_weights_are_finite_for_any_gradients(factory, kind, seed):
    if factory is agg.NashMTL:
        pytest.importorskip("ecos")
    found = weights(factory, degenerate(kind, seed))
    assert found.shape == (3,) and found.isfinite().all()


def test_a_step_without_a_gradient_leaves_the_state_alone():
    bank = AggregatorBank(agg.GradVac, 2)
    here = torch.ones(2, dtype=torch.bool)
    bank.weights(torch.tensor([[1.0, -0.5], [-0.5, 1.0]]), here)
    (member,) = bank._members.values()
    before = member.gramian_weighting._phi_t.clone()
    with pytest.warns(UserWarning, match="not finite"):
        bank.weights(torch.full((2, 2), torch.nan), here)
    assert torch.equal(member.gramian_weighting._phi_t, before)
    assert bank.fallbacks == 1
