"""What a step computes and moves is counted, not guessed."""

import pytest
import torch

from benchmarks.roofline import counted, shares


def test_a_matrix_product_is_counted_by_hand():
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    work = counted(lambda: a @ b)
    assert work == {"flops": 2 * 8 * 16 * 4, "bytes": 4 * (8 * 16 + 16 * 4 + 8 * 4)}


def test_a_view_moves_nothing():
    a = torch.ones(8, 16)
    assert counted(lambda: a.t().unsqueeze(0)) == {"flops": 0, "bytes": 0}


def test_shares_are_of_the_device_s_own_peak():
    work = {"flops": 989e12, "bytes": 4.8e12}
    found = shares(work, 2.0, "NVIDIA H200")
    assert found == pytest.approx({"of_peak_flops": 0.5, "of_peak_bytes": 0.5})
    assert set(shares(work, 2.0, "another").values()) == {None}
