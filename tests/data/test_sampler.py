"""Batches are known from (seed, epoch); processes share them out; evaluation counts each once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtlface.data.sampler import BatchSampler

lengths = st.integers(1, 60)
worlds = st.integers(1, 4)
shares = st.integers(1, 6)  # pictures in a batch and process


def batches(sampler: BatchSampler, epoch: int = 0) -> list[list[int]]:
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    assert all(draw.epoch == epoch for draw in drawn)
    return [draw.positions.tolist() for draw in drawn]


def ranks(length, size, seed, train, world, epoch=0):
    return [
        batches(BatchSampler(length, size, seed, train, rank, world), epoch)
        for rank in range(world)
    ]


@given(length=lengths, size=shares, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_the_order_is_that_of_seed_and_epoch_whatever_was_drawn_before(length, size, seed, epoch):
    used = BatchSampler(length, size, seed, train=True)
    batches(used, epoch + 1)
    assert batches(used, epoch) == batches(BatchSampler(length, size, seed, train=True), epoch)


def test_another_epoch_and_another_seed_are_another_order():
    orders = {
        str(batches(BatchSampler(100, 100, seed, train=True), epoch))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


@given(length=lengths, size=shares)
def test_training_takes_no_picture_twice_and_leaves_out_less_than_a_batch(length, size):
    seen = [p for batch in batches(BatchSampler(length, size, 0, train=True)) for p in batch]
    assert len(set(seen)) == len(seen) <= length
    assert len(seen) >= length - 1  # a lone last picture makes no batch
    assert set(seen) <= set(range(length))


@given(length=lengths, share=shares, world=worlds)
def test_ranks_together_see_the_batches_of_one_process(length, share, world):
    size = share * world
    alone = batches(BatchSampler(length, size, 3, train=True))
    together = ranks(length, size, 3, True, world)
    for step, parts in enumerate(zip(*together, strict=True)):
        assert len({len(part) for part in parts}) == 1
        union = sorted(p for part in parts for p in part)
        assert len(alone[step]) - world < len(union) <= len(alone[step])
        assert set(union) <= set(alone[step])
        if len(alone[step]) == size:
            assert union == sorted(alone[step])


@given(length=lengths, share=shares, world=worlds)
def test_evaluation_counts_each_picture_once_and_pads_the_rest(length, share, world):
    parts = ranks(length, share * world, 3, False, world)
    seen = np.concatenate([batch for rank in parts for batch in rank])
    assert sorted(seen[seen >= 0].tolist()) == list(range(length))
    assert set(seen[seen < 0].tolist()) <= {-1}
    assert (seen < 0).sum() < world
    for step in zip(*parts, strict=True):
        assert len({len(batch) for batch in step}) == 1


@given(length=lengths, size=shares, epoch=st.integers(0, 3))
def test_evaluation_is_in_the_tables_order(length, size, epoch):
    drawn = batches(BatchSampler(length, size, 0, train=False), epoch)
    assert [p for batch in drawn for p in batch] == list(range(length))


def test_a_lone_last_picture_is_no_batch_but_a_lone_picture_is():
    assert [len(b) for b in batches(BatchSampler(9, 4, 0, train=True))] == [4, 4]
    assert [len(b) for b in batches(BatchSampler(10, 4, 0, train=True))] == [4, 4, 2]
    assert [len(b) for b in batches(BatchSampler(1, 4, 0, train=True))] == [1]
