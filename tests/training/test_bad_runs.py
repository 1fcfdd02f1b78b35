"""What goes wrong in a run is one clear error with its mend; what was finished stays."""

import errno
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from mtlface import atomic
from mtlface.door import USER_ERROR, guarded
from mtlface.errors import MtlfaceError, disk_error
from mtlface.training.checkpoint import AtomicCheckpointIO
from mtlface.training.module import MultiTaskModule
from mtlface.training.run import run
from mtlface.training.run_folder import RunFolder
from mtlface.training.unwrapped import unwrapped


@pytest.fixture
def train(composed, tmp_path):
    def of(*overrides, folder=tmp_path / "run"):
        cfg = composed("experiment=tiny", "trainer.max_epochs=3", *overrides)
        return run(cfg, folder, list(overrides))

    return of


def failing_at(step, error):
    """A training step that raises at one step, counted from 0."""
    trained, done = MultiTaskModule.training_step, []

    def failing(self, batch, batch_idx):
        done.append(batch_idx)
        if len(done) == step + 1:
            raise error
        return trained(self, batch, batch_idx)

    return failing


def test_a_loss_that_is_not_finite_names_task_step_and_the_last_good_checkpoint(
    train, tmp_path, monkeypatch
):
    losses, steps = MultiTaskModule.losses, []

    def spoilt(self, outputs, batch, **kinds):
        values, counts = losses(self, outputs, batch, **kinds)
        steps.append(self.training and torch.is_grad_enabled())  # not the constant predictor's
        if steps.count(True) == 4:  # step 3, the second of epoch 1
            values = values * torch.tensor([1.0, torch.nan])
        return values, counts

    monkeypatch.setattr(MultiTaskModule, "losses", spoilt)
    with pytest.raises(MtlfaceError) as raised:
        train()
    message = str(raised.value)
    assert "loss of 'landmarks' is not finite since step 3 (epoch 1)" in message
    assert str(RunFolder(tmp_path / "run").last) in message and "optimizer.lr" in message


def test_a_learning_rate_far_too_large_is_noticed(train, tmp_path):
    with pytest.raises(MtlfaceError, match=r"is not finite since step .* Lower optimizer\.lr"):
        train("optimizer=sgd", "optimizer.lr=1e30")
    assert not RunFolder(tmp_path / "run").best.exists(), "weights without numbers are no best ones"


def test_too_little_memory_names_a_batch_size_to_try(train, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    monkeypatch.setattr(MultiTaskModule, "training_step", failing_at(1, error))
    with pytest.raises(MtlfaceError, match=r"data.batch_size=8 .* Take data.batch_size=4"):
        train()


def test_with_one_picture_a_step_the_mend_is_another(train, monkeypatch):
    error = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"
    )
    monkeypatch.setattr(MultiTaskModule, "training_step", failing_at(0, error))
    with pytest.raises(MtlfaceError, match=r"smaller data\.image_size or a smaller backbone"):
        train("data.batch_size=1")


def test_an_error_of_the_code_is_not_explained_away(train, monkeypatch):
    monkeypatch.setattr(MultiTaskModule, "training_step", failing_at(0, RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        train()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_training(train, tmp_path):
    with pytest.raises(MtlfaceError, match=r"accelerator=gpu .* not to be had here.*trainer=cpu"):
        train("trainer=gpu")
    assert not RunFolder(tmp_path / "run").checkpoints.exists()


class _FullDisk:
    """A file on a disk with room for `room` bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        self.room -= len(memoryview(content).cast("B"))
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def full_disk(monkeypatch):
    """Files of this name do not fit any more."""

    def of(name, room=10_000):
        temporary = atomic.NamedTemporaryFile

        class Temporary:
            def __init__(self, **kwargs):
                self.whole, self.full = temporary(**kwargs), kwargs["prefix"] == f".{name}."

            def __enter__(self):
                file = self.whole.__enter__()
                return _FullDisk(file, room) if self.full else file

            def __exit__(self, *error):
                return self.whole.__exit__(*error)

        monkeypatch.setattr(atomic, "NamedTemporaryFile", Temporary)

    return of


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(full_disk, tmp_path):
    path = tmp_path / "last.ckpt"
    save = AtomicCheckpointIO().save_checkpoint
    save({"a": torch.zeros(100_000)}, path)
    before = path.read_bytes()
    full_disk("last.ckpt")
    with pytest.raises(OSError) as raised:
        save({"a": torch.ones(100_000)}, path)
    message = str(disk_error(raised.value))
    assert message.startswith(f"The disk is full: {path} could not be written")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("name", ["next-last.ckpt", "best.ckpt", "metrics.csv", "result.json"])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_once_there_is_room(
    train, full_disk, tmp_path, monkeypatch, name
):
    full_disk(name, room=100)
    with pytest.raises(MtlfaceError, match=rf"The disk is full: .*{name} .* Make room"):
        train()
    monkeypatch.undo()
    assert not (tmp_path / "run" / "result.json").exists()
    assert train()["budget"]["epochs"] == 3


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a POSIX system")
def test_a_locked_folder_is_one_clear_error(train, tmp_path, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "run"))

    # Root may write anywhere, so that a folder without permissions would prove nothing.
    monkeypatch.setattr("pathlib.Path.mkdir", locked)
    with pytest.raises(MtlfaceError, match=r"may not be read or written .*outputs="):
        train()


def test_a_door_shows_a_full_disk_in_one_line(capsys):
    def main():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/out/metrics.csv")

    with pytest.raises(SystemExit) as raised:
        guarded(main)
    shown = capsys.readouterr().err
    assert raised.value.code == USER_ERROR
    assert shown.startswith("error: The disk is full: /data/out/metrics.csv")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no"), RuntimeError("a bug"), KeyError(1)])
def test_other_errors_keep_their_stack_trace(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        guarded(main)


def test_the_run_folder_says_which_pictures_were_used_and_which_were_not(
    composed, own_faces, tmp_path
):
    pictures = own_faces / "img_align_celeba" / "img_align_celeba"
    (pictures / "000003.jpg").write_bytes(b"")
    (pictures / "000005.jpg").unlink()
    overrides = [f"data.root={own_faces}", "data.max_bad_fraction=0.2", "trainer.max_epochs=1"]
    result = run(composed("experiment=tiny", *overrides), tmp_path / "run", overrides)
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    bad = pd.read_csv(tmp_path / "run" / "bad_images.csv")
    assert list(bad.columns) == ["file", "row", "reason"] and bad["reason"].str.len().min() > 5
    assert result["trained_on"]["celeba"]["omitted"] == len(bad) == 2
    assert {"000003", "000005"} == set(bad["file"].str.extract(r"(\d{6})", expand=False).dropna())
    assert len(split) == 22 == sum(result["trained_on"]["celeba"]["counts"].values())
    assert split["split"].value_counts().to_dict() == result["trained_on"]["celeba"]["counts"]


def test_without_omissions_the_list_is_there_and_empty(train, tmp_path):
    train("trainer.max_epochs=1")
    assert (tmp_path / "run" / "bad_images.csv").read_text() == "file,row,reason\n"


def test_changed_data_is_not_gone_on_with(composed, own_faces, tmp_path, monkeypatch, caplog):
    def train():
        overrides = [f"data.root={own_faces}", "trainer.max_epochs=3"]
        return run(composed("experiment=tiny", *overrides), tmp_path / "run", overrides)

    with monkeypatch.context() as patch:
        patch.setattr(MultiTaskModule, "training_step", failing_at(4, RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            train()
    labels = own_faces / "list_attr_celeba.csv"
    labels.write_text(labels.read_text().replace(",1", ",-1", 1))
    assert train()["budget"]["epochs"] == 3
    assert "last.ckpt is of other data; starting anew" in caplog.text


@pytest.mark.slow
def test_a_real_disk_that_is_full(tmp_path, train):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        with pytest.raises(MtlfaceError, match="The disk is full"):
            train(folder=small / "run")
        assert not (small / "run" / "result.json").exists()
        assert not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_result_that_is_torn_is_no_result(train, tmp_path):
    whole = train("trainer.max_epochs=1")
    path = tmp_path / "run" / "result.json"
    path.write_text(path.read_text()[:-10])
    again = train("trainer.max_epochs=1")
    assert again["metrics"] == whole["metrics"] == json.loads(path.read_text())["metrics"]


def test_a_target_that_an_extra_brings_is_told_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(MtlfaceError, match=r"pip install 'mtlface\[identity\]' brings it"):
        built("pytorch_metric_learning.losses.ArcFaceLoss")


def test_a_mistyped_target_is_told_with_its_key():
    with pytest.raises(
        MtlfaceError, match=r"^tasks\.x\.loss asks for torch\.nn\.BCELos, .*spelling"
    ):
        built("torch.nn.BCELos")


@unwrapped()
def built(target):
    return instantiate({"tasks": {"x": {"loss": {"_target_": target}}}})
