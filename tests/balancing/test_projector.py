"""The projection without quadprog."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd.aggregation import UPGrad
from torchjd.linalg import QuadprogProjector

from mtlface.balancing import NnlsProjector


def test_upgrad_on_the_example_of_torchjds_documentation():
    jacobian = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    upgrad = UPGrad(projector=NnlsProjector())
    torch.testing.assert_close(
        upgrad(jacobian), torch.tensor([0.2929, 1.9004, 1.9004]), rtol=0, atol=1e-4
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), tasks=st.integers(1, 8), dim=st.integers(1, 8))
def test_meets_the_optimality_conditions(seed, tasks, dim):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, dim, generator=generator, dtype=torch.float64)
    u = torch.rand(tasks, generator=generator, dtype=torch.float64)
    v = NnlsProjector()(u, rows @ rows.T)
    gram = rows @ rows.T / rows.square().sum() + 1e-4 * torch.eye(tasks)
    slope, slack = gram @ v, v - u
    assert (slack >= -1e-9).all() and (slope >= -1e-9).all()
    # Slopes are as large as the weights, which a nearly singular Gramian makes large.
    assert (slope * slack).abs().max() < 1e-9 * max(1.0, float(v.abs().max()))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), tasks=st.integers(1, 8))
def test_equals_quadprog(seed, tasks):
    pytest.importorskip("quadprog")
    pytest.importorskip("qpsolvers")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, 5, generator=generator, dtype=torch.float64)
    u = torch.rand(tasks, tasks, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        NnlsProjector()(u, rows @ rows.T), QuadprogProjector()(u, rows @ rows.T)
    )
