"""What the methods promise for any gradients."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation as agg

from mtlface.balancing import MGDA, FairGrad, NashMTL, NnlsProjector
from mtlface.balancing.bank import AggregatorBank

UPGRAD = partial(agg.UPGrad, projector=NnlsProjector())
DUALPROJ = partial(agg.DualProj, projector=NnlsProjector())
FAIRGRAD = partial(FairGrad, alpha=2.0)
CAGRAD = partial(agg.CAGrad, c=0.5)
SCALE_FREE = [agg.PCGrad, MGDA, agg.IMTLG, agg.AlignedMTL, UPGRAD, DUALPROJ, CAGRAD]

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


@pytest.mark.parametrize("factory", [UPGRAD, DUALPROJ, MGDA])
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


def spread_out(seed, tasks, per_task, overall):
    """Gradients of one task up to `per_task` times as long as another's, all times a scale."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, 3 * tasks, generator=generator, dtype=torch.float64)
    sizes = per_task ** torch.rand(tasks, 1, generator=generator, dtype=torch.float64)
    return rows * sizes * overall


@pytest.mark.parametrize("tasks", [2, 3, 5, 10, 20, 40])
@quick
@given(seed=seeds, scale=scales, per_task=st.sampled_from([1.0, 100.0]))
def test_mgda_closes_the_duality_gap(tasks, seed, scale, per_task):
    rows = spread_out(seed, tasks, per_task, scale)
    found = weights(MGDA, rows).double()
    step = found @ rows
    assert (found >= 0).all() and found.sum() == pytest.approx(1, abs=1e-5)
    # No vertex of the hull is nearer: ⟨step, g⟩ ≥ ‖step‖² for every gradient g.
    assert step @ step - (rows @ step).min() <= 1e-3 * (step @ step)


@pytest.mark.parametrize("tasks", [2, 10, 40])
@pytest.mark.parametrize(
    ("factory", "power"), [(partial(NashMTL, max_norm=0.0), 1.0), (FAIRGRAD, 0.5)]
)
@quick
@given(seed=seeds, scale=scales, per_task=st.sampled_from([1.0, 100.0]))
def test_nash_mtl_and_fairgrad_solve_their_equation(factory, power, tasks, seed, scale, per_task):
    rows = spread_out(seed, tasks, per_task, scale)
    found = weights(factory, rows).double()
    torch.testing.assert_close(
        rows @ (found @ rows) * found**power, torch.ones_like(found), rtol=0, atol=1e-4
    )


def test_nash_mtls_step_is_no_longer_than_max_norm():
    rows = draw(0)
    for bound, norm in ((0.0, 3**0.5), (1.0, 1.0), (5.0, 3**0.5)):
        step = weights(partial(NashMTL, max_norm=bound), rows) @ rows
        assert step.norm() == pytest.approx(norm, rel=1e-4)


def test_gradients_that_cancel_each_other_are_counted_as_not_solved():
    bank = AggregatorBank(FAIRGRAD, 2)
    with pytest.warns(UserWarning, match="cancel each other"):
        found = bank.weights(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.ones(2).bool())
    assert found.tolist() == [1, 1] and (bank.fallbacks, bank.solver_failures) == (1, 1)


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
    [*SCALE_FREE, agg.GradVac, agg.PCD, FAIRGRAD, NashMTL],
    ids=lambda f: getattr(f, "func", f).__name__,
)
@settings(max_examples=2, deadline=None)
@given(seed=seeds)
def test_weights_are_finite_for_any_gradients(factory, kind, seed):
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
