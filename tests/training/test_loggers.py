"""A run's log goes to the loggers that were chosen, with the real libraries, all of them local."""

import csv
import json
import sqlite3
import sys
from importlib.util import find_spec

import pytest
import torch
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.context import RequestContext

from mtlface.errors import MtlfaceError
from mtlface.training import loggers
from mtlface.training.dashboard import Dashboard
from mtlface.training.identity import RunId
from mtlface.training.loggers import LoggedRun, build_loggers, events_folder
from mtlface.training.run import run

FOUR = ("celeba_gender", "celeba_landmarks", "celeba_landmarks_gender",
        "celeba_landmarks_gender_improved")  # fmt: skip
LARGE = "data.image_size=[64,64]"
CHANGES = ("", ",balancing=uncertainty@features", ",balancing=upgrad@features", ",only=gender",
           f",{LARGE},optimizer.lr=0.01", f",{LARGE},optimizer.lr=0.02")  # fmt: skip
CUT = 27  # characters of a run's name that TensorBoard's list shows


@pytest.fixture
def train(composed, tmp_path):
    def of(*overrides, arm="tiny", folder=None):
        settings = (f"outputs={tmp_path}", f"arm='{arm}'", "trainer.max_epochs=2",
                    "trainer.log_every_n_steps=1", *overrides)  # fmt: skip
        cfg = composed("experiment=tiny", *settings)
        place = folder or tmp_path / "tiny" / arm / "celeba" / "seed=0"
        return place, run(cfg, place, list(overrides))

    return of


def rows(folder):
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def points(found, metric):
    return [(int(r["step"]), float(r[metric])) for r in found if r.get(metric)]


def test_csv_has_every_scalar_and_no_tensorboard_is_there(train, tmp_path):
    folder, result = train("logger=csv")
    found = rows(folder)
    assert [step for step, _ in points(found, "val/loss")] == [1, 3]
    assert points(found, "balance/weight/gender") and points(found, "run/lr")
    for metric in ("test/gender/accuracy", "test/landmarks/nme"):
        assert points(found, metric)[-1][1] == pytest.approx(result["metrics"][metric])
    assert "batch_size: 8" in (folder / "csv" / "hparams.yaml").read_text()
    assert not list(tmp_path.rglob("events.out*"))


def test_several_at_once_hold_the_same(train, composed, tmp_path):
    folder, _ = train("logger=[tensorboard,csv]")
    cfg = composed("experiment=tiny", f"outputs={tmp_path}", "arm=tiny")
    events = EventAccumulator(str(events_folder(cfg, folder)), size_guidance={"scalars": 0})
    events.Reload()
    found = rows(folder)
    assert "val/loss" in events.Tags()["scalars"]
    for tag in events.Tags()["scalars"]:
        seen = [(e.step, pytest.approx(e.value, rel=1e-6)) for e in events.Scalars(tag)]
        assert points(found, tag) == seen, tag


def test_without_a_logger_a_run_is_a_run(train, tmp_path):
    folder, result = train("logger=[]")
    assert "test/gender/accuracy" in result["metrics"] and (folder / "metrics.csv").is_file()
    assert not list(tmp_path.rglob("events.out*")) and not (folder / "csv").exists()


def test_an_interrupted_run_has_every_row_once(train, monkeypatch):
    class PowerCutError(Exception):
        pass

    original = Dashboard.on_train_batch_end

    def cut(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.global_step == 4:  # late in the second epoch, after the checkpoint of the first
            raise PowerCutError

    whole, _ = train("logger=csv", arm="whole")
    monkeypatch.setattr(Dashboard, "on_train_batch_end", cut)
    with pytest.raises(PowerCutError):
        train("logger=csv", arm="cut")
    monkeypatch.undo()
    folder, _ = train("logger=csv", arm="cut")
    for metric in ("train/loss", "val/loss", "test/gender/accuracy"):
        assert points(rows(folder), metric) == points(rows(whole), metric), metric


def test_mlflow_has_scalars_settings_and_images_in_the_outputs_folder(train, tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed (mtlface[mlflow])")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (mtlface[mlflow])")
    _, result = train("logger=mlflow", "figures=true")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert found.info.run_name == "tiny,celeba,seed=0" and found.info.status == "FINISHED"
    accuracy = result["metrics"]["test/gender/accuracy"]
    assert found.data.metrics["test/gender/accuracy"] == pytest.approx(accuracy)
    history = client.get_metric_history(found.info.run_id, "val/loss")
    assert [point.step for point in history] == [1, 3]
    assert found.data.params["data/batch_size"] == "8"
    images = [path.name for path in (tmp_path / "mlflow" / "artifacts").rglob("*.png")]
    assert any("val" in name for name in images) and any("confusion" in name for name in images)
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as store:
        assert store.execute("select count(*) from runs").fetchone() == (1,)


def test_wandb_is_offline_and_each_run_has_its_own(train, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed (mtlface[wandb])")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)  # even with an account
    kept = set()
    for arm in ("one", "two"):
        folder, _ = train("logger=wandb", "figures=true", arm=arm)
        (file,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
        name = (folder / "wandb_run_id").read_text()
        kept.add(name)
        content = file.read_bytes()
        assert name in file.name and b"test/gender/accuracy" in content
        media = file.parent / "files" / "media" / "images"
        assert list(media.rglob("*.png")), "no image"
    assert len(kept) == 2


def test_trackio_has_scalars_and_images_in_the_outputs_folder(train, tmp_path, monkeypatch):
    if find_spec("trackio") is None:
        pytest.skip("trackio is not installed (mtlface[trackio])")
    if "trackio" in sys.modules:
        pytest.skip("trackio is imported: it has its folder already")
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    _, result = train("logger=trackio", "figures=true")
    (file,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(file) as store:
        found = [json.loads(text) for (text,) in store.execute("select metrics from metrics")]
    values = [row["test/gender/accuracy"] for row in found if "test/gender/accuracy" in row]
    assert values == [pytest.approx(result["metrics"]["test/gender/accuracy"])]
    assert list((tmp_path / "trackio" / "media").rglob("*.png"))


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_missing_library_is_an_error_that_names_the_extra(train, name, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    with pytest.raises(MtlfaceError, match=rf"logger\.{name} needs {name}.*mtlface\[{name}\]"):
        train(f"logger={name}")


def test_a_logger_of_ones_own_is_built_and_one_that_is_none_is_refused(train, tmp_path):
    own = f"_target_: lightning.pytorch.loggers.CSVLogger, save_dir: {tmp_path}, name: null"
    train(f"+logger.own={{{own}}}", arm="own")
    assert (tmp_path / "version_0" / "metrics.csv").is_file()
    with pytest.raises(MtlfaceError, match=r"logger\.own\._target_ .* makes no logger"):
        train("+logger.own={_target_: pathlib.Path}", arm="none")
    with pytest.raises(MtlfaceError, match=r"logger\.own asks for no\.such\.Thing"):
        train("+logger.own={_target_: no.such.Thing}", arm="absent")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("+logger.x=1", "logger.x=1"),
        ("logger=wandb logger.wandb.mode=dryrun", "logger.wandb.mode"),
        ("logger=mlflow logger.mlflow.tracking_uri=7", "logger.mlflow.tracking_uri"),
        ("logger=csv +logger.csv.lines=1", "lines"),
    ],
)
def test_a_value_that_is_none_is_refused_by_its_key(train, override, key):
    with pytest.raises(MtlfaceError) as error:
        train(*override.split())
    assert key in str(error.value) and "\n" not in str(error.value)


def test_the_loggers_are_no_part_of_what_a_run_is_nor_of_its_checkpoint(train, composed):
    plain = composed("experiment=tiny")
    other = composed(
        "experiment=tiny", "logger=[csv,mlflow]", "logger.mlflow.tracking_uri=http://u:p@h"
    )
    assert RunId.of(plain).fingerprint == RunId.of(other).fingerprint
    folder, _ = train("logger=csv")
    for file in (folder / "checkpoints").glob("*.ckpt"):
        held = torch.load(file, weights_only=True)
        assert "logger" not in held["mtlface"]["config"] and "training.loggers" not in str(held)


def provider(folder):
    """What TensorBoard itself reads of a log folder."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return data_provider.MultiplexerDataProvider(multiplexer, str(folder))


def test_two_runs_show_as_two_with_their_settings_and_curves(train, tmp_path):
    for arm in ("tiny", "tiny,optimizer.lr=0.1"):
        train("figures=true", arm=arm)
    found = provider(tmp_path / "tensorboard")
    asked = {"experiment_id": "x"}
    runs = [r.run_name for r in found.list_runs(RequestContext(), **asked)]
    assert sorted(name.partition("/")[0] for name in runs) == ["tiny,0.1,seed=0", "tiny,seed=0"]
    rows = found.list_tensors(RequestContext(), plugin_name="hparams", **asked)
    assert {run: set(tags) for run, tags in rows.items()} == {
        run: {"_hparams_/session_start_info", "_hparams_/session_end_info"} for run in runs
    }
    curves = found.list_tensors(RequestContext(), plugin_name="pr_curves", **asked)
    assert {run: set(tags) for run, tags in curves.items()} == {
        run: {"val/gender", "test/gender"} for run in runs
    }
    assert {r.run_name for r in provider(tmp_path).list_runs(RequestContext(), **asked)} == {
        f"tensorboard/{run}" for run in runs
    }


def test_a_precision_recall_curve_is_that_of_the_predictions(train, composed, tmp_path):
    folder, _ = train("figures=true")
    cfg = composed("experiment=tiny", f"outputs={tmp_path}", "arm=tiny")
    events = EventAccumulator(str(events_folder(cfg, folder)), size_guidance={"tensors": 0})
    from tensorboard.util.tensor_util import make_ndarray

    (event,) = events.Reload().Tensors("test/gender")
    hits, false_alarms, *_ = make_ndarray(event.tensor_proto)
    with (folder / "test_predictions.csv").open(newline="") as file:
        truth = [r["gender_true"] for r in csv.DictReader(file)]
    assert hits[0] == truth.count("male") and hits[0] + false_alarms[0] == len(truth)
    assert [e.step for e in events.Tensors("val/gender")] == [1, 3]


def test_names_differ_where_tensorboard_cuts_them(composed, tmp_path):
    names = set()
    for experiment in FOUR:
        cfg = composed(f"experiment={experiment}", f"outputs={tmp_path}")
        for change in CHANGES:
            for cfg.seed in (0, 1):
                cfg.arm = f"{experiment}{change}"
                events = events_folder(cfg, tmp_path / "x")
                names.add(str(events.relative_to(tmp_path / "tensorboard"))[:CUT])
    assert len(names) == len(FOUR) * len(CHANGES) * 2


def test_a_run_folder_outside_of_outputs_has_its_events_in_itself(composed, tmp_path):
    cfg = composed("experiment=tiny", f"outputs={tmp_path / 'outputs'}")
    assert events_folder(cfg, tmp_path / "here") == tmp_path / "here" / "tensorboard"


def test_a_replaced_run_keeps_its_events(train, tmp_path):
    folder, first = train()
    train("optimizer.lr=0.5")
    aside = folder / "replaced" / first["identity"]
    assert list((aside / "tensorboard").glob("events.out*"))
    assert len(list((tmp_path / "tensorboard").rglob("events.out*"))) == 1


def test_the_run_id_of_a_store_is_kept_by_a_run_that_goes_on_only(composed, tmp_path):
    cfg = composed("experiment=tiny")
    LoggedRun.of(cfg, tmp_path, 0).kept_id("wandb", "abc")
    assert LoggedRun.of(cfg, tmp_path, 4).kept_id("wandb") == "abc"
    assert LoggedRun.of(cfg, tmp_path, 0).kept_id("wandb") is None


def test_mlflow_goes_on_with_its_run(composed, tmp_path):
    if find_spec("mlflow") is None or find_spec("sqlalchemy") is None:
        pytest.skip("mlflow is not installed (mtlface[mlflow])")
    cfg = composed("experiment=tiny", "logger=mlflow", f"outputs={tmp_path}")
    ids = [
        build_loggers(cfg.logger, LoggedRun.of(cfg, tmp_path / "x", step))[0].run_id
        for step in (0, 4, 0)
        if (tmp_path / "x").mkdir(exist_ok=True) is None
    ]
    assert ids[0] == ids[1] != ids[2]
