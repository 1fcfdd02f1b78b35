import csv

import pytest

from mtlface.analysis.comparison import compare
from mtlface.analysis.results import read_runs
from mtlface.compare import main, parse
from mtlface.errors import MtlfaceError

GRID = "tasks.landmarks.weight=*"
BASE = "both"


def arm(weight):
    return f"{BASE},tasks.landmarks.weight={weight}"


def metrics(val, test=None):
    """(gender accuracy, landmark NME) on validation and, unless given, the same on test."""
    found = {}
    for split, (gender, nme) in {"val": val, "test": test or val}.items():
        found |= {f"{split}/gender/accuracy": gender, f"{split}/landmarks/nme": nme}
    return {key: value for key, value in found.items() if value is not None}


@pytest.fixture
def grid(tmp_path, run_writer):
    """Writes arms by name: a pair of val and test figures; the same for three seeds but noise."""

    def write(arms, singles=True, seeds=range(3)):
        if singles:
            arms = {"gender": ((0.8, None),), "landmarks": ((None, 0.1),)} | arms
        for name, figures in arms.items():
            for seed in seeds:
                noise = 1 + seed / 100
                shaken = [[v and v * noise for v in pair] for pair in figures]
                run_writer(name, seed, metrics(*shaken), experiment=name.split(",")[0])
        return tmp_path

    return write


# 0.1 is the best on test by far, 0.01 on validation: the test must have no say.
DISAGREEING = {
    arm("0.1"): ((0.70, 0.12), (0.99, 0.01)),
    arm("0.01"): ((0.82, 0.10), (0.60, 0.15)),
    arm("0.001"): ((0.75, 0.11), (0.90, 0.09)),
}


@pytest.mark.parametrize("singles", [True, False])
def test_the_choice_looks_at_validation_only(grid, singles):
    comparison = compare(read_runs([grid(DISAGREEING, singles)]), tuned={"fixed_weights": GRID})
    (tuning,) = comparison.tunings
    assert tuning.source == arm("0.01")
    assert tuning.score == ("Δm" if singles else "mean rank")
    label = "tuned fixed weights (tasks.landmarks.weight=0.01)"
    assert comparison.summaries[label, "test/gender/accuracy"].mean == pytest.approx(0.606)
    labels = [a.label for a in comparison.arms]
    assert labels == (["gender", "landmarks", label] if singles else [label])


def test_the_score_is_the_reports_own_delta_m_on_validation(grid):
    def only_val(figures):
        return (figures[0], figures[0])

    tree = read_runs([grid({name: only_val(f) for name, f in DISAGREEING.items()})])
    on_test = {o.arm: o for o in compare(tree).overall}
    (tuning,) = compare(tree, tuned={"fixed_weights": GRID}).tunings
    for candidate in tuning.candidates:
        overall = on_test[candidate.arm.label]
        assert candidate.score == pytest.approx(overall.delta_m)
        assert candidate.parts == pytest.approx(dict(overall.contributions))


def test_the_tuned_arm_has_the_figures_that_its_source_would_have(grid):
    tree = read_runs([grid(DISAGREEING)])
    plain, tuned = compare(tree), compare(tree, tuned={"fixed_weights": GRID})
    label = tuned.tunings[0].chosen.label
    for task in ("gender", "landmarks"):
        before = next(d for d in plain.verdicts if (d.arm, d.metric.task) == (arm("0.01"), task))
        after = next(d for d in tuned.verdicts if (d.arm, d.metric.task) == (label, task))
        assert (before.pairs, before.p, before.answer) == (
            after.pairs,
            after.p,
            after.answer,
        )


def test_without_the_key_nothing_changes(grid):
    comparison = compare(read_runs([grid(DISAGREEING)]))
    assert comparison.tunings == []
    assert set(DISAGREEING) <= {a.label for a in comparison.arms}


def test_the_plain_arm_is_a_candidate_and_keeps_its_row_when_named(grid):
    arms = DISAGREEING | {f"{BASE},balancing=fixed": ((0.9, 0.09),)}
    tree = read_runs([grid(arms)])
    comparison = compare(tree, tuned={"fixed_weights": f"{GRID}|balancing=fixed"})
    labels = [a.label for a in comparison.arms if len(a.tasks) > 1]
    assert labels == [f"{BASE},balancing=fixed", "tuned fixed weights (balancing=fixed)"]
    hidden = compare(tree, tuned={"all": f"{BASE}*"})
    assert [a.label for a in hidden.arms if len(a.tasks) > 1] == ["tuned all (balancing=fixed)"]


def test_a_tie_takes_the_first_by_name_and_says_so(grid):
    same = {arm(weight): ((0.8, 0.1), (test, 0.1)) for weight, test in (("1", 0.1), ("2", 0.9))}
    comparison = compare(read_runs([grid(same)]), tuned={"fixed_weights": GRID})
    (tuning,) = comparison.tunings
    assert (tuning.source, tuning.tied) == (arm("1"), (arm("2"),))


def test_candidates_are_measured_on_the_seeds_that_all_have(grid, run_writer):
    root = grid(DISAGREEING)
    # A seed of its own, and a lucky one: it must not lift the mean of the arm that has it.
    run_writer(arm("0.1"), 3, metrics((0.999, 0.001)), experiment=BASE)
    tuning = compare(read_runs([root]), tuned={"fixed_weights": GRID}).tunings[0]
    assert (tuning.source, tuning.seeds) == (arm("0.01"), (0, 1, 2))


@pytest.mark.parametrize("broken", [None, "missing", "failed"])
def test_a_candidate_that_collapsed_cannot_be_chosen(grid, run_writer, capsys, broken):
    root = grid(DISAGREEING)
    content = metrics((0.99, 0.01)) | {"val/landmarks/nme": None}
    if broken == "missing":
        del content["val/landmarks/nme"]
    folder = run_writer(arm("0.01"), 1, content, experiment=BASE)
    if broken == "failed":
        (folder / "result.json").unlink()
        (folder / "error.json").write_text('{"error": "loss is not finite"}')
    assert main([f"runs={root}", f"tuned.fixed_weights={GRID}", "figures=false"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    why = "failed with seed 1" if broken == "failed" else "val/landmarks/nme is no finite number"
    assert f"Candidate {arm('0.01')} is left out of the choice" in printed
    assert why in printed
    assert f"tuned fixed weights (tasks.landmarks.weight=0.001) is {arm('0.001')}," in printed
    assert "chosen out of 2 arms" in printed


def test_terminal_csv_markdown_and_page_name_the_choice(grid, capsys):
    root = grid(DISAGREEING)
    assert main([f"runs={root}", f"tuned.fixed_weights={GRID}", "figures=false"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    markdown = (root / "comparison.md").read_text().replace("\\", "")
    page = (root / "comparison.html").read_text().replace("<wbr>", "")
    line = "chosen out of 3 arms by the best mean validation Δm (+1.25 % over seeds 0, 1, 2)"
    for text in (printed, markdown, page):
        assert line in text
        assert "Candidates of tuned fixed weights, by validation" in text
    for text in (markdown, page):
        assert "tuned fixed weights (tasks.landmarks.weight=0.01)" in text
    with (root / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    named = {row["arm"] for row in rows if row["metric"] == "accuracy"}
    assert named == {"gender", "tuned fixed weights (tasks.landmarks.weight=0.01)"}
    scores = {r["arm"]: float(r["mean"]) for r in rows if r["metric"] == "validation_delta_m"}
    assert scores.keys() == DISAGREEING.keys()
    assert max(scores, key=scores.get) == arm("0.01")


def test_a_grid_that_failed_everywhere_is_an_error_that_says_why(grid, run_writer):
    root = grid({"both,balancing=dwa": ((0.9, 0.09),)})
    folder = run_writer(arm("9"), 0, metrics((0.5, 0.5)), experiment=BASE)
    (folder / "result.json").unlink()
    (folder / "error.json").write_text('{"error": "loss is not finite"}')
    with pytest.raises(MtlfaceError, match=r"weight=9: it failed with seed 0"):
        compare(read_runs([root]), tuned={"fixed_weights": GRID})


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("tasks.landmark.weight=*", r"matches no arm.*Did you mean 'tasks.landmarks.weight=0"),
        (f"{GRID}|balancing=fixd", "balancing=fixd matches no arm"),
        ("gender", "matches gender, a single-task arm"),
        ("both*|three", "arms of different tasks"),
        ("", "pattern is empty"),
    ],
)
def test_a_pattern_that_fits_no_grid_is_one_clear_error(grid, run_writer, pattern, words):
    root = grid(DISAGREEING)
    more = metrics((0.8, 0.1)) | {"test/age/mae": 5.0}
    tasks = {t: {"label": t, "primary": "mae"} for t in ("age", "gender", "landmarks")}
    run_writer("three", 0, more, tasks=tasks)
    with pytest.raises(MtlfaceError, match=words):
        compare(read_runs([root]), tuned={"fixed_weights": pattern})


def test_a_reference_is_no_candidate(grid):
    tree = read_runs([grid(DISAGREEING)])
    with pytest.raises(MtlfaceError, match="a single-task arm or reference"):
        compare(tree, references={"gender": arm("0.1")}, tuned={"fixed_weights": GRID})


def test_two_grids_stand_side_by_side(grid):
    arms = DISAGREEING | {f"{BASE},balancing.c={c}": ((0.8 + c / 10, 0.1),) for c in (0.2, 0.4)}
    tuned = {"fixed_weights": GRID, "cagrad": "balancing.c=*"}
    comparison = compare(read_runs([grid(arms)]), tuned=tuned)
    labels = [a.label for a in comparison.arms if len(a.tasks) > 1]
    assert [label.rpartition("=")[2] for label in labels] == ["0.01)", "0.4)"]


def test_the_command_line_takes_the_pattern_as_it_stands():
    assert parse(["runs=a", f"tuned.fixed_weights={GRID}|b[1]"]).tuned == {
        "fixed_weights": f"{GRID}|b[1]"
    }
    with pytest.raises(MtlfaceError, match="expected a name after tuned"):
        parse(["runs=a", f"tuned={GRID}"])
