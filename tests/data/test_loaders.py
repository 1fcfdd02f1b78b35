"""Whichever loader brings them, the batches of (seed, epoch) are the same."""

import joblib
import numpy as np
import pytest
import torch

from mtlface.data.augment import Augment
from mtlface.data.augment_cpu import CpuAugment
from mtlface.data.batch import Split
from mtlface.data.loaders import DeviceLoader, worker_loader
from mtlface.data.sampler import BatchSampler

CPU = torch.device("cpu")
MIRRORED = {"landmarks": (1, 0, 2, 4, 3)}


@pytest.fixture
def split(table, store):
    return Split(table, store, np.arange(len(table)), "train", ("gender", "landmarks"))


def sampler(split, train=True):
    return BatchSampler(len(split), 6, seed=5, train=train)


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name].nan_to_num(-7), b[name].nan_to_num(-7)), name
        assert a["image"].is_contiguous(memory_format=torch.channels_last)
        assert b["image"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_both_loaders_give_the_same_batches(split, train, workers):
    device = DeviceLoader(split, sampler(split, train), CPU)
    worker = worker_loader(split, sampler(split, train), None, workers, pin_memory=False)
    assert len(device) == len(worker)
    for epoch in (0, 2):
        assert_same(epoch_of(worker, epoch), epoch_of(device, epoch))


def augmented(split, workers):
    augment = CpuAugment(Augment(flip=0.5, rotate=20, brightness=0.3), split.frame, MIRRORED)
    return worker_loader(split, sampler(split), augment, workers, pin_memory=False)


def pixels_of(split, workers):
    return [batch["image"].numpy() for batch in epoch_of(augmented(split, workers), 0)]


def test_workers_start_in_a_process_of_joblib_too(split):
    (found,) = joblib.Parallel(n_jobs=2)([joblib.delayed(pixels_of)(split, 1)])
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(pixels_of(split, 0)))


def test_the_epoch_reaches_the_workers(split):
    # Persistent workers keep their copy of the data set; the epoch must travel with the draw.
    workers, here = augmented(split, 2), augmented(split, 0)
    first, second = epoch_of(workers, 0), epoch_of(workers, 1)
    assert_same(first, epoch_of(here, 0))
    assert_same(second, epoch_of(here, 1))
    order = [torch.cat([batch["index"] for batch in epoch]).argsort() for epoch in (first, second)]
    pictures = [
        torch.cat([batch["image"] for batch in epoch])[rows]
        for epoch, rows in zip((first, second), order, strict=True)
    ]
    assert not torch.equal(*pictures)


def test_a_resumed_epoch_has_the_batches_of_one_that_was_never_stopped(split):
    through, resumed = augmented(split, 0), augmented(split, 0)
    for epoch in range(3):
        epoch_of(through, epoch)
    assert_same(epoch_of(through, 3), epoch_of(resumed, 3))


def test_augmentation_leaves_the_labels_in_memory_as_they_are(split):
    before = split.targets["landmarks"].clone()
    moved = torch.cat([batch["landmarks"] for batch in epoch_of(augmented(split, 0), 0)])
    assert torch.equal(split.targets["landmarks"], before)
    assert moved.shape == before.shape and not torch.equal(moved, before)
