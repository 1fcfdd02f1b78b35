import pytest

from mtlface.analysis import report
from mtlface.analysis import tables as t
from mtlface.analysis.comparison import MANY, compare
from mtlface.analysis.figures import draw_all
from mtlface.analysis.results import read_runs
from mtlface.compare import main

ARMS = MANY // 2 + 1  # of two tasks each


@pytest.fixture
def methods(tmp_path, run_writer):
    """Single-task arms and many methods; every third loses gender, every fourth the landmarks."""
    for seed in range(3):
        noise = seed / 1000
        run_writer("gender", seed, {"test/gender/accuracy": 0.8 - noise})
        run_writer("landmarks", seed, {"test/landmarks/nme": 0.1 + noise})
        for i in range(ARMS):
            gender = 0.6 if i % 3 == 0 else 0.8
            nme = 0.2 if i % 4 == 0 else 0.1
            shake = (seed - 1) * (i + 1) / 2000
            run_writer(
                f"both,balancing=m{i}",
                seed,
                {
                    "test/gender/accuracy": gender + shake,
                    "test/landmarks/nme": nme - shake,
                    "balance/cosine/gender/landmarks": i / ARMS,
                },
                experiment="both",
            )
    return tmp_path


def test_many_verdicts_are_counted_and_name_who_does_not_recover_a_task(methods, capsys):
    table = t.tally_table(compare(read_runs([methods])))
    losers = {
        task: {
            name
            for row in table.rows
            if row[0].startswith(task) and row[1].startswith("worse")
            for name in row[2].split("; ")
        }
        for task in ("gender", "landmarks")
    }
    assert losers["gender"] == {f"balancing=m{i}" for i in range(0, ARMS, 3)}
    assert losers["landmarks"] == {f"balancing=m{i}" for i in range(0, ARMS, 4)}
    assert sum(len(row[2].split("; ")) for row in table.rows) == 2 * ARMS
    assert main([f"runs={methods}", "figures=false"]) == 0
    printed = capsys.readouterr().out
    assert table.title in printed
    assert "is worse than" not in printed  # one by one in the files only
    for name in ("comparison.md", "comparison.html"):
        text = (methods / name).read_text()
        assert table.title in text
        assert text.count("is worse than") == len(range(0, ARMS, 3)) + len(range(0, ARMS, 4))


def test_few_verdicts_stand_one_by_one(sweep, capsys):
    comparison = compare(read_runs([sweep]))
    assert t.tally_table(comparison).title not in [x.title for x in report.all_tables(comparison)]


def test_many_arms_share_one_figure_of_cosines_and_one_forest(methods, tmp_path):
    drawn = draw_all(compare(read_runs([methods])), tmp_path / "figures")
    assert [d.name for d in drawn if d.name.startswith("cosines")] == ["cosines"]
    (forest,) = (d for d in drawn if d.name == "differences")
    assert "best mean rank" not in forest.caption  # all arms are in it


def arms_called(run_writer, *names, **changes):
    for name in names:
        run_writer(name, 0, {"test/gender/accuracy": 0.5}, experiment=name.split(",")[0], **changes)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["both", "both,a=1"], ["both", "both, a=1"]),
        (["both,only=gender"], ["both · gender alone"]),
        (["both,a=1,only=gender"], ["both, a=1 · gender alone"]),
    ],
)
def test_arms_are_shown_by_experiment_changes_and_task(tmp_path, run_writer, names, shown):
    arms_called(run_writer, *names)
    assert list(compare(read_runs([tmp_path])).names.values()) == shown


def test_an_experiment_goes_by_its_label_unless_two_share_it(tmp_path, run_writer):
    arms_called(run_writer, "one", label="The first")
    assert compare(read_runs([tmp_path])).names == {"one": "The first"}
    arms_called(run_writer, "two", label="The first")
    assert compare(read_runs([tmp_path])).names == {"one": "one", "two": "two"}
