"""An epoch of several sources has its shares and its length, and is known from (seed, epoch)."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.mix import MixedOrder, images_by_source, source_weights
from mtlface.data.sampler import BatchSampler
from mtlface.errors import MtlfaceError

COUNTS = {"a": 900, "b": 100, "c": 9}


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ("proportional", [900, 100, 9]),
        ("equal", [337, 336, 336]),
        ({"temperature": 1}, [900, 100, 9]),
        ({"temperature": 2}, [703, 235, 71]),  # 30 : 10 : 3 of 1,009
        ({"a": 1, "b": 0, "c": 0}, [900, 0, 0]),
        ({"a": 0, "b": 3, "c": 1}, [0, 82, 27]),  # 109 images, 3 : 1
    ],
)
def test_the_shares_of_an_epoch(mix, expected):
    found = list(images_by_source(mix, COUNTS).values())
    assert found == pytest.approx(expected, abs=1) and sum(found) == sum(expected)


@pytest.mark.parametrize(
    ("mix", "named"),
    [
        ({"a": 1, "b": 1, "d": 1}, "source 'd'"),
        ({"a": 1, "b": 1}, "no weight for c"),
        ({"a": -1, "b": 1, "c": 1}, "data.mix is"),
        ({"a": 0, "b": 0, "c": 0}, "data.mix is"),
        ({"a": "x", "b": 1, "c": 1}, "data.mix is"),
        ({"temperature": 0}, "data.mix is"),
        ({"temperature": float("inf")}, "data.mix is"),
        ("uneven", "data.mix is uneven"),
        (3, "data.mix is 3"),
    ],
)
def test_a_mix_that_cannot_be_is_one_clear_error(mix, named):
    with pytest.raises(MtlfaceError, match=named):
        source_weights(mix, list(COUNTS))


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 40)), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
def test_no_image_comes_again_before_all_of_its_source_had_their_turn(sources, seed):
    counts, taken = zip(*sources, strict=True)
    order = MixedOrder(counts, taken)
    starts = np.cumsum([0, *counts])
    met: Counter[int] = Counter()
    for epoch in range(3):
        positions = order(seed, epoch)
        assert len(positions) == len(order) == sum(taken)
        met.update(positions.tolist())
        for source, count in enumerate(taken):
            inside = (positions >= starts[source]) & (positions < starts[source + 1])
            assert inside.sum() == count
            times = [met[p] for p in range(starts[source], starts[source + 1])]
            assert max(times) - min(times) <= 1
    assert (order(seed, 2) == positions).all()


def test_one_source_with_a_weight_is_met_in_the_order_of_a_run_of_its_own():
    alone = BatchSampler(50, 8, seed=3, train=True)
    mixed = BatchSampler(50, 8, 3, True, order=MixedOrder((20, 50, 7), (0, 50, 0)))
    for epoch in (0, 4):
        alone.set_epoch(epoch), mixed.set_epoch(epoch)
        for one, other in zip(alone, mixed, strict=True):
            np.testing.assert_array_equal(one.positions + 20, other.positions)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_a_mixed_batch_and_sources_are_next_to_each_other(world):
    order = MixedOrder((30, 60, 9), (33, 33, 33))
    samplers = [BatchSampler(99, 12, 0, True, rank, world, order) for rank in range(world)]
    whole = [draw.positions for draw in BatchSampler(99, 12, 0, True, order=order)]
    # A last batch that cannot be shared is left out.
    for batch, *shares in zip(whole, *samplers, strict=False):
        together = np.concatenate([share.positions for share in shares])
        assert Counter(together.tolist()) <= Counter(batch.tolist())
        assert len(batch) - len(together) < world
        for share in (batch, *(s.positions for s in shares)):
            source = np.searchsorted([30, 90], share, side="right")
            assert (np.diff(source) >= 0).all()
