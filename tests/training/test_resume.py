"""An interrupted run, started again, ends bit for bit where it would have ended."""

import os
import signal
import time

import pandas as pd
import pytest
import torch
from forked_runs import (
    STEPS,
    assert_same_run,
    at_step,
    before,
    every_half_minute,
    in_save,
    log_of,
    scalars,
    start,
    train,
)

from mtlface.preemption import PREEMPTED

VARIANTS = {
    "dropout, plateau": ["scheduler=plateau", "schedule.scheduler.patience=0"],
    "cosine, dwa": ["scheduler=cosine", "balancing=dwa"],
    "onecycle, famo": ["scheduler=onecycle", "balancing=famo"],
    "two phases, onecycle, uncertainty": [
        "finetune=two_phase",
        "scheduler=onecycle",
        "two_phase={frozen_epochs: 2, unfrozen_lr: 1e-4}",
        "balancing=uncertainty",
    ],
    "gradnorm, sgd": ["balancing=gradnorm", "optimizer=sgd", "optimizer.lr=1e-3"],
    "nash_mtl, accumulation": ["balancing=nash_mtl", "trainer.accumulate_grad_batches=2"],
    "graddrop, random at each step": ["balancing=graddrop"],
    "cr_mogm, smoothed weights": ["balancing=cr_mogm"],
    "early stopping": ["patience=2", "trainer.max_epochs=12", "optimizer.lr=0.03"],
    "workers": ["augment=adverse", "data.workers=1"],
}


def test_a_run_killed_in_mid_epoch_ends_like_one_that_was_not(data, whole, tmp_path):
    killed = tmp_path / "run"
    assert train(killed, data, at_step, 2 * STEPS + 1) == -signal.SIGKILL
    assert train(killed, data) == 0, log_of(killed)
    assert "Going on from epoch 2" in log_of(killed)
    assert_same_run(killed, whole)


def test_a_run_killed_in_its_first_epoch_starts_anew(data, whole, tmp_path):
    killed = tmp_path / "run"
    assert train(killed, data, at_step, 1) == -signal.SIGKILL
    assert train(killed, data) == 0, log_of(killed)
    assert_same_run(killed, whole)


# Saves alternate: best.ckpt of epoch 0, last.ckpt before epoch 1, and so on while it gets better.
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_run_killed_while_it_writes_a_checkpoint(data, whole, tmp_path, number):
    killed = tmp_path / "run"
    assert train(killed, data, in_save, number) == -signal.SIGKILL
    assert list((killed / "checkpoints").glob(".*.part")), "it was to be killed in the middle"
    assert train(killed, data) == 0, log_of(killed)
    assert_same_run(killed, whole)


def test_a_run_killed_in_its_first_half_minute_starts_anew(data, whole, tmp_path):
    killed = tmp_path / "run"
    disturb = (every_half_minute, at_step, 3 * STEPS + 1)
    assert train(killed, data, *disturb) == -signal.SIGKILL
    assert not list((killed / "checkpoints").glob("*"))
    assert train(killed, data, every_half_minute, do_nothing) == 0, log_of(killed)
    assert_same_run(killed, whole)


def do_nothing():
    pass


@pytest.mark.parametrize("moment", ["evaluate", "write_result"])
def test_a_run_killed_after_training_repeats_one_epoch_at_most(data, whole, tmp_path, moment):
    killed = tmp_path / "run"
    assert train(killed, data, every_half_minute, before, moment) == -signal.SIGKILL
    assert not (killed / "result.json").exists()
    assert train(killed, data) == 0, log_of(killed)
    assert "Going on from epoch 3" in log_of(killed)
    assert_same_run(killed, whole)


def test_a_run_killed_twice_shows_every_step_once_in_tensorboard(data, whole, tmp_path):
    killed = tmp_path / "run"
    for steps in (STEPS + 1, STEPS + 1):  # in epoch 1, and then in epoch 2
        assert train(killed, data, at_step, steps) == -signal.SIGKILL
    assert train(killed, data) == 0, log_of(killed)
    shown = scalars(killed)
    assert shown == scalars(whole)
    assert [step for step, _ in shown["val/loss"]] == [STEPS * n - 1 for n in range(1, 5)]
    shown.pop("epoch")  # Lightning writes it beside every other point
    for name, points in shown.items():
        assert len({step for step, _ in points}) == len(points), name


def test_a_run_that_is_done_is_left_alone(data, whole):
    before_it = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert train(whole, data) == 0
    assert "is done already" in log_of(whole)
    assert {path: path.stat().st_mtime_ns for path in before_it} == before_it


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_of_two_checkpoints_a_torn_one_is_recognised(data, whole, tmp_path, damage):
    killed = tmp_path / "run"
    assert train(killed, data, at_step, 3 * STEPS) == -signal.SIGKILL
    last = killed / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    last.write_bytes({"truncated": content[:-1000], "one bit": content, "empty": b""}[damage])
    assert train(killed, data) == 0, log_of(killed)
    assert "last.ckpt is torn" in log_of(killed)
    assert "Going on from epoch 2" in log_of(killed)
    assert_same_run(killed, whole)


def test_without_the_best_weights_a_run_starts_anew(data, whole, tmp_path):
    killed = tmp_path / "run"
    assert train(killed, data, at_step, 3 * STEPS) == -signal.SIGKILL
    (killed / "checkpoints" / "best.ckpt").write_bytes(b"torn")
    assert train(killed, data) == 0, log_of(killed)
    assert "best.ckpt is torn" in log_of(killed) and "starting anew" in log_of(killed)
    assert_same_run(killed, whole)


def test_a_moved_run_folder_still_knows_its_best_epoch(data, whole, tmp_path):
    assert train(tmp_path / "here", data, at_step, 3 * STEPS + 1) == -signal.SIGKILL
    (tmp_path / "here").rename(tmp_path / "there")
    assert train(tmp_path / "there", data) == 0
    assert_same_run(tmp_path / "there", whole)


def test_a_checkpoint_of_another_configuration_is_not_gone_on_from(data, whole, tmp_path):
    killed = tmp_path / "run"
    assert train(killed, [*data, "optimizer.lr=0.1"], at_step, 2 * STEPS) == -signal.SIGKILL
    assert train(killed, data) == 0
    assert "of another configuration; starting anew" in log_of(killed)
    assert_same_run(killed, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_preemption_stops_after_the_step_and_asks_to_be_queued_again(data, whole, tmp_path, number):
    stopped = tmp_path / "run"
    disturb = (every_half_minute, signal_at_step, 2 * STEPS, number)
    assert train(stopped, data, *disturb) == PREEMPTED
    assert "Stopped by the scheduler" in log_of(stopped)
    assert "Traceback" not in log_of(stopped)
    assert train(stopped, data) == 0
    assert "Going on from epoch 2" in log_of(stopped)
    assert_same_run(stopped, whole)


def signal_at_step(step, number):
    at_step(step, lambda: os.kill(os.getpid(), number))


def test_slurms_own_signal_does_not_wake_lightnings_requeueing(data, whole, tmp_path):
    stopped = tmp_path / "run"
    assert train(stopped, data, under_slurm, 2 * STEPS) == PREEMPTED
    assert not list(stopped.glob("hpc_ckpt*"))
    assert train(stopped, data) == 0
    assert_same_run(stopped, whole)


def under_slurm(step):
    os.environ |= {
        "SLURM_NTASKS": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
    }
    signal_at_step(step, signal.SIGUSR1)


def test_preemption_while_the_run_is_tested_ends_it_at_once(data, whole, tmp_path):
    stopped = tmp_path / "run"
    assert train(stopped, data, signal_before_result) == PREEMPTED
    assert train(stopped, data) == 0
    assert_same_run(stopped, whole)


def signal_before_result():
    from mtlface.training import run

    write = run.write_result

    def late(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write(*arguments)

    run.write_result = late


def test_ctrl_c_ends_with_130_and_loses_nothing(data, whole, tmp_path):
    stopped = tmp_path / "run"
    disturb = (every_half_minute, signal_at_step, 2 * STEPS, signal.SIGINT)
    assert train(stopped, data, *disturb) == 130
    assert "The same command goes on from here" in log_of(stopped)
    assert train(stopped, data) == 0
    assert "Going on from epoch 2" in log_of(stopped)
    assert_same_run(stopped, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_state_is_gone_on_from(data, tmp_path, name):
    overrides = [*data, *VARIANTS[name]]
    assert train(tmp_path / "whole", overrides) == 0, log_of(tmp_path / "whole")
    epochs = len(pd.read_csv(tmp_path / "whole" / "metrics.csv"))
    assert epochs >= 3 and (name != "early stopping" or epochs < 12)
    killed = tmp_path / "killed"
    for steps in (STEPS + 1, (epochs - 2) * STEPS + 1):  # in epoch 1, and again in the last
        assert train(killed, overrides, at_step, steps) == -signal.SIGKILL, log_of(killed)
    assert train(killed, overrides) == 0, log_of(killed)
    assert f"Going on from epoch {epochs - 1} " in log_of(killed)
    assert_same_run(killed, tmp_path / "whole")


def test_the_comparison_of_checkpoints_can_fail(whole, tmp_path):
    from forked_runs import assert_same_checkpoint

    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if name.endswith("bias"))
    checkpoint["state_dict"][name][0] += 1e-6
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(AssertionError):
        assert_same_checkpoint(tmp_path / "other.ckpt", whole / "checkpoints" / "last.ckpt")


def test_two_processes_never_write_one_folder(data, tmp_path):
    folder = tmp_path / "run"
    first = start(folder, data, hang_at_step, STEPS, tmp_path / "reached")
    try:
        wait_until((tmp_path / "reached").exists)
        assert train(folder, data) == 2
        assert "Another process is training in" in log_of(folder)
    finally:
        first.kill()
        first.join()
    # The system drops the lock of a process that is dead.
    assert train(folder, data) == 0, log_of(folder)


def hang_at_step(step, flag):
    def hang():
        flag.touch()
        time.sleep(600)

    at_step(step, hang)


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
