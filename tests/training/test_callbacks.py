"""The callbacks hold what they promise without a whole run around them."""

from types import SimpleNamespace

import pytest
import torch

from mtlface import preemption
from mtlface.training.callbacks import BestCheckpoint, EpochSeed, History, LastCheckpoint
from mtlface.training.checkpoint_writer import CheckpointWriter
from mtlface.training.run_folder import RunFolder


def trainer(epoch, **more):
    counts = SimpleNamespace(ready=epoch + 1)
    progress = SimpleNamespace(current=counts, total=counts)
    return SimpleNamespace(
        current_epoch=epoch,
        global_rank=0,
        is_global_zero=True,
        fit_loop=SimpleNamespace(epoch_progress=progress),
        **more,
    )


def test_an_epochs_randomness_depends_on_seed_and_epoch_alone():
    def draw(seed, epoch):
        torch.rand(epoch + seed)  # whatever happened before
        EpochSeed(seed).on_train_epoch_start(trainer(epoch), None)
        return torch.rand(3).tolist()

    assert draw(1, 5) == draw(1, 5)
    assert draw(1, 5) != draw(1, 6) != draw(2, 6)


def test_what_a_run_goes_on_from_is_not_saved_twice(tmp_path):
    callback = LastCheckpoint(CheckpointWriter(RunFolder(tmp_path)))
    resumed = trainer(3, save_checkpoint=lambda *_, **__: pytest.fail("it is there already"))
    callback.on_train_start(resumed, None)
    callback.on_train_epoch_start(resumed, None)


def test_the_best_score_survives_a_move():
    here, there = (
        BestCheckpoint(folder, "best", monitor="val/loss") for folder in ("/here", "/there")
    )
    here.best_model_score = here.kth_value = torch.tensor(0.5)
    here.best_model_path = here.kth_best_model_path = "/here/best.ckpt"
    here.best_k_models = {"/here/best.ckpt": torch.tensor(0.5)}
    there.load_state_dict(here.state_dict())
    assert there.best_model_score == 0.5 and there.best_model_path == "/there/best.ckpt"
    assert list(there.best_k_models) == ["/there/best.ckpt"]


def test_the_history_goes_on_without_doubled_rows(tmp_path):
    def epoch(history, number):
        found = {"val/loss": torch.tensor(1.0 / (number + 1)), "val/nan": torch.tensor(torch.nan)}
        history.on_train_epoch_start(trainer(number), None)
        history.on_train_epoch_end(trainer(number, callback_metrics=found), None)

    whole, first = History(tmp_path / "whole.csv"), History(tmp_path / "history.csv")
    for number in range(3):
        epoch(whole, number)
    epoch(first, 0)
    state = first.state_dict() | {"rows": list(first.rows)}
    epoch(first, 1)  # its checkpoint was never written
    second = History(tmp_path / "history.csv")
    second.load_state_dict(state)
    epoch(second, 1)
    epoch(second, 2)
    assert (tmp_path / "history.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "whole.csv").read_text().splitlines()[1] == "0,1.0,"


def test_without_a_step_to_wait_for_a_signal_ends_the_process_at_once(monkeypatch):
    monkeypatch.setattr(preemption, "_asked", False)
    with pytest.raises(SystemExit) as raised:
        preemption._stop(15, None)
    assert raised.value.code == preemption.PREEMPTED == 75


def test_a_signal_that_came_while_nobody_looked_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(preemption, "_waits_for_step", True)
    monkeypatch.setattr(preemption, "_asked", False)
    preemption.check()
    preemption._stop(15, None)
    with pytest.raises(preemption.Preempted):
        preemption.check()
