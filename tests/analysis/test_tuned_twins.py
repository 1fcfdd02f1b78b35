"""Arms whose settings were searched: trials are no results, and alike searched twins are twins."""

import pytest

from mtlface.analysis.comparison import compare
from mtlface.analysis.results import read_runs
from mtlface.compare import main

GENDER, BOTH = {"test/gender/accuracy": 0.8}, {"test/gender/accuracy": 0.9, "test/landmarks/nme": 1}


def tuned(run_writer, lr=(0.1, 0.2), weight=(1.0, 8.0), searches=("aa", "aa"), trials=(20, 20)):
    """A multi-task arm and its twin, each with the settings that its own search chose."""
    for i, (arm, metrics) in enumerate({"new": BOTH, "new,only=gender": GENDER}.items()):
        tasks = {"gender": {"loss": "plain", "weight": weight[i]}}
        if "only" not in arm:
            tasks["landmarks"] = {"loss": "plain", "weight": 1.0}
        keys = ["optimizer.lr", *(f"tasks.{task}.weight" for task in tasks if len(tasks) > 1)]
        for seed in range(3):
            run_writer(
                arm, seed, {k: v + seed / 100 for k, v in metrics.items()}, experiment="new",
                config={"seed": seed, "optimizer": {"lr": lr[i]}, "tasks": tasks},
                tuned={"trials": trials[i], "search": searches[i], "keys": keys},
            )  # fmt: skip


def test_twins_that_were_searched_alike_are_twins_and_what_was_chosen_is_listed(
    tmp_path, run_writer
):
    tuned(run_writer)
    comparison = compare(read_runs([tmp_path]))
    (found,) = (d for d in comparison.verdicts if d.metric.task == "gender")
    assert (found.kind, found.reference) == ("sharing", "new,only=gender")
    assert found.differing == {"optimizer.lr": (0.1, 0.2)}
    assert any("were tuned apart, with 20 trials each" in note for note in comparison.notes)
    main([f"runs={tmp_path}", "figures=false"])
    assert "optimizer.lr (0.1 and 0.2)" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("changes", [{"searches": ("aa", "bb")}, {"trials": (20, 5)}])
def test_twins_of_searches_that_differ_are_none(tmp_path, run_writer, changes):
    if "trials" in changes:
        changes["searches"] = ("aa", "bb")
    tuned(run_writer, **changes)
    assert "sharing" not in {d.kind for d in compare(read_runs([tmp_path])).verdicts}


def test_a_tuned_arm_against_one_that_was_not_is_said(tmp_path, run_writer):
    run_writer("single", 0, GENDER)
    run_writer("both", 0, BOTH, tuned={"trials": 20, "search": "aa", "keys": ["lr"]})
    notes = compare(read_runs([tmp_path])).notes
    assert any("both was tuned with 20 trials and single with 0" in note for note in notes)


def test_trials_are_no_results(tmp_path, run_writer):
    run_writer("new", 0, GENDER)
    for group in ("demo_sweep/trials/new", "demo_sweep/trials"):  # of tune=, and a Hydra sweeper's
        run_writer("3", 1000, GENDER, sweep=group)
    assert [run.arm for run in read_runs([tmp_path]).runs] == ["new"]
    # Whoever points at them wants to see them.
    assert len(read_runs([tmp_path / "demo_sweep" / "trials" / "new"]).runs) == 1


def test_a_group_or_an_arm_that_is_called_trials_is_none(tmp_path, run_writer):
    run_writer("new", 0, GENDER, sweep="trials")
    run_writer("trials", 1, GENDER)
    assert len(read_runs([tmp_path]).runs) == 2
