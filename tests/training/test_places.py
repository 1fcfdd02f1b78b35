"""What is handed on has no path of this machine in it, and one's own runs work as before."""

import shutil
import zipfile
from pathlib import Path

import pytest

import mtlface
from mtlface.errors import MtlfaceError
from mtlface.evaluate import main as evaluate
from mtlface.export import main as export
from mtlface.training.places import NOT_KEPT, without_places
from mtlface.training.run import run

PACKAGE = str(Path(mtlface.__file__).parent).encode()


@pytest.fixture(scope="module")
def janes(composed, faces, tmp_path_factory):
    """A run of a user whose name is in every path, and those paths."""
    home = tmp_path_factory.mktemp("home") / "jane.doe"
    shutil.copytree(faces, home / "faces")
    split = home / "split.csv"
    rows = [
        f"{path.name},{'val' if i % 3 == 0 else 'test' if i % 3 == 1 else 'train'}"
        for i, path in enumerate(sorted((home / "faces").rglob("*.jpg")))
    ]
    split.write_text("image,split\n" + "\n".join(rows) + "\n")
    folder = home / "outputs" / "tiny" / "tiny" / "celeba" / "seed=0"
    words = (f"data.root={home / 'faces'}", f"data.cache={home / 'cache'}", f"data.split={split}")
    cfg = composed("experiment=tiny", *words, f"outputs={home / 'outputs'}")
    run(cfg, folder, [])
    return folder


def contents(path):
    """The bytes of a file, of a zip's parts each."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        return b"".join(parts.read(name) for name in parts.namelist())


def test_no_checkpoint_and_no_bundle_has_a_path_or_a_users_name(janes, tmp_path):
    pytest.importorskip("onnxscript", reason="needs mtlface[export]")
    export([f"checkpoint={janes}", f"output={tmp_path / 'bundle'}"])
    handed_on = [*(janes / "checkpoints").glob("*.ckpt"), *(tmp_path / "bundle").iterdir()]
    assert {path.suffix for path in handed_on} >= {".ckpt", ".onnx", ".pt2", ".yaml", ".md"}
    for path in handed_on:
        found = contents(path)
        assert b"jane.doe" not in found, path
        assert PACKAGE not in found, path


def test_evaluate_finds_the_data_of_a_run_by_its_folder(janes, tmp_path):
    assert evaluate([f"checkpoint={janes}", "device=cpu", f"output={tmp_path / 'own'}"]) == 0
    alone = tmp_path / "best.ckpt"
    shutil.copy(janes / "checkpoints" / "best.ckpt", alone)
    with pytest.raises(MtlfaceError, match=r"keeps no path of its data.*data\.root=<folder>"):
        evaluate([f"checkpoint={alone}", "device=cpu"])
    root = janes.parents[4] / "faces"
    words = [f"data.root={root}", f"data.split={root.parent / 'split.csv'}"]
    assert evaluate([f"checkpoint={alone}", "device=cpu", *words]) == 0


def test_a_config_of_another_run_in_the_folder_is_not_believed(janes, tmp_path):
    folder = tmp_path / "seed=0"
    shutil.copytree(janes, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("batch_size: 8", "batch_size: 9"))
    with pytest.raises(MtlfaceError, match="keeps no path of its data"):
        evaluate([f"checkpoint={folder}", "device=cpu"])


def test_the_place_of_weights_to_start_from_is_not_kept(tmp_path):
    weights = tmp_path / "jane.doe.pth"
    weights.write_bytes(b"weights")
    for path in (weights, tmp_path / "gone" / "jane.doe.pth"):
        backbone = {"_target_": "mtlface.models.cnn3", "pretrained": str(path)}
        found = without_places({"backbone": backbone, "pretrained": str(path)})
        assert "jane.doe" not in str(found)
        assert found["backbone"]["_target_"] == "mtlface.models.cnn3"
    assert without_places({"backbone": {"pretrained": True}}) == {"backbone": {"pretrained": True}}


def test_the_users_own_arguments_of_what_is_built_again_stay():
    backbone = {"_target_": "mine.Net", "table": "/home/jane/table.npy"}
    config = {
        "backbone": backbone,
        "data": {"root": "~/faces", "reader": {"file": "/home/jane/x.csv"}, "terms": "free"},
        "outputs": "runs",
    }
    assert without_places(config) == {
        "backbone": backbone,
        "data": {"root": NOT_KEPT, "reader": {"file": NOT_KEPT}, "terms": "free"},
        "outputs": NOT_KEPT,
    }
