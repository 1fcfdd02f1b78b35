"""The event files hold what people look for, once, also after an interruption."""

import json
import logging

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.metadata import (
    SESSION_START_INFO_TAG,
    parse_session_start_info_plugin_data,
)
from tensorboard.util.tensor_util import make_ndarray

from mtlface.training import dashboard, outputs
from mtlface.training.dashboard import Dashboard, places
from mtlface.training.outputs import write_drawings
from mtlface.training.run import run
from mtlface.training.task_figures import decision

SETTINGS = ("arm='tiny,x=1'", "figures=true", "watch.every_n_steps=1", "trainer.max_epochs=3")


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


def points(found):
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.fixture(scope="module")
def train(composed):
    def of(folder, *overrides):
        cfg = composed("experiment=tiny", *SETTINGS, *overrides)
        run(cfg, folder, list(overrides))
        return json.loads((folder / "result.json").read_text())

    return of


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(folder)


@pytest.fixture(scope="module")
def seen(finished):
    return events(finished[0] / "tensorboard")


def test_scalars_are_grouped_by_split_and_task(seen):
    tags = set(seen.Tags()["scalars"])
    assert {"train/loss", "train/loss/gender", "val/loss/landmarks"} <= tags
    assert {"val/gender/accuracy", "test/gender/accuracy", "test/landmarks/nme"} <= tags
    assert {"balance/weight/gender", "balance/cosine/gender/landmarks"} <= tags
    assert {"run/lr", "run/pictures_per_s"} <= tags
    assert all(value > 0 for _, value in points(seen)["run/pictures_per_s"])


def test_the_epochs_points_are_at_its_last_step(seen):
    assert [step for step, _ in points(seen)["val/loss"]] == [1, 3, 5]
    assert [step for step, _ in points(seen)["run/pictures_per_s"]] == [1, 3, 5]


def test_pictures_come_every_epoch_and_at_the_end(seen):
    tags = set(seen.Tags()["images"])
    assert [image.step for image in seen.Images("panels/val")] == [1, 3, 5]
    assert {"panels/test", "panels/test_worst_landmarks", "figures/training_metrics"} <= tags
    assert "figures/confusion_gender" in tags


def test_the_config_can_be_read(seen, finished):
    text = make_ndarray(seen.Tensors("config/text_summary")[0].tensor_proto).item().decode()
    assert text.startswith("```yaml\n") and text.endswith("\n```")
    assert (finished[0] / "config.yaml").read_text().strip() in text


def test_the_overview_names_tags_that_are_there(seen):
    content = make_ndarray(seen.Tensors("custom_scalars__config__")[0].tensor_proto).item()
    layout = Layout.FromString(content)
    assert [c.title for c in layout.category] == [
        "losses", "validation, primary metrics", "balancing", "run",
    ]  # fmt: skip
    import re

    tags = seen.Tags()["scalars"]
    for category in layout.category:
        for chart in category.chart:
            assert any(re.search(t, tag) for t in chart.multiline.tag for tag in tags), chart.title


def test_the_run_has_its_row_among_the_hyperparameters(seen, finished):
    _, result = finished
    content = seen.PluginTagToContent("hparams")[SESSION_START_INFO_TAG]
    settings = parse_session_start_info_plugin_data(content).hparams
    assert settings["arm"].string_value == "tiny,x=1"
    assert settings["tasks"].string_value == "gender+landmarks"
    assert settings["optimizer"].string_value == "Adam"
    assert {"schedule", "augmentation", "balancing"} <= set(settings)
    assert settings["batch_size"].number_value == 8 and settings["seed"].number_value == 0
    shown = {name: values[-1][1] for name, values in points(seen).items()}
    for metric in ("test/gender/accuracy", "test/landmarks/nme"):
        assert shown[metric] == pytest.approx(result["metrics"][metric])


def test_the_run_folder_holds_the_figures(finished):
    folder, _ = finished
    names = ["training_metrics", "panels/test", "panels/test_worst_landmarks", "confusion_gender"]
    for name in [*names, "roc_gender"]:
        with Image.open(folder / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5, name


def test_the_second_phase_shows_a_scaled_schedule_and_the_balancers_own(train, tmp_path):
    phases = ("finetune=two_phase", "two_phase={frozen_epochs: 1, unfrozen_lr: 1e-5}")
    train(tmp_path, *phases, "scheduler=onecycle", "balancing=uncertainty", "optimizer.lr=1e-3")
    found = points(events(tmp_path / "tensorboard"))
    network, own = (dict(found[tag]) for tag in ("run/lr", "run/lr_1"))
    assert [step for step, rate in network.items() if rate <= 1e-5] == [2, 3, 4, 5]
    for step, rate in own.items():
        assert network[step] == pytest.approx(rate / 100, rel=1e-4)


def test_an_interrupted_run_has_every_point_once(train, finished, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    original = Dashboard.on_train_batch_end

    def cut(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.global_step == 3:  # in the middle of the second epoch
            raise PowerCutError

    monkeypatch.setattr(Dashboard, "on_train_batch_end", cut)
    with pytest.raises(PowerCutError):
        train(tmp_path)
    monkeypatch.undo()
    result = train(tmp_path)
    found, whole = events(tmp_path / "tensorboard"), events(finished[0] / "tensorboard")
    measured = {"run/pictures_per_s"}
    for tag in whole.Tags()["scalars"]:
        steps = [[step for step, _ in points(e)[tag]] for e in (found, whole)]
        assert steps[0] == steps[1], tag
        if tag not in measured:
            assert points(found)[tag] == points(whole)[tag], tag
    assert [image.step for image in found.Images("panels/val")] == [1, 3, 5]
    assert len(found.Tensors("config/text_summary")) == 1
    assert result["metrics"] == finished[1]["metrics"]


def test_eight_validation_images_are_shown_whatever_the_batches(composed, tmp_path, monkeypatch):
    shown = []
    panels = dashboard.prediction_panels

    def counted(tasks, columns, images, size):
        shown.append((len(images), columns))
        return panels(tasks, columns, images, size)

    monkeypatch.setattr(dashboard, "prediction_panels", counted)
    cfg = composed("experiment=celeba_gender", "profile=smoke", "trainer=cpu", "backbone=cnn3",
                   "data.root=null", "trainer.enable_progress_bar=false")  # fmt: skip
    run(cfg, tmp_path, [])
    assert [count for count, _ in shown] == [8]
    images = events(tmp_path / "tensorboard").Images("panels/val")
    assert len(images) == 1 and images[0].height > 100


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 4, 5, 100])
def test_chosen_rows_are_the_first_ranks_own_pictures(count, world):
    batch_size = 8
    chosen = places(count, batch_size, world)
    for batch, rows in chosen.items():
        size = min(batch_size, count - batch * batch_size)
        share = range(0, size, world)  # the positions that the first rank has of this batch
        assert set(rows) <= set(range(len(share)))
    assert 1 <= sum(map(len, chosen.values())) <= 8


def test_a_figure_that_fails_costs_nothing_but_itself(tmp_path, caplog):
    def broken():
        raise ValueError("no such glyph")

    with caplog.at_level(logging.WARNING):
        write_drawings(tmp_path, [("a", broken), ("b/c", lambda: b"png")], [], 0)
    assert not (tmp_path / "a.png").exists() and (tmp_path / "b" / "c.png").read_bytes() == b"png"
    assert "a.png could not be drawn: no such glyph" in caplog.text


def test_results_are_written_whatever_the_drawing_does(train, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(outputs, "drawings_of", broken)
    assert "test/gender/accuracy" in train(tmp_path, "trainer.max_epochs=1")["metrics"]


def test_without_figures_nothing_is_drawn(train, tmp_path):
    train(tmp_path, "figures=false", "trainer.max_epochs=1")
    assert not list(tmp_path.rglob("*.png"))
    assert events(tmp_path / "tensorboard").Tags()["images"] == []


def test_curves_of_decisions_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    positive = draw.random(300) < 0.3
    scores = np.clip(0.3 * positive + draw.random(300), 0, 1)
    found = decision(scores, positive)
    assert found.auroc == pytest.approx(metrics.roc_auc_score(positive, scores))
    fpr, tpr, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    assert found.fpr == pytest.approx(fpr, abs=1e-6) and found.tpr == pytest.approx(tpr, abs=1e-6)
    assert (found.recall[0], found.recall[-1]) == (0, 1) and found.positives == positive.mean()
    assert decision(scores, np.ones(300, dtype=bool)) is None
