"""A finished run goes on to more epochs: as if asked for at once, or it says how not."""

import math
import signal
from pathlib import Path

import pytest
import torch
from forked_runs import (
    STEPS,
    assert_same_run,
    at_step,
    epochs_of,
    log_of,
    train,
)

from mtlface.training.result import read_result

SHORT = ["trainer.max_epochs=2"]
LONGER = ["trainer.max_epochs=4", "extend=true"]
LR = 1e-3
CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture(scope="module")
def data(faces, cache):
    return [f"data.root={faces}", f"data.cache={cache}"]


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def rate_in_last_epoch(folder):
    return last(folder)["optimizer_states"][0]["param_groups"][0]["lr"]


@pytest.mark.parametrize(
    "changes",
    [[], ["scheduler=plateau", "schedule.scheduler.patience=0"], ["balancing=uncertainty"]],
    ids=["constant rate", "plateau", "uncertainty"],
)
def test_an_extended_run_is_the_run_of_all_epochs_bit_for_bit(data, tmp_path, changes):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert train(whole, [*data, *changes]) == 0, log_of(whole)
    assert train(folder, [*data, *changes, *SHORT]) == 0, log_of(folder)
    short = read_result(folder / "result.json")
    assert train(folder, [*data, *changes, *LONGER]) == 0, log_of(folder)
    assert "is extended from 2 to 4 epochs" in log_of(folder)
    assert "Going on from epoch 1" in log_of(folder)
    assert epochs_of(folder) == [0, 1, 2, 3]
    assert_same_run(folder, whole)
    aside = folder / "replaced" / short["identity"]
    assert read_result(aside / "result.json") == short
    assert epochs_of(aside) == [0, 1] and (aside / "checkpoints" / "best.ckpt").is_file()
    # Both spellings know it as done.
    for command in (LONGER, ["trainer.max_epochs=4"]):
        assert train(folder, [*data, *changes, *command]) == 0
    assert log_of(folder).count("is done already") == 2


def test_a_schedule_with_an_end_becomes_that_of_the_longer_run(data, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    cosine = [*data, "scheduler=cosine", f"optimizer.lr={LR}"]
    assert train(whole, cosine) == 0, log_of(whole)
    assert train(folder, [*cosine, *SHORT]) == 0, log_of(folder)
    assert train(folder, [*cosine, *LONGER]) == 0, log_of(folder)
    # The last epoch is done again: at the second of four epochs, not of two.
    after = LR * (1 + math.cos(math.pi / 4)) / 2
    assert f"the learning rate goes from 0.0005 to {after:.3g}" in log_of(folder)
    expected = LR * (1 + math.cos(3 * math.pi / 4)) / 2
    assert rate_in_last_epoch(folder) == pytest.approx(expected)
    assert rate_in_last_epoch(folder) == rate_in_last_epoch(whole)
    # Its first epochs had other rates than those of the run of four: it is another run.
    result, direct = (read_result(f / "result.json") for f in (folder, whole))
    assert result["config"]["extended_at"] == [1] and "extended_at" not in direct["config"]
    assert result["identity"] != direct["identity"]
    assert train(folder, [*cosine, *LONGER]) == 0
    assert "is done already" in log_of(folder)
    assert train(folder, [*cosine, "trainer.max_epochs=4"]) == 0
    assert read_result(folder / "result.json")["identity"] == direct["identity"]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
@pytest.mark.slow
def test_an_extension_that_is_killed_ends_like_one_that_is_not(data, tmp_path, schedule):
    changes = [*data, f"scheduler={schedule}", "finetune=two_phase"]
    changes += ["two_phase={frozen_epochs: 1, unfrozen_lr: 1e-4}"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        assert train(folder, [*changes, *SHORT]) == 0, log_of(folder)
    assert train(whole, [*changes, *LONGER]) == 0, log_of(whole)
    # Once before the extension has written anything, and once after.
    for steps in (1, STEPS + 1):
        assert train(killed, [*changes, *LONGER], at_step, steps) == -signal.SIGKILL
        assert read_result(killed / "result.json") is None
    assert train(killed, [*changes, *LONGER]) == 0, log_of(killed)
    assert log_of(killed).count("is extended from") == 1
    assert read_result(killed / "result.json")["config"]["extended_at"] == [1]
    assert_same_run(killed, whole)


def test_the_rates_of_a_second_phase_stay_scaled(data, tmp_path):
    folder = tmp_path / "run"
    changes = [*data, "scheduler=cosine", "finetune=two_phase", f"optimizer.lr={LR}"]
    changes += ["two_phase={frozen_epochs: 1, unfrozen_lr: 1e-4}"]
    assert train(folder, [*changes, *SHORT]) == 0, log_of(folder)
    assert train(folder, [*changes, *LONGER]) == 0, log_of(folder)
    share = (1 + math.cos(3 * math.pi / 4)) / 2
    assert rate_in_last_epoch(folder) == pytest.approx(1e-4 * share)


def test_a_run_can_be_extended_twice_and_from_one_epoch(data, tmp_path):
    folder = tmp_path / "run"
    cosine = [*data, "scheduler=cosine"]
    assert train(folder, [*cosine, "trainer.max_epochs=1"]) == 0, log_of(folder)
    for epochs in (2, 3):
        longer = [f"trainer.max_epochs={epochs}", "extend=true"]
        assert train(folder, [*cosine, *longer]) == 0, log_of(folder)
        assert epochs_of(folder) == [*range(epochs)]
    # The first is a run of two epochs from the start: there was nothing to go on from.
    assert read_result(folder / "result.json")["config"]["extended_at"] == [1]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["optimizer.lr=0.5"], "differs in more than trainer.max_epochs: optimizer.lr was 0.001"),
        (["trainer.max_epochs=1"], "trainer.max_epochs=1 is not more"),
    ],
)
def test_only_more_epochs_extend(data, tmp_path, changes, complaint):
    folder = tmp_path / "run"
    assert train(folder, [*data, *SHORT]) == 0, log_of(folder)
    before = read_result(folder / "result.json")
    assert train(folder, [*data, *LONGER, *changes]) == 2
    assert complaint in log_of(folder)
    assert read_result(folder / "result.json") == before
    assert not (folder / "replaced").exists()


def test_a_run_that_stopped_early_is_not_extended(data, tmp_path):
    folder = tmp_path / "run"
    early = [*data, "patience=1", "optimizer.lr=0.3"]
    assert train(folder, [*early, "trainer.max_epochs=12"]) == 0, log_of(folder)
    assert len(epochs_of(folder)) < 12
    assert train(folder, [*early, "trainer.max_epochs=20", "extend=true"]) == 2
    assert "would stop there again" in log_of(folder)


def test_a_command_extends_the_run_of_another_name_beside(tmp_path, data, monkeypatch, caplog):
    import mtlface.train

    common = ["experiment=tiny", *data, f"--config-dir={CONF}", f"outputs={tmp_path}"]

    def command(*words):
        monkeypatch.setattr("sys.argv", ["train", *common, *words])
        with pytest.raises(SystemExit) as ended:
            mtlface.train.main()
        return ended.value.code

    assert command() == 0
    assert command("optimizer.lr=0.5", "trainer.max_epochs=3") == 0
    short = tmp_path / "tiny" / "tiny" / "celeba" / "seed=0"
    before = {p: p.stat().st_mtime_ns for p in short.rglob("*") if p.is_file()}
    assert command("trainer.max_epochs=4", "extend=true") == 0
    longer = tmp_path / "tiny" / "tiny,trainer.max_epochs=4" / "celeba" / "seed=0"
    assert epochs_of(longer) == [0, 1, 2, 3]
    said = (longer / "train.log").read_text()
    assert f"extended from 2 to 4 epochs; as it was, it is kept in {short}" in said
    assert "Going on from epoch 1" in said
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # And on from there, the longest of those that fit.
    longest = tmp_path / "tiny" / "tiny,trainer.max_epochs=5" / "celeba" / "seed=0"
    (longest / ".checkpoints.copy").mkdir(parents=True)  # of a copy that was killed
    assert command("trainer.max_epochs=5", "extend=true") == 0
    assert not (longest / ".checkpoints.copy").exists()
    assert "extended from 4 to 5" in (longest / "train.log").read_text()
    assert command("trainer.max_epochs=5", "optimizer.lr=0.1", "extend=true") == 0
    anew = tmp_path / "tiny" / "tiny,optimizer.lr=0.1,trainer.max_epochs=5" / "celeba" / "seed=0"
    assert "training starts anew" in (anew / "train.log").read_text()


def test_without_extend_more_epochs_are_a_new_run(data, tmp_path):
    folder = tmp_path / "run"
    assert train(folder, [*data, *SHORT]) == 0, log_of(folder)
    assert train(folder, [*data, "trainer.max_epochs=3"]) == 0, log_of(folder)
    assert "Going on" not in log_of(folder)
    assert len(list((folder / "replaced").iterdir())) == 1


def test_extend_without_an_earlier_run_trains(data, tmp_path):
    folder = tmp_path / "run"
    assert train(folder, [*data, *LONGER]) == 0, log_of(folder)
    assert epochs_of(folder) == [0, 1, 2, 3]
