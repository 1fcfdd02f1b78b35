"""The benchmarks' own arithmetic and table."""

import importlib
import json
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.table import table


def test_cases_take_turns_after_one_warm_up_each():
    seen = []
    cases = {name: lambda name=name: seen.append(name) for name in "ab"}
    seconds = measure.interleave(cases, repeats=2)
    assert seen == list("ab" * 3)
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_a_ratio_is_taken_turn_by_turn():
    # Both slow down together in the second turn, which says nothing of either.
    found = measure.ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert found == {"median": 2.0, "low": 2.0, "high": 3.0, "n": 3}


def test_the_table_has_a_row_a_headline_from_every_device(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    for device, value in (("Some GPU", 12345.0), ("x86 CPU", 0.9712)):
        where = {"device": device, "cores": 2}
        found = {"median": value, "low": value / 2, "high": value, "n": 3}
        headlines = [measure.headline("rate", found, " s", "≥ 1")]
        measure.report("speed", {}, [], ["x"], where, headlines)
    kept = json.loads((tmp_path / "x86-cpu" / "speed.json").read_text())
    assert kept["machine"]["device"] == "x86 CPU" and kept["headlines"][0]["low"] == 0.4856
    lines = table(tmp_path).splitlines()
    assert lines[2] == "| rate | 12,345 s (6,172 to 12,345, n=3) | ≥ 1 | Some GPU, 2 cores |"
    assert lines[3] == "| rate | 0.971 s (0.486 to 0.971, n=3) | ≥ 1 | x86 CPU, 2 cores |"
    assert len(lines) == 4


def test_a_benchmark_may_show_all_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    where = {"device": "CPU", "cores": 2}
    measure.report("costs", {}, [["a", "1.2"]], ["method", "cost"], where, detail="What they cost")
    lines = table(tmp_path).splitlines()
    assert lines[3] == "What they cost (CPU, 2 cores)"
    assert lines[5:] == ["| method | cost |", "|---|---|", "| a | 1.2 |"]


def test_the_docs_show_the_kept_results():
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert table() in page, "put the output of `python -m benchmarks --table` into the page"


def test_a_quick_run_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    where = {"device": "CPU", "cores": 1}
    assert measure.report("speed", {}, [["1"]], ["x"], where, keep=False) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_command_line_with_a_quick_way(name, capsys):
    module, *more = BENCHMARKS[name]
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"benchmarks.{module}").main([*more, "--help"])
    assert stopped.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_the_table_of_the_kept_results_is_printed(capsys):
    assert main(["--table"]) == 0
    assert capsys.readouterr().out.startswith("| measure |")
