"""A stranger's checkpoint names data, folders and sizes: nothing is read or written for it."""

import time

import pytest
import torch

from mtlface.errors import MtlfaceError
from mtlface.evaluate import main as evaluate
from mtlface.export import main as export
from mtlface.predict import main as predict
from mtlface.training import network as networks
from mtlface.training.checkpoint import EXTRA, load_checkpoint


@pytest.fixture
def stranger(trained, tmp_path):
    """Writes a checkpoint whose config is changed at `a.b`, alone in a folder."""

    def write(**changes):
        checkpoint = load_checkpoint(trained / "checkpoints" / "best.ckpt")
        for place, value in changes.items():
            node = checkpoint[EXTRA]["config"]
            *parents, last = place.split("__")
            for part in parents:
                node = node[part]
            node[last] = value
        path = tmp_path / "far" / "best.ckpt"
        path.parent.mkdir()
        torch.save(checkpoint, path)
        return path

    return write


@pytest.mark.parametrize(
    ("place", "value"),
    [("data__name", "../../elsewhere"), ("data__name", "/tmp/elsewhere"), ("name", "a/../../b")],
)
def test_a_name_that_leads_elsewhere_is_refused(stranger, pictures, place, value, tmp_path):
    path = stranger(**{place: value})
    for command, more in (
        (evaluate, []),
        (predict, [f"images={pictures[0]}"]),
        (export, ["output=b"]),
    ):
        with pytest.raises(MtlfaceError, match="no file or folder can be called"):
            command([f"checkpoint={path}", *more])
    assert [p.name for p in tmp_path.rglob("*")] == ["far", "best.ckpt"]


def test_data_that_no_run_of_ones_own_had_is_neither_listed_nor_fetched(
    stranger, faces, tmp_path, monkeypatch
):
    monkeypatch.setattr("mtlface.data.source.resolve", lambda *_, **__: pytest.fail("was read"))
    path = stranger(data__root=str(tmp_path))
    with pytest.raises(MtlfaceError, match=f"comes from {tmp_path}, and no run of yours"):
        evaluate([f"checkpoint={path}"])
    path.unlink(), path.parent.rmdir()
    path = stranger(data__root=None, data__source="kaggle", data__kaggle="evil/faces/versions/1")
    with pytest.raises(MtlfaceError, match=r"Kaggle's evil/faces/versions/1.*data\.source=kaggle"):
        evaluate([f"checkpoint={path}"])


def test_where_the_command_line_says_so_it_is_read(stranger, faces, cache, tmp_path):
    path = stranger(data__root="/nowhere")
    words = [f"data.root={faces}", f"data.cache={cache}", f"output={tmp_path / 'out'}"]
    assert evaluate([f"checkpoint={path}", *words, "device=cpu"]) == 0


def test_a_working_size_beyond_the_memory_is_one_clear_error(stranger, pictures, monkeypatch):
    monkeypatch.setattr(networks, "free_memory", lambda: 2**30)
    path = stranger(data__image_size=[8192, 8192])
    for command, more in (
        (evaluate, []),
        (predict, [f"images={pictures[0]}"]),
        (export, ["output=b"]),
    ):
        with pytest.raises(MtlfaceError, match=r"8192x8192 px.*GiB are free here"):
            command([f"checkpoint={path}", *more])


def test_this_machine_says_how_much_memory_is_free():
    assert 2**20 < networks.free_memory() < 2**50


def test_a_model_card_has_no_html_of_a_strangers(stranger, tmp_path):
    path = stranger(name="<script>alert(1)</script>", data__terms="<img src=x onerror=y>")
    words = [f"checkpoint={path}", f"output={tmp_path / 'b'}", "onnx=false", "program=false"]
    with pytest.raises(MtlfaceError, match="no file or folder can be called"):
        export(words)  # the slash of </script>
    path.unlink(), path.parent.rmdir()
    path = stranger(name="<script>alert(1)", data__terms="<img src=x onerror=y>")
    export([f"checkpoint={path}", *words[1:]])
    card = (tmp_path / "b" / "MODEL_CARD.md").read_text()
    assert "&lt;script>alert(1)" in card and "<script" not in card and "<img" not in card


@pytest.mark.parametrize("width", [9, 1])
def test_a_yaml_bomb_in_a_bundle_is_refused_at_once(trained, tmp_path, width):
    folder = tmp_path / "bundle"
    export([f"checkpoint={trained}", f"output={folder}", "onnx=false", "program=false"])
    levels = 24
    lines = [f"a0: &a0 [{', '.join(['x'] * 9)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    config = folder / "config.yaml"
    config.write_text(config.read_text() + "\n".join(lines) + "\n")
    started = time.monotonic()
    with pytest.raises(MtlfaceError, match="larger or deeper than any config is"):
        evaluate([f"checkpoint={folder}"])
    assert time.monotonic() - started < 20
