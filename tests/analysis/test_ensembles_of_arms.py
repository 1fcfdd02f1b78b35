"""Seeds as an ensemble, from saved predictions: against scikit-learn, and into the report."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from mtlface.analysis.comparison import compare
from mtlface.analysis.differences import Metric
from mtlface.analysis.ensembles import ensembles
from mtlface.analysis.images import Predictions
from mtlface.analysis.results import Run, read_runs
from mtlface.compare import main


def test_the_ensemble_is_scikit_learns_of_the_mean_probability(sweep):
    found = {e.arm: e for e in compare(read_runs([sweep])).ensembles if e.metric.task == "gender"}
    arm = sweep / "celeba_gender" / "celeba"
    tables = [pd.read_csv(arm / f"seed={s}" / "test_predictions.csv") for s in range(5)]
    each = [t["gender_probability"] for t in tables]
    mean, truth = np.mean(each, axis=0), tables[0]["gender_true"] == "male"
    e = found["celeba_gender"]
    assert e.members == 5 and e.spread is None
    assert e.value == pytest.approx(accuracy_score(truth, mean > 0.5))
    recorded = [
        json.loads((arm / f"seed={s}" / "result.json").read_text())["metrics"] for s in range(5)
    ]
    assert e.mean == pytest.approx(np.mean([r["test/gender/accuracy"] for r in recorded]))
    assert e.sureness.nll == pytest.approx(log_loss(truth, mean))
    members = np.mean([log_loss(truth, p) for p in each])
    assert e.sureness.nll < e.sureness.nll_members == pytest.approx(members, rel=1e-6)
    assert e.sureness.brier == pytest.approx(2 * brier_score_loss(truth, mean))
    assert 0 < e.sureness.disagreement < np.log(2) and 0 < e.sureness.ece < 1


def test_the_files_have_the_table(sweep):
    main([f"runs={sweep}"])
    text = next(sweep.rglob("*.md")).read_text()
    assert "Seeds as an ensemble" in text and "disagreement (nats)" in text


@pytest.mark.parametrize("shuffled", [False, True])
def test_numbers_are_averaged_image_by_image_whatever_their_order(tmp_path, shuffled):
    rng = np.random.default_rng(0)
    truth, runs, said = rng.uniform(0, 90, 50), {}, []
    label = {"kind": "number", "name": "age", "low": 0, "high": 116, "unit": "years"}
    for seed in range(3):
        said.append(truth + rng.normal(0, 8, 50))
        folder = tmp_path / str(seed)
        folder.mkdir()
        table = pd.DataFrame(
            {"image": [f"{i:03}" for i in range(50)], "age": said[-1], "age_true": truth}
        )
        table = table.sample(frac=1, random_state=seed) if shuffled else table
        table.to_csv(folder / "test_predictions.csv", index=False)
        content = {
            "tasks": {"age": {"label": "age", "primary": "mae"}},
            "metrics": {"test/age/mae": float(np.abs(said[-1] - truth).mean())},
            "labels": [label],
        }
        runs[seed] = Run(folder, content)
    arm = SimpleNamespace(label="a", runs=runs, seeds=tuple(runs), tasks=runs[0].tasks)
    (e,) = ensembles([arm], [Metric("age", "mae", False, True)], Predictions())
    assert e.value == pytest.approx(np.abs(np.mean(said, axis=0) - truth).mean())
    assert e.value < e.mean and e.sureness is None
    assert e.spread == pytest.approx(np.sqrt(np.var(said, axis=0, ddof=1).mean()))
    classes = [{"kind": "category", "name": "age", "classes": ["young", "old", "older"]}]
    several = {
        seed: Run(run.folder, run.content | {"labels": classes}) for seed, run in runs.items()
    }
    for given in (several, runs | {2: Run(tmp_path / "nowhere", content)}):
        arm.runs = given
        assert ensembles([arm], [Metric("age", "mae", False, True)], Predictions()) == []
