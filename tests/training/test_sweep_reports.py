import logging
import os
import sys
from pathlib import Path

from hydra.conf import OverridesConf
from rich.console import Console

from mtlface.training.identity import RunId
from mtlface.training.ranks import is_first_rank, repeatable
from mtlface.training.reports import Lines, Outcome, Progress, duration, name_of
from mtlface.training.sweeps.overview import Overview
from mtlface.training.sweeps.plan import PlannedRun
from mtlface.training.sweeps.summary import summary

FOLDERS = [Path(f"/out/group/arm/celeba/seed={seed}") for seed in range(40)]
ANY = RunId({}, {})
RUNS = [PlannedRun(("experiment=x", f"seed={i}"), folder, ANY) for i, folder in enumerate(FOLDERS)]


def shown(renderable, height=20):
    console = Console(width=120, height=height)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_overview_shows_where_each_run_is():
    overview = Overview(RUNS[:3], Console(width=120, height=20))
    overview.ended(Outcome(FOLDERS[0], "done", 60.0))
    overview.started(FOLDERS[1])
    overview.went_on(FOLDERS[1], Progress(2.5, 8, "val/loss", 0.5, 0.4, 75.0))
    text = shown(overview.table())
    assert "2.5/8" in text and "val/loss 0.4" in text and "1 min 15 s" in text
    assert "done, 1 min 00 s" in text and "waiting" in text and "1 of 3 runs over" in text


def test_the_names_of_arms_and_errors_are_text_and_never_markup(capsys):
    run = PlannedRun(("task=[gender,age]",), Path("/out/g/ff,task=[gender,age]/celeba/seed=0"), ANY)
    console = Console(width=120, height=20)
    overview = Overview([run], console)
    assert "ff,task=[gender,age]" in shown(overview.table())
    overview.ended(Outcome(run.folder, "failed", error="no [disk]"))
    said = capsys.readouterr().out
    assert "ff,task=[gender,age]" in said and "no [disk]" in said


def test_a_long_sweep_keeps_the_running_line_on_the_screen():
    overview = Overview(RUNS, Console(width=120, height=12))
    overview.started(FOLDERS[30])
    text = shown(overview.table(), height=12)
    assert "reading data" in text and len(text.splitlines()) <= 12


def test_lines_are_few_however_short_the_epochs_are(caplog):
    lines = Lines()
    with caplog.at_level(logging.INFO):
        for epoch in range(1, 301):
            lines.went_on(FOLDERS[0], Progress(float(epoch), 300, "val/loss", 1.0, 1.0, 1.0))
            lines.went_on(FOLDERS[0], Progress(epoch + 0.5, 300, "val/loss", 1.0, 1.0, 1.0))
    assert [m.partition(":")[0] for m in caplog.messages] == ["arm on celeba, seed=0"] * 2
    assert "epoch 300/300" in caplog.messages[-1]


def test_a_reason_is_told_once_however_many_runs_have_it():
    ended = {run.folder: Outcome(run.folder, "failed", error="no such disk") for run in RUNS[:9]}
    text = shown(summary(RUNS[:9], ended, []), height=60)
    assert text.count("no such disk") == 1 and text.count("failed [1]") == 9
    assert "python -m mtlface.train -m experiment=x seed=0,1,2,3,4,5,6,7,8" in text


def test_a_rank_repeats_its_run_and_not_the_sweep(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "experiment=a,b", "hydra/launcher=joblib"])
    overrides = OverridesConf(
        hydra=["hydra.mode=MULTIRUN", "hydra.searchpath=[file:///own]"], task=["experiment=b"]
    )
    before = list(sys.argv)
    with repeatable(overrides):
        assert sys.argv[1:] == [
            "experiment=b", "hydra.searchpath=[file:///own]", "hydra.mode=RUN"
        ]  # fmt: skip
        assert sys.modules["__main__"].__spec__.name == "mtlface.train"
        os.environ["LOCAL_RANK"] = "0"
    assert sys.argv == before and "LOCAL_RANK" not in os.environ


def test_the_first_rank_is_known_from_the_environment(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert is_first_rank()
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert not is_first_rank()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert is_first_rank(), "Lightning looks for LOCAL_RANK before SLURM_PROCID"


def test_words():
    assert [duration(s) for s in (9.6, 65, 7260)] == ["10 s", "1 min 05 s", "2 h 01 min"]
    assert name_of(FOLDERS[3]) == "arm on celeba, seed=3"
