"""A checkpoint from a stranger is data: whatever it names or brings, nothing of it runs."""

import copy
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mtlface.data.schema import Labels
from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.models import registry
from mtlface.training.build import build_datamodule
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.evaluation import predict_split, prediction_table
from mtlface.training.network import load_network
from mtlface.training.run import run
from mtlface.training.trusted import check_readers, is_allowed


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    overrides = ["balancing=famo", "scheduler=cosine", "trainer.max_epochs=1"]
    run(composed("experiment=tiny", *overrides), folder, overrides)
    return folder


@pytest.fixture
def checkpoint(trained):
    return load_checkpoint(trained / "checkpoints" / "best.ckpt")


@pytest.fixture
def config(checkpoint):
    return checkpoint[EXTRA]["config"]


@pytest.fixture
def marker(tmp_path):
    """Not there after a test: an attack would have made it."""
    path = tmp_path / "attacked"
    yield path
    assert not path.exists()


@pytest.fixture
def refused(checkpoint, config, tmp_path):
    def by_network(match, changed=config):
        checkpoint[EXTRA]["config"] = changed
        path = tmp_path / "strange.ckpt"
        torch.save(checkpoint, path)
        with pytest.raises(MtlfaceError, match=match):
            _, found, _ = load_network(path)
            check_readers(OmegaConf.to_container(found.data))  # as whoever builds the data does

    return by_network


def at(config, place, value):
    """A copy of a config with a value at `a.b.c`."""
    changed = copy.deepcopy(config)
    *path, last = place.split(".")
    section = changed
    for key in path:
        section = section[key]
    section[last] = value
    return changed


def test_a_network_is_rebuilt_from_its_checkpoint_alone(trained, composed):
    module, config, labels = load_network(trained / "checkpoints" / "best.ckpt")
    assert config.name == "tiny" and set(labels) >= {"gender", "landmarks"}
    datamodule = build_datamodule(composed("experiment=tiny"))
    datamodule.batch_labels = ("gender", "landmarks")
    found = predict_split(module, datamodule.split("test"), 4, torch.device("cpu"))
    table = prediction_table(module, found, datamodule.table)
    written = pd.read_csv(trained / "test_predictions.csv")
    assert list(table["image"]) == list(written["image"])
    np.testing.assert_allclose(
        table["gender_probability"], written["gender_probability"], rtol=1e-5
    )


def test_no_weights_are_fetched_or_read_for_a_network(config, checkpoint, tmp_path, monkeypatch):
    def fetch(*_, **__):
        pytest.fail("weights were asked for")

    monkeypatch.setattr(registry, "downloading", fetch)
    monkeypatch.setattr("mtlface.models.scratch.load_weights", fetch)
    for pretrained in (True, "/etc/passwd"):
        checkpoint[EXTRA]["config"] = at(config, "backbone.pretrained", pretrained)
        torch.save(checkpoint, tmp_path / "pretrained.ckpt")
        _, loaded, _ = load_network(tmp_path / "pretrained.ckpt")
        assert loaded.pretrained is False and loaded.backbone.pretrained is False


def test_a_strangers_folders_are_not_written_to(config, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFACE_CACHE", "/my/cache")
    changed = at(at(config, "data.cache", str(tmp_path / "x")), "outputs", str(tmp_path / "x"))
    checkpoint[EXTRA]["config"] = changed
    torch.save(checkpoint, tmp_path / "folders.ckpt")
    _, loaded, _ = load_network(tmp_path / "folders.ckpt")
    assert loaded.data.cache == "/my/cache" and loaded.outputs == "outputs"


@pytest.mark.parametrize("place", ["", "state_dict", EXTRA])
def test_a_pickle_in_a_checkpoint_is_not_run(checkpoint, tmp_path, marker, place):
    bomb = _Bomb(marker)
    holder = checkpoint if not place else checkpoint[place]
    holder["bomb"] = bomb
    path = tmp_path / "bomb.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(MtlfaceError, match="more than tensors and plain data"):
        load_network(path)


def test_a_bare_pickle_with_the_name_of_a_checkpoint_is_not_run(tmp_path, marker):
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(pickle.dumps(_Bomb(marker)))
    with pytest.raises(MtlfaceError, match="torn, or holds more"):
        load_network(path)


class _Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_the_bomb_of_these_tests_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(_Bomb(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()
    instantiate({"_target_": "os.mkdir", "path": str(tmp_path / "made too")})
    assert (tmp_path / "made too").is_dir()


ATTACKS = [
    "os.mkdir",
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "pathlib.Path.touch",
    "hydra.utils.get_method",
    "hydra.utils.call",
    "hydra.utils.instantiate",
    "functools.partial",
    "importlib.import_module",
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load_inline",
    "torch.nn.functional.os.mkdir",
    "torch.nn.modules.module.torch.hub.load",
    "torch.optim.lr_scheduler.types.os.mkdir",
    "torch.nn.Module",
    "torch.nn.os",
    "torch.nn.MSELoss.__init__",
    "torch.optim.Adam.__class__",
    "mtlface.atomic.write_text",
    "mtlface.data.archive.unpack",
    "mtlface.data.archive.shutil.rmtree",
    "mtlface.tasks.scores.np.load",
    "mtlface.models.weights.load_weights",
    "mtlface.models.registry.Path",
    "mtlface.training.run.run",
    "mtlface.data.datamodule.FaceDataModule",
    "lightning.Trainer",
    "tests.conftest.write_faces",
    "",
    ".",
    "os",
    "mtlface.models.",
    "mtlface.models..cnn3",
    "mtlface.models.cnn3\n",
]
PLACES = ["backbone", "tasks.gender", "tasks.gender.loss", "tasks.landmarks.head", "data.reader"]


@pytest.mark.parametrize("target", ATTACKS)
def test_a_target_that_is_not_on_the_list_is_refused(config, refused, marker, target):
    for place in PLACES:
        refused("is refused", at(config, place, {"_target_": target, "path": str(marker)}))


def test_a_target_is_refused_wherever_it_hides(config, refused, marker):
    attack = {"_target_": "os.mkdir", "path": str(marker)}
    for changed in (
        config | {"unknown": attack},
        config | {"unknown": [[1, {"deep": [attack]}]]},
        at(config, "scores", {"mine": attack}),
        at(config, "tasks.gender.head.extra", attack),
        at(config, "augment", attack),
        at(config, "optimizer", attack | {"_partial_": True}),
        at(config, "trainer.callbacks", [attack]),
        at(config, "trainer", attack),
        at(config, "data", attack | {"image_size": [32, 32]}),
    ):
        refused("is refused", changed)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_args_", ["x"]),
        ("_recursive_", False),
        ("_convert_", "all"),
        ("_partial_", "true"),
        ("_target_", ["os.mkdir"]),
        ("_target_", {"_target_": "os.mkdir"}),
        ("__class__", "x"),
    ],
)
def test_hydras_other_directives_are_refused(config, refused, key, value):
    for place in ("backbone", "tasks.gender", "tasks.gender.loss"):
        refused("is refused", at(config, f"{place}.{key}", value))


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${x} b", "${oc.decode:${y}}", r"\${x}"])
def test_an_interpolation_is_refused_not_resolved(config, refused, text):
    for place in ("name", "tasks.gender.label", "backbone._target_", "data.root"):
        refused("is refused", at(config, place, text))
    refused("is refused", config | {text: 1})


@pytest.mark.parametrize(
    "changed",
    [
        None,
        [],
        "text",
        {},
        {"tasks": {}},
        {"backbone": {}},
        {"seed": "0"},
        {"data": None},
        {"data": {"image_size": [10**9, 10**9]}},
        {"data": {"image_size": "32"}},
        {"tasks": {"gender": None}},
        {"tasks": {"gender": []}},
        {"name": torch.zeros(1)},
        {1: 2},
        {"deep": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]},
        {"large": [0] * 200_000},
    ],
)
def test_a_config_of_another_shape_is_refused(config, refused, changed):
    refused("is refused", config | changed if isinstance(changed, dict) and changed else changed)


@pytest.mark.parametrize(
    "labels",
    [None, 3, "x", [3], [{}], [{"kind": "os"}], [{"kind": "binary", "name": "gender", "x": 1}], []],
)
def test_a_strange_label_schema_is_a_clear_error(checkpoint, tmp_path, labels):
    checkpoint[EXTRA]["labels"] = labels
    torch.save(checkpoint, tmp_path / "labels.ckpt")
    with pytest.raises(MtlfaceError):
        load_network(tmp_path / "labels.ckpt")


def test_weights_that_do_not_fit_are_a_clear_error(checkpoint, tmp_path):
    del checkpoint["state_dict"][next(k for k in checkpoint["state_dict"] if "backbone" in k)]
    torch.save(checkpoint, tmp_path / "short.ckpt")
    with pytest.raises(MtlfaceError, match="cannot be built from its own config"):
        load_network(tmp_path / "short.ckpt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04}.", os.urandom(1000)])
def test_a_file_that_is_no_checkpoint_is_a_clear_error(tmp_path, content):
    (tmp_path / "file.ckpt").write_bytes(content)
    with pytest.raises(MtlfaceError, match=r"file\.ckpt is torn"):
        load_network(tmp_path / "file.ckpt")


def test_another_programs_checkpoint_is_a_clear_error(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(MtlfaceError, match="no checkpoint of mtlface"):
        load_network(tmp_path / "other.ckpt")


def test_every_target_of_the_projects_configs_is_allowed():
    named = {
        (path.parent.name, target)
        for folder in (config_folder(), Path(__file__).parents[1] / "conf")
        for path in folder.rglob("*.yaml")
        for target in re.findall(r"_target_: ([\w.]+)", path.read_text())
    }
    assert len(named) > 40
    for group, target in named:
        place = {
            "lightning.Trainer": "trainer",
            "mtlface.data.datamodule.FaceDataModule": "data",
        }.get(target, "data.reader" if group == "data" else "tasks.any")
        # Checkpoints hold no loggers, and so may name none.
        assert is_allowed(target, place) == (group != "logger"), (group, target)


def test_objects_of_ones_own_can_be_trusted():
    assert not is_allowed("my_faces.heads.big_head", "tasks.gender.head")
    assert is_allowed("my_faces.heads.big_head", "tasks.gender.head", trusted=["my_faces"])
    assert not is_allowed("my_faces_too.heads.big_head", "tasks.gender.head", trusted=["my_faces"])
    assert not is_allowed("my_faces.heads._hidden", "tasks.gender.head", trusted=["my_faces", ""])


def test_a_label_schema_survives_its_checkpoint(checkpoint):
    described = checkpoint[EXTRA]["labels"]
    assert json.loads(json.dumps(described)) is not None
    assert Labels.from_dict(described).to_dict() == described


def test_what_is_cut_off_inside_is_found(trained, tmp_path):
    """A zip whose table of contents is whole, with a part that is not."""
    whole = (trained / "checkpoints" / "best.ckpt").read_bytes()
    buffer = io.BytesIO(whole)
    with zipfile.ZipFile(buffer) as parts:
        largest = max(parts.infolist(), key=lambda part: part.file_size)
    damaged = bytearray(whole)
    start = largest.header_offset + 200
    damaged[start : start + 8] = bytes(8 * [0xAA])
    (tmp_path / "damaged.ckpt").write_bytes(damaged)
    with pytest.raises(MtlfaceError, match="is torn"):
        load_checkpoint(tmp_path / "damaged.ckpt")
