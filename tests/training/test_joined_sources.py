"""One network on several data sets, from the command to the files that it writes."""

import json
import logging
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from own_reader import write_own_reader

from mtlface import compare, evaluate, train
from mtlface.training.checkpoint import load_checkpoint

WORDS = (
    "profile=smoke", "trainer=cpu", "trainer.enable_progress_bar=false", "backbone=cnn3",
    "figures=false", "augment=basic",
)  # fmt: skip
NO_WEIGHT = "data.mix={celeba: 1, agegender: 0}"


@pytest.fixture(scope="module")
def start(cache):
    """Starts a command and returns its exit code and the only run folder that it wrote."""
    root = logging.getLogger()
    handlers, level, arguments = root.handlers[:], root.level, sys.argv

    def run(outputs: Path, *words: str) -> tuple[int, Path | None]:
        sys.argv = ["mtlface.train", *WORDS, f"data.cache={cache}", f"outputs={outputs}", *words]
        with pytest.raises(SystemExit) as stop:
            train.main()
        results = sorted(outputs.rglob("result.json"))
        return stop.value.code, results[0].parent if results else None

    yield run
    GlobalHydra.instance().clear()
    root.handlers[:], root.level, sys.argv = handlers, level, arguments


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    """The same two tasks on CelebA alone, in a list of one, and beside a set without a weight."""
    found = {}
    for name, words in {
        "alone": ["data=celeba"],
        "list": ["data=[celeba]"],
        "weight": ["data=[agegender,celeba]", NO_WEIGHT],
    }.items():
        code, folder = start(
            tmp_path_factory.mktemp(name), "task=[gender,landmarks]", f"name={name}", *words
        )
        assert code == 0
        found[name] = folder
    return found


def weights(folder):
    return load_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]


@pytest.mark.parametrize("name", ["list", "weight"])
def test_a_join_in_which_one_source_counts_trains_the_same_bits(runs, name):
    alone, joined = weights(runs["alone"]), weights(runs[name])
    trained = [key for key in alone if key in joined]
    assert len(trained) > 10 and alone.keys() == joined.keys()
    for key in trained:
        assert torch.equal(alone[key], joined[key]), key


def test_the_result_has_the_metrics_of_each_source(runs):
    alone, joined = (json.loads((runs[n] / "result.json").read_text()) for n in ("alone", "weight"))
    for task, metric in (("gender", "accuracy"), ("landmarks", "nme")):
        key = f"test/{task}/{metric}"
        assert joined["metrics"][f"{key}@source=celeba"] == pytest.approx(alone["metrics"][key])
    assert joined["metrics"]["test/landmarks/nme@source=agegender"] is None
    assert 0 <= joined["metrics"]["test/gender/accuracy@source=agegender"] <= 1
    for split in ("val", "train"):
        assert not (runs["weight"] / "split.csv").read_text().count(f"agegender/{split},")


def test_what_was_measured_on_a_source_is_what_a_run_on_it_alone_wrote(runs):
    alone, joined = (json.loads((runs[n] / "result.json").read_text()) for n in ("alone", "weight"))
    one, other = alone["evaluated_on"]["celeba"], joined["evaluated_on"]["celeba"]
    for kind in ("fingerprint", "labels", "n"):
        assert one[kind] == other[kind]
    for kind in ("metrics", "trivial"):
        assert other[kind].keys() == one[kind].keys()
        for key, value in one[kind].items():
            assert other[kind][key] == (None if value is None else pytest.approx(value)), key
    unseen = joined["evaluated_on"]["agegender"]
    assert set(unseen["labels"]) == {"gender"} and unseen["n"] == 32
    assert not any(key.startswith("landmarks/") for key in unseen["metrics"])


def test_a_joint_arm_is_compared_with_one_on_its_own_source(runs, tmp_path):
    folders = ",".join(str(runs[name].parents[3]) for name in ("alone", "weight"))
    words = [f"runs=[{folders}]", f"output={tmp_path / 'report'}", "figures=false"]
    assert compare.main([*words, "data=celeba"]) == 0
    table = pd.read_csv(tmp_path / "report" / "comparison.csv")
    assert {arm.partition(",")[0] for arm in table["arm"]} == {"alone", "weight"}
    assert compare.main(words) == 0
    table = pd.read_csv(tmp_path / "report" / "comparison.csv")
    assert set(table["data"]) == {"celeba", "agegender"}


def evaluated(folder, output, cache, *words):
    arguments = [f"checkpoint={folder}", f"output={output}", "device=cpu", f"data.cache={cache}"]
    assert evaluate.main([*arguments, *words]) == 0
    return json.loads((output / "evaluation.json").read_text())


def test_a_joint_network_is_measured_on_each_source(runs, tmp_path, cache):
    written = json.loads((runs["weight"] / "result.json").read_text())["metrics"]
    for source, words in (("celeba", ["data=celeba"]), ("agegender", ["data=agegender"])):
        found = evaluated(runs["weight"], tmp_path / source, cache, *words)
        assert found["data"]["name"] == source and found["n"] == 32
        expected = written[f"test/gender/accuracy@source={source}"]
        assert found["metrics"]["gender/accuracy"] == pytest.approx(expected)


def test_a_joint_network_is_measured_on_a_source_that_it_never_saw(runs, tmp_path, cache):
    found = evaluated(
        runs["weight"], tmp_path / "out", cache, "data=facecom", "data.limit={test: 20}"
    )
    assert set(found["skipped"]) == {"landmarks"} and found["n"] == 20
    found = evaluated(
        runs["alone"], tmp_path / "both", cache, "data=[facecom,celeba]", "data.limit={test: 20}"
    )
    assert found["n"] == 40 and found["group_sizes"]["source"] == {"facecom": 20, "celeba": 20}


def test_ones_own_source_joins_by_the_same_words(start, tmp_path, monkeypatch):
    words = write_own_reader(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    root = f"data.myfaces.root={tmp_path / 'faces'}"
    code, folder = start(
        tmp_path / "out", *words[:2], "data=[celeba,myfaces]", root, "data.celeba.limit={train: 8}",
        "data.mix=equal", "task=[age,gender]", "name=own",
    )  # fmt: skip
    assert code == 0 and folder is not None and folder.parent.name == "celeba+myfaces"
    images = (folder / "split.csv").read_text()
    assert images.count("celeba/") > 0 and images.count("myfaces/") == 24
    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"]["test/age/mae@source=myfaces"] > 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data=[celeba,celeba]"], "an option twice"),
        (["data=[celeba,celebra]"], "Did you mean 'celeba'?"),
        (
            ["data=[celeba,agegender]", "data.agegender.name=celeba"],
            "Two sources are called 'celeba'",
        ),
        (["data=[celeba,agegender]", "data.mix={celeba: 1, facecom: 1}"], "source 'facecom'"),
        (["data=[celeba,agegender]", "data.root=/x"], "data.celeba.root, data.agegender.root"),
        (["data=[celeba,agegender]", "data.celeba.root=/x"], "/x"),
    ],
)
def test_a_join_that_cannot_be_is_one_clear_error(start, tmp_path, capsys, words, named):
    code, _ = start(tmp_path, "task=[gender]", "name=wrong", *words)
    said = capsys.readouterr().err
    assert code == 2 and named in said and "Traceback" not in said


def test_a_source_without_a_test_split_is_named(start, tmp_path, capsys, monkeypatch):
    words = write_own_reader(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    labels = tmp_path / "faces" / "labels.csv"
    labels.write_text(labels.read_text().replace(",test,", ",val,"))
    root = f"data.myfaces.root={tmp_path / 'faces'}"
    words = [*words[:2], "data=[celeba,myfaces]", root, "task=[gender]", "name=x"]
    code, _ = start(tmp_path / "out", *words)
    said = capsys.readouterr().err
    assert code == 2 and "myfaces" in said and "test split" in said
