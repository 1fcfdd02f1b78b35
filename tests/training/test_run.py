"""A run leaves a result that holds the contract, the same for the same seed, of its best epoch."""

import json
import math

import pandas as pd
import pytest
import torch
from PIL import Image

from mtlface.analysis.results import read_runs
from mtlface.data.celeba import CelebA
from mtlface.errors import MtlfaceError
from mtlface.training import evaluation, module
from mtlface.training.run import run
from mtlface.training.selection import Monitor

PER_TASK = {
    "gender": {"accuracy", "precision", "recall", "f1", "f1_macro", "auroc"},
    "landmarks": {"mse_px", "mae", "mse", "rmse", "nme", "nme_image", "auc08", "fr08"},
}


@pytest.fixture(scope="module")
def train(composed):
    def of(folder, *overrides, experiment="tiny"):
        cfg = composed(f"experiment={experiment}", *overrides)
        run(cfg, folder, list(overrides))
        return json.loads((folder / "result.json").read_text(), parse_constant=pytest.fail)

    return of


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(folder, "seed=3")


def numbers(value):
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_the_result_holds_the_contract(finished):
    _, result = finished
    assert result["schema"] == 2
    assert result["experiment"] == result["arm"] == "tiny"
    assert result["seed"] == 3 and result["overrides"] == ["seed=3"]
    data = result["trained_on"]["celeba"]
    assert (result["data"], data["root_kind"]) == ("celeba", "folder")
    assert data["counts"] == {"train": 16, "val": 4, "test": 4}
    assert len(data["fingerprint"]) == len(result["identity"]) == 16
    tested = result["evaluated_on"]["celeba"]
    assert tested["n"] == 4 and set(tested["labels"]) == {"gender", "landmarks"}
    assert tested["metrics"] == {
        name.removeprefix("test/"): value
        for name, value in result["metrics"].items()
        if name.startswith("test/")
    }
    assert result["config"]["tasks"]["gender"]["weight"] == 1
    assert "root" not in result["config"]["data"] and "outputs" not in result["config"]
    assert result["tasks"]["gender"]["kind"] == "binary"
    expected = {
        f"{split}/{task}/{metric}"
        for split in ("val", "test")
        for task, metrics in PER_TASK.items()
        for metric in metrics
    }
    watched = {name for name in result["metrics"] if name.startswith("balance/")}
    assert set(result["metrics"]) - watched == set(result["trivial"]) == expected
    assert "balance/cosine/gender/landmarks" in watched
    assert result["selection"]["monitor"] == "val/skill" and result["selection"]["epoch"] in (0, 1)
    assert result["budget"]["epochs"] == 2 and result["budget"]["images"] == 32
    assert result["budget"]["fit_s"] > 0 and result["budget"]["flops"] > 0
    assert 50 < result["budget"]["peak_memory_mb"] < 100_000  # of this process
    convolutions = 9 * (3 * 32 + 32 * 64 + 64 * 128) + 32 + 64 + 128
    assert result["model"]["parameters"] == convolutions + 2049 * 256 + 257 * (1 + 10)
    assert result["environment"]["torch"] == torch.__version__
    assert result["environment"]["device"] == "cpu"
    assert result["environment"]["precision"] == "32-true"
    assert "git" in result
    assert all(math.isfinite(number) for number in numbers(result))


def test_metrics_without_a_better_end_are_not_among_the_directions(finished):
    _, result = finished
    assert {f"test/{name}" for name in result["directions"]} == {
        name for name in result["metrics"] if name.startswith("test/")
    }
    assert result["directions"]["gender/auroc"] and not result["directions"]["landmarks/nme"]


def test_the_predictions_are_of_the_test_split_and_make_the_metrics(finished, faces):
    folder, result = finished
    predictions = pd.read_csv(folder / "test_predictions.csv")
    table = CelebA().read(faces, seed=0)
    assert predictions["image"].tolist() == table.frame["image"][table.rows("test")].tolist()
    right = (predictions["gender"] == predictions["gender_true"]).mean()
    assert right == pytest.approx(result["metrics"]["test/gender/accuracy"])
    assert predictions["gender/error"].mean() == pytest.approx(1 - right)
    assert predictions["landmarks/error"].mean() == pytest.approx(
        result["metrics"]["test/landmarks/nme"], rel=1e-5
    )
    truth = table.frame["left_eye_x"][table.rows("test")]
    assert predictions["left_eye_x_true"].tolist() == pytest.approx(truth.tolist(), abs=1e-3)


def test_the_trivial_predictors_say_the_majority_and_the_mean_face(finished, table):
    _, result = finished
    men = table.frame["gender"][table.rows("test")].mean()
    assert result["trivial"]["test/gender/accuracy"] in (pytest.approx(men), pytest.approx(1 - men))
    values = table.labels["landmarks"].values(table.frame).astype(float)
    truth, mean = values[table.rows("test")], values[table.rows("train")].mean(axis=0)
    expected = ((truth - mean) ** 2).mean()
    assert result["trivial"]["test/landmarks/mse_px"] == pytest.approx(expected, rel=1e-4)


def test_the_same_seed_gives_the_same_metrics_and_another_seed_does_not(train, finished, tmp_path):
    _, result = finished
    again = train(tmp_path / "again", "seed=3")
    assert again["metrics"] == result["metrics"]
    assert again["selection"] == result["selection"]
    other = train(tmp_path / "other", "seed=4")
    assert other["metrics"] != result["metrics"]
    assert other["trained_on"] == result["trained_on"]


def test_a_finished_run_is_skipped_and_a_changed_one_is_not(train, tmp_path):
    first = train(tmp_path, "trainer.max_epochs=1")
    written = (tmp_path / "result.json").stat().st_mtime_ns
    assert train(tmp_path, "trainer.max_epochs=1") == first
    assert (tmp_path / "result.json").stat().st_mtime_ns == written
    changed = train(tmp_path, "trainer.max_epochs=1", "optimizer.lr=0.1")
    assert changed["metrics"] != first["metrics"]


def test_a_finished_run_of_another_configuration_is_set_aside_whole(train, tmp_path):
    before = train(tmp_path)
    files = {p.name for p in tmp_path.rglob("*") if p.is_file()} - {".lock", "train.log"}
    train(tmp_path, "optimizer.lr=0.002")
    (aside,) = (tmp_path / "replaced").iterdir()
    assert json.loads((aside / "result.json").read_text()) == before
    assert {p.name for p in aside.rglob("*")} >= files
    train(tmp_path)
    assert len(list((tmp_path / "replaced").iterdir())) == 2
    assert [run.folder for run in read_runs([tmp_path]).runs] == [tmp_path]


def test_test_metrics_are_of_the_best_epoch_by_validation_and_not_of_the_last(
    train, tmp_path, monkeypatch
):
    slow = "optimizer.lr=1e-4"
    last = train(tmp_path / "last", "trainer.max_epochs=3", slow)
    # The skill rises, so that asking for its smallest value makes the first epoch the best one.
    monkeypatch.setattr(module, "monitor_of", lambda name, *_: Monitor(name, "min"))
    best = train(tmp_path / "best", "trainer.max_epochs=3", slow)
    one = train(tmp_path / "one", "trainer.max_epochs=1", slow)
    assert (best["selection"]["epoch"], last["selection"]["epoch"]) == (0, 2)
    assert best["metrics"] == one["metrics"] != last["metrics"]
    assert best["budget"]["epochs"] == last["budget"]["epochs"] == 3


def test_a_metric_chooses_in_its_own_direction(train, tmp_path):
    settings = ("monitor.name=val/gender/accuracy", "patience=null", "trainer.max_epochs=6")
    found = train(tmp_path, *settings, "optimizer.lr=3e-4")
    accuracies = pd.read_csv(tmp_path / "metrics.csv")["val/gender/accuracy"]
    assert found["selection"]["mode"] == "max"
    assert found["selection"]["value"] == accuracies.max()
    assert found["selection"]["epoch"] == accuracies.argmax()
    mine = found["selection"]["each_task_best"]["gender"]
    assert mine == {
        "epoch": accuracies.argmax(),
        "value": mine["value"],
        "at_chosen": mine["value"],
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["monitor.name=val/lossx"], "Did you mean 'val/loss'"),
        (["monitor.name=train/loss"], "An epoch is chosen on validation only. Did you mean"),
        (["monitor.name=val/gender/auroc", "monitor.mode=min"], "take monitor.mode=max"),
        (["only=age"], "tiny has no such task. It has: gender, landmarks"),
    ],
)
def test_what_cannot_choose_an_epoch_is_said_before_training(train, tmp_path, settings, message):
    with pytest.raises(MtlfaceError) as found:
        train(tmp_path, *settings)
    assert message in str(found.value) and not (tmp_path / "checkpoints").exists()


def test_skill_is_measured_against_the_constant_predictor(train, tmp_path):
    """By hand, from the files of the run: BCE of the base rate, and of the network."""
    train(tmp_path, "task=[gender]", "trainer.max_epochs=1")
    row = pd.read_csv(tmp_path / "metrics.csv").iloc[0]
    men = 0.5  # every second face, in training and in validation
    constant = -(men * math.log(men) + (1 - men) * math.log(1 - men))
    assert row["val/skill"] == pytest.approx(1 - row["val/loss/gender"] / constant, abs=1e-5)


def test_task_weights_do_not_choose_the_epoch(train, tmp_path):
    """The validation skill of one epoch's weights is the same however a task is weighted."""
    settings = ("optimizer.lr=1e-20", "trainer.max_epochs=1")
    one, other = (
        train(tmp_path / str(weight), f"tasks.landmarks.weight={weight}", *settings)
        for weight in (1, 1000)
    )
    assert one["selection"]["value"] == pytest.approx(other["selection"]["value"], rel=1e-5)


def test_only_is_the_arm_with_one_task_and_nothing_else_changed(train, tmp_path):
    alone = train(tmp_path / "alone", experiment="tiny_gender")
    cut = train(tmp_path / "cut", "only=gender", "balancing=uncertainty")
    assert cut["metrics"] == alone["metrics"] and cut["identity"] == alone["identity"]


def test_a_twin_can_have_its_arms_whole_budget_in_flops(train, tmp_path):
    """The large heads of this arm make a step with one of them cheaper: the twin trains longer."""
    once = ("trainer.max_epochs=10", "tasks.landmarks.head.hidden=2048", "patience=1")
    whole = train(tmp_path / "whole", *once, "patience=null", "task=[gender,landmarks_mlp]")
    settings = (*once, "task=[gender,landmarks_mlp]", "only=gender")
    matched = train(tmp_path / "flops", *settings, "match=flops")
    assert matched["budget"]["epochs"] > whole["budget"]["epochs"] == 10
    epochs = [matched["budget"]["epochs"] - 1, matched["budget"]["epochs"]]
    of_epoch = matched["budget"]["flops"] / matched["budget"]["epochs"]
    fewer, more = (of_epoch * n for n in epochs)
    assert fewer < whole["budget"]["flops"] <= more * 1.01
    assert train(tmp_path / "steps", *settings, "match=steps")["budget"]["epochs"] == 10


def test_the_flops_of_a_run_are_those_of_its_layers(train, tmp_path):
    """A linear layer does 2·in·out in a forward pass and, for both gradients, twice that again."""
    one = train(tmp_path / "one", "task=[gender]", "trainer.max_epochs=1")
    two = train(
        tmp_path / "two", "task=[gender,landmarks]", "trainer.max_epochs=1", "data.points=[nose]"
    )
    features, coordinates, images = 256, 2, 16
    added = 6 * features * coordinates * images
    assert two["budget"]["flops"] - one["budget"]["flops"] == added


def test_a_single_task_arm_is_the_multi_task_arm_with_one_task(train, tmp_path):
    alone = train(tmp_path / "alone", experiment="tiny_gender")
    assert set(alone["tasks"]) == {"gender"}
    for balancing in ("fixed", "uncertainty"):
        of_many = train(tmp_path / balancing, "task=[gender]", f"balancing={balancing}")
        assert of_many["metrics"] == alone["metrics"]


def test_a_new_task_on_labels_that_are_there_needs_one_yaml(train, tmp_path):
    result = train(tmp_path, "task=[gender,eyeglasses]", "trainer.max_epochs=1")
    about = result["tasks"]["eyeglasses"]
    assert (about["label"], about["kind"], about["primary"]) == ("Eyeglasses", "binary", "accuracy")
    assert 0 <= result["metrics"]["test/eyeglasses/accuracy"] <= 1
    assert "Eyeglasses_probability" in pd.read_csv(tmp_path / "test_predictions.csv")


def test_a_corrupt_picture_is_counted_and_one_of_another_format_is_not(train, own_faces, tmp_path):
    pictures = own_faces / "img_align_celeba" / "img_align_celeba"
    (pictures / "000002.jpg").write_bytes(b"no picture")
    Image.open(pictures / "000001.jpg").convert("L").save(pictures / "000001.jpg")
    Image.open(pictures / "000003.jpg").save(pictures / "000003.jpg", format="PNG")
    settings = (f"data.root={own_faces}", "data.max_bad_fraction=0.05", "trainer.max_epochs=1")
    result = train(tmp_path / "run", *settings)
    assert result["trained_on"]["celeba"]["omitted"] == 1
    assert result["trained_on"]["celeba"]["counts"] == {"train": 15, "val": 4, "test": 4}


def test_sure_answers_keep_their_rank_and_no_answer_is_null(train, tmp_path, monkeypatch):
    """Logits of which no float32 probability differs, and a validation split of nothing found."""
    predict = evaluation.predict_split

    def sure(module, split, *rest):
        found, target = predict(module, split, *rest), split.targets["gender"]
        logits = 18.0 + torch.arange(len(target)) + 100.0 * target
        found.outputs["gender"] = logits[:, None] if split.rows[0] >= 20 else -logits[:, None]
        return found

    monkeypatch.setattr(evaluation, "predict_split", sure)
    result = train(tmp_path, "trainer.max_epochs=1")
    table = pd.read_csv(tmp_path / "test_predictions.csv")
    assert result["metrics"]["test/gender/auroc"] == 1
    assert result["metrics"]["val/gender/precision"] is None
    assert result["metrics"]["val/gender/recall"] == 0
    assert table["gender_probability"].nunique() > 1


def test_a_test_split_of_one_class_has_no_auroc_and_the_file_says_null(train, own_faces, tmp_path):
    path = own_faces / "list_attr_celeba.csv"
    header, *rows = path.read_text().splitlines()
    male = header.split(",").index("Male")
    cells = [row.split(",") for row in rows]
    for row in cells[20:]:
        row[male] = "1"
    path.write_text("\n".join([header, *map(",".join, cells)]) + "\n")
    result = train(tmp_path / "run", f"data.root={own_faces}", "trainer.max_epochs=1")
    assert result["metrics"]["test/gender/auroc"] is None
    assert result["metrics"]["val/gender/auroc"] is not None


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["task=[]"], "No task is chosen"),
        (["task=[age]"], "label 'age', which this data does not have"),
        (["task=[gender]", "+tasks.landmarks.image_side=224"], "tasks.landmarks has settings"),
        (["data.points=[left_eye,right_eye,nse]"], "Did you mean 'nose'"),
        (["data.attributes=[Smilling]"], "Did you mean 'Smiling'"),
        (["task=[attributes]", "data.attributes=[]"], "label 'attributes'"),
    ],
)
def test_what_the_data_lacks_is_an_error_before_anything_is_read(
    composed, tmp_path, overrides, named
):
    cfg = composed("experiment=tiny", "data.root=/nowhere", *overrides)
    with pytest.raises(MtlfaceError) as error:
        run(cfg, tmp_path, [])
    assert named in str(error.value)
    assert not (tmp_path / "result.json").exists()
