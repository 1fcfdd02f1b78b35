"""A share of one label: nested, even over its classes, and nothing else of the data changes."""

import numpy as np
import pandas as pd
import pytest
import torch

from mtlface.data.label_share import hidden_rows, known_rows
from mtlface.data.schema import Binary, Labels, Number, Points
from mtlface.errors import MtlfaceError
from mtlface.training.build import build_datamodule

LABELS = Labels(
    [
        Binary("gender", ("female", "male")),
        Number("age", 0, 116, "years"),
        Points("landmarks", ("left_eye", "right_eye"), ()),
    ]
)


def frame(n=1000):
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"gender": rng.choice([-1, 0, 1], n, p=[0.1, 0.8, 0.1])})
    found["age"] = rng.uniform(0, 90, n)
    for column in LABELS["landmarks"].columns:
        found[column] = rng.uniform(0, 90, n)
    found.loc[:99, list(LABELS["landmarks"].columns)] = np.nan
    return found


@pytest.mark.parametrize("label", ["gender", "age", "landmarks"])
def test_larger_shares_keep_all_that_smaller_ones_keep(label):
    table, before = frame(), np.zeros(1000, dtype=bool)
    known = known_rows(LABELS[label], table)
    for share in (0.01, 0.03, 0.1, 0.3, 1.0):
        kept = ~hidden_rows(LABELS, table, {label: share}, seed=3)[label]
        assert kept.sum() == max(1, round(share * known.sum()))
        assert not (before & ~kept).any() and not (kept & ~known).any()
        before = kept
    assert (before == known).all()


def test_a_share_has_the_classes_in_their_proportions_and_follows_the_seed():
    table = frame()
    kept = ~hidden_rows(LABELS, table, {"gender": 0.1}, seed=0)["gender"]
    rare = (table["gender"] == 1).mean() / (table["gender"] >= 0).mean()
    assert (table["gender"][kept] == 1).mean() == pytest.approx(rare, abs=0.015)
    other = ~hidden_rows(LABELS, table, {"gender": 0.1}, seed=1)["gender"]
    assert (kept != other).any()
    again = ~hidden_rows(LABELS, table, {"gender": 0.1}, seed=0)["gender"]
    assert (kept == again).all()


def test_training_loses_the_labels_and_nothing_else(composed):
    whole = build_datamodule(composed("experiment=tiny"))
    few = build_datamodule(composed("experiment=tiny", "data.label_fraction={landmarks: 0.25}"))
    for module in (whole, few):
        module.batch_labels = ("gender", "landmarks")
    for split in ("val", "test"):
        a, b = whole.split(split).targets, few.split(split).targets
        assert all(torch.equal(a[name], b[name]) for name in a)
    a, b = whole.split("train").targets, few.split("train").targets
    assert torch.equal(a["gender"], b["gender"]) and torch.equal(a["index"], b["index"])
    kept = b["landmarks"].isfinite().all(dim=(1, 2))
    assert kept.sum() == round(0.25 * len(kept)) == few.label_counts()["landmarks"]
    assert torch.equal(a["landmarks"][kept], b["landmarks"][kept])
    assert b["landmarks"][~kept].isnan().all()
    assert whole.fingerprint() == few.fingerprint()


def test_a_label_that_the_data_lacks_is_an_error(composed):
    module = build_datamodule(composed("experiment=tiny", "data.label_fraction={landmark: 0.5}"))
    module.batch_labels = ("landmarks",)
    with pytest.raises(MtlfaceError, match=r"data\.label_fraction.*landmark"):
        module.split("train")
