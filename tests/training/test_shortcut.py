"""The probe finds what features give away, and finds nothing where they give nothing away."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mtlface.tasks.auroc import defined_auroc
from mtlface.training.shortcut import DECAY, _others, _probe


def draw(seed, shift, classes=3, n=400, width=8):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    features = rng.standard_normal((n, width))
    features[:, 0] += shift * target
    return torch.tensor(features, dtype=torch.float32), torch.from_numpy(target)


def areas(train, test, classes=3):
    logits = _probe(*train, test[0], classes)
    return [
        float(defined_auroc(logits[:, k] - _others(logits, k), (test[1] == k).long()))
        for k in range(classes)
    ]


def test_sources_that_lie_apart_are_told_apart_and_others_are_not():
    assert min(areas(draw(0, 4.0), draw(1, 4.0))[::2]) > 0.95  # the one between is not linear
    assert areas(draw(0, 0.0), draw(1, 0.0)) == pytest.approx([0.5] * 3, abs=0.1)


def test_two_sources_are_told_apart_as_by_scikit_learns_regression():
    (x, y), (z, t) = draw(2, 1.0, classes=2), draw(3, 1.0, classes=2)
    mean, spread = x.mean(0), x.std(0, correction=0)
    # Its penalty is on a sum of losses, ours on their mean; two classes share one slope there.
    model = LogisticRegression(C=2 / (DECAY * len(x)), class_weight="balanced", tol=1e-8)
    model.fit((x - mean) / spread, y)
    expected = roc_auc_score(t, model.decision_function((z - mean) / spread))
    found = areas((x, y), (z, t), classes=2)
    assert found == pytest.approx([expected] * 2, abs=2e-3)


def test_a_run_on_several_data_sets_says_it_and_one_on_a_single_one_does_not(
    composed, tmp_path, monkeypatch
):
    from mtlface.training.run import run

    words = ("experiment=celeba_agegender_joint", "profile=smoke", "backbone=cnn3", "figures=false")
    demo = ("data.root=null", "data.image_size=[32,32]", "trainer=cpu")
    found = run(composed(*words, *demo), tmp_path / "joint", [])["shortcut"]
    assert set(found["source_auroc"]) == {"mean", "celeba", "agegender"}
    assert all(0 <= value <= 1 for value in found["source_auroc"].values())
    assert set(found["calibration"]["gender"]) == {"celeba", "agegender"}
    assert found["n"]["test"] > 0
    assert run(composed("experiment=tiny"), tmp_path / "one", [])["shortcut"] is None
