import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mtlface.data.schema import Binary, Category, Labels
from mtlface.data.table import FaceTable
from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.evaluate import main
from mtlface.inference.fairness import equalised_odds
from mtlface.inference.measure import Settings, measure
from mtlface.inference.other_data import data_config, fitted

CONF = config_folder()


def test_evaluate_gives_the_figures_that_the_run_wrote(trained, tmp_path, capsys):
    output = tmp_path / "out"
    assert main([f"checkpoint={trained}", f"output={output}", "device=cpu"]) == 0
    found = json.loads((output / "evaluation.json").read_text())
    run = json.loads((trained / "result.json").read_text())
    for kind in ("metrics", "trivial"):
        theirs = {k: v for k, v in run[kind].items() if k.startswith("test/")}
        own = {f"test/{k}": v for k, v in found[kind].items()}
        assert own.keys() == theirs.keys()
        for name, value in theirs.items():
            assert own[name] == (None if value is None else pytest.approx(value, rel=1e-4)), name
    assert (
        found["n"] == 4
        and found["data"]["fingerprint"] == run["trained_on"]["celeba"]["fingerprint"]
    )
    pd.testing.assert_frame_equal(
        pd.read_csv(output / "predictions.csv"),
        pd.read_csv(trained / "test_predictions.csv"),
        atol=1e-4,
    )
    assert "constant predictor" in capsys.readouterr().out


def test_each_folder_of_a_data_set_has_an_evaluation_of_its_own(
    trained, faces, own_faces, cache, tmp_path, capsys
):
    run = tmp_path / "ff,task=[gender,age]"  # as sweeps call their arms
    shutil.copytree(trained, run)
    points = own_faces / "list_landmarks_align_celeba.csv"
    points.write_text(points.read_text().replace("000001.jpg,", "000001.jpg,1"))
    for root in (faces, own_faces):
        words = [f"checkpoint={run}", f"data.root={root}", f"data.cache={cache}", "device=cpu"]
        assert main([*words, "split=train"]) == 0
        said = capsys.readouterr().out
        folder = next(f for f in sorted((run / "evaluation").iterdir()) if f"{f}/" in said)
        found = json.loads((folder / "evaluation.json").read_text())
        assert folder.name == f"celeba_train_{found['fingerprint'][:8]}"
    assert len(list((run / "evaluation").iterdir())) == 2


def test_any_split_and_any_limit_of_the_own_data(network):
    config = data_config(network, None, ["data.limit={train: 8}"], [CONF])
    found = measure(network, config, Settings("train"))
    assert (found.split, found.n, len(found.predictions)) == ("train", 8, 8)


def test_a_limit_on_what_is_measured_packs_no_more_than_that_needs(network):
    config = data_config(network, None, ["data.limit={test: 3}"], [CONF])
    found = measure(network, config)
    assert found.n == 3 and found.data["counts"] == {"train": 16, "val": 1, "test": 3}


def test_other_data_skips_the_tasks_that_it_cannot_test_by_name(network, cache):
    words = ["data.source=demo", "data.limit={train: 6, val: 2, test: 40}", f"data.cache={cache}"]
    found = measure(
        network, data_config(network, "agegender", words, [CONF]), Settings(min_group=1)
    )
    assert set(found.skipped) == {"landmarks"} and set(found.primary) == {"gender"}
    assert found.data["name"] == "agegender" and found.n == 40
    assert sum(found.group_sizes["age_group"].values()) == 40
    gap = found.gaps["gender@age_group"]
    assert gap.gap == pytest.approx(max(gap.values.values()) - min(gap.values.values()))
    assert gap.values[gap.worst] == min(gap.values.values())


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("celebs", [], "Did you mean 'celeba'"),
        (None, ["data.rot=x"], "Did you mean 'root'"),
        ("agegender", ["data.rot=x"], "rot"),
        (None, ["data.limit={test: "], "cannot be read"),
        (None, ["data.batch_size=${nope}"], "cannot be read"),
    ],
)
def test_unknown_data_or_keys_are_one_clear_error(network, name, words, message):
    with pytest.raises(MtlfaceError, match=message):
        data_config(network, name, words, [CONF])


class _Task:
    def __init__(self, label):
        self.label = label
        self.positive = getattr(label, "classes", (None, None))[1]


class _Module:
    def __init__(self, **tasks):
        self.tasks = tasks


def test_classes_are_matched_by_name_and_strangers_are_missing():
    there = Category("identity", ("ann", "bob", "eve"))
    frame = pd.DataFrame({"image": list("abcd"), "split": "test", "identity": [0, 1, 2, -1]})
    module = _Module(identity=_Task(Category("identity", ("bob", "ann"))))
    table, skipped = fitted(FaceTable(frame, Labels([there]), None), module)
    assert table.frame["identity"].tolist() == [1, 0, -1, -1] and not skipped
    assert table.labels["identity"].classes == ("bob", "ann")
    assert frame["identity"].tolist() == [0, 1, 2, -1]


def test_data_that_fits_no_task_is_an_error():
    frame = pd.DataFrame({"image": ["a"], "split": "test", "gender": [1]})
    table = FaceTable(frame, Labels([Binary("gender")]), None)
    with pytest.raises(MtlfaceError, match="none of the network's tasks"):
        fitted(table, _Module(smile=_Task(Binary("Smiling"))))


def test_equalised_odds_by_hand():
    pytest.importorskip("fairlearn")
    rows = [("A", 1, 1), ("A", 1, 0), ("A", 0, 0), ("B", 1, 1), ("B", 0, 1), ("B", 0, 0)]
    names = np.array(["female", "male"])
    group, truth, said = (np.array(column) for column in zip(*rows, strict=True))
    table = pd.DataFrame({"gender": names[said], "gender_true": names[truth], "race": group})
    tasks = {"gender": _Task(Binary("gender", ("female", "male")))}
    # True positive rates 1/2 and 1, false positive rates 0 and 1/2.
    assert equalised_odds(table, tasks, ["race"]) == {"gender@race": 0.5}
