"""What tasks gain from each other: the matrix, groupings by hand, and crossovers by simulation."""

import json

import numpy as np
import pytest

from mtlface.analysis.comparison import compare
from mtlface.analysis.label_curves import crossover, label_curves
from mtlface.analysis.measured_groups import measured, with_interval
from mtlface.analysis.results import read_runs
from mtlface.analysis.transfer import best_grouping, partitions, transfer_of
from mtlface.compare import main

TASKS = ("a", "b", "c")


def describe(*names):
    return {
        "tasks": {n: {"label": n, "primary": "accuracy", "kind": "binary"} for n in names},
        "directions": {f"{n}/accuracy": True for n in names},
        "trivial": {f"test/{n}/accuracy": 0.5 for n in names},
        "experiment": "transfer",
    }


def matrix_of_runs(run_writer, effects, skip=()):
    """Every task alone and every pair; `effects[i, j]` is what i gains from j."""
    rng = np.random.default_rng(0)
    for seed in range(4):
        for task in TASKS:
            values = {f"{s}/{task}/accuracy": 0.7 + rng.normal(0, 0.001) for s in ("test", "val")}
            run_writer(f"transfer,task=[{task}]", seed, values, **describe(task))
        for i, one in enumerate(TASKS):
            for other in TASKS[i + 1 :]:
                if (one, other) in skip:
                    continue
                values = {f"balance/cosine/{one}/{other}": effects[one, other] * 10}
                for task, partner in ((one, other), (other, one)):
                    for split in ("test", "val"):
                        gain = effects[task, partner] + rng.normal(0, 0.001)
                        values[f"{split}/{task}/accuracy"] = 0.7 + gain
                run_writer(f"transfer,task=[{one},{other}]", seed, values, **describe(one, other))


EFFECTS = {
    ("a", "b"): 0.05, ("b", "a"): 0.04,    # friends
    ("a", "c"): -0.06, ("c", "a"): -0.05,  # foes
    ("b", "c"): 0.0, ("c", "b"): 0.0,      # strangers
}  # fmt: skip


def test_the_matrix_has_each_tasks_gain_from_each_partner(tmp_path, run_writer):
    matrix_of_runs(run_writer, EFFECTS)
    comparison = compare(read_runs([tmp_path]))
    found = transfer_of(comparison)
    assert set(found.tasks) == set(TASKS) and not found.missing
    for pair, effect in EFFECTS.items():
        gain = found.gains[pair]
        assert gain.percent == pytest.approx(100 * effect / 0.7, abs=0.5)
        expected = {True: "better", False: "worse"}[effect > 0] if effect else None
        assert gain.answer == expected or (expected is None and "er" not in gain.answer[:6])
        assert gain.interval[0] < gain.percent < gain.interval[1]
    main([f"runs={tmp_path}"])
    report = (tmp_path / "comparison.md").read_text()
    assert "Which tasks help each other" in report and "Who should share a network" in report
    assert "| 2 | a, b \\| c |" in report
    assert (tmp_path / "figures" / "transfer.png").stat().st_size > 5000


def test_a_cell_that_nobody_trained_is_a_blank_with_its_reason(tmp_path, run_writer):
    matrix_of_runs(run_writer, EFFECTS | {("a", "d"): 0, ("d", "a"): 0}, skip=[("b", "c")])
    for seed in range(4):  # a third pair, or it is no matrix
        values = {"test/a/accuracy": 0.7, "test/d/accuracy": 0.7 + seed / 1000}
        run_writer("transfer,task=[a,d]", seed, values, **describe("a", "d"))
        run_writer("transfer,task=[d]", seed, {"test/d/accuracy": 0.7}, **describe("d"))
    found = transfer_of(compare(read_runs([tmp_path])))
    assert found.missing["b", "c"] == "nobody trained this pair" and ("b", "c") not in found.gains
    assert np.isnan(found.matrix()[found.tasks.index("b"), found.tasks.index("c")])


def test_a_grouping_that_was_trained_is_measured_against_all_together_and_each_alone(
    tmp_path, run_writer
):
    matrix_of_runs(run_writer, EFFECTS)
    twins = {}
    for path in tmp_path.rglob("result.json"):
        content = json.loads(path.read_text())
        if len(content["tasks"]) == 1:
            twins |= {(content["seed"], k): v for k, v in content["metrics"].items()}
    for seed in range(4):
        values = {}
        for task in TASKS:
            for split in ("test", "val"):
                key = f"{split}/{task}/accuracy"
                values[key] = twins[seed, key] * (0.94 + seed / 1000)
        run_writer("transfer,task=[a,b,c]", seed, values, **describe(*TASKS))
    comparison = compare(read_runs([tmp_path]))
    together = measured(comparison, (TASKS,))
    # Percent are of the twins' mean over seeds, hence not quite.
    assert together == pytest.approx({seed: -6 + seed / 10 for seed in range(4)}, abs=0.02)
    assert measured(comparison, (("a",), ("b",), ("c",))) is None  # nothing shared, nothing to say
    found = measured(comparison, (("a", "b"), ("c",)))
    assert np.mean(list(found.values())) == pytest.approx((5 + 4) / 0.7 / 3, abs=0.3)
    assert with_interval({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0, 2: 9.0}).startswith("+2.0 [")
    main([f"runs={tmp_path}"])
    assert "trained, less all together" in (tmp_path / "comparison.md").read_text()


def test_arms_that_are_no_pairs_have_no_matrix(sweep):
    assert transfer_of(compare(read_runs([sweep]))) is None


def test_the_best_grouping_is_that_of_all_which_gains_most():
    gains = {pair: 100 * effect for pair, effect in EFFECTS.items()}
    assert best_grouping(TASKS, gains, 1) == (((*TASKS,),), pytest.approx((-0.5 - 2.5 + 2) / 3))
    groups, score = best_grouping(TASKS, gains, 2)
    assert {frozenset(g) for g in groups} == {frozenset("ab"), frozenset("c")}
    assert score == pytest.approx((5 + 4) / 3)
    assert best_grouping(TASKS, gains, 3)[1] == 0
    assert best_grouping(TASKS, {}, 2) is None
    # Stirling numbers of the second kind
    assert [len(list(partitions(tuple("abcde"), k))) for k in range(1, 6)] == [1, 15, 25, 10, 1]


LABELS = (14, 42, 140, 420, 1400)


def simulated(rng, seeds, slope=-4.0, at=200.0, noise=1.0):
    """Benefits that fall through zero `at` so many labels; a seed's points share an error."""
    line = slope * (np.log10(LABELS) - np.log10(at))
    own = rng.normal(0, noise, (seeds, 1)) + rng.normal(0, 0.7, (seeds, 1)) * np.log10(LABELS)
    return line + own + rng.normal(0, noise, (seeds, len(LABELS)))


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_crossovers_interval_covers_a_planted_one(seeds):
    rng = np.random.default_rng(0)
    found = [crossover(LABELS, simulated(rng, seeds)) for _ in range(1000)]
    shown = [c for c in found if c is not None]
    covered = np.mean([c.interval[0] <= 200 <= c.interval[1] for c in shown])
    assert len(shown) > 600 and covered >= 0.9


def test_a_benefit_that_does_not_fall_has_no_crossover():
    rng = np.random.default_rng(0)
    assert crossover(LABELS, simulated(rng, 5, slope=4.0)) is None
    assert crossover(LABELS, simulated(rng, 2)) is None
    flat = [crossover(LABELS, simulated(rng, 5, slope=0.0)) for _ in range(300)]
    assert np.mean([c is not None for c in flat]) < 0.05


def test_the_report_draws_benefit_by_labels_with_the_crossover(tmp_path, run_writer):
    rng = np.random.default_rng(1)
    benefit = simulated(rng, 4, noise=0.2)
    for seed in range(4):
        for k, count in enumerate(LABELS):
            share = count / 1400
            arm = f"both,data.label_fraction={{a:{share:g}}}"
            own = {
                "config.data.label_fraction": {"a": share},
                "label_counts": {"a": count, "b": 1400},
            }
            twin = 0.6 + rng.normal(0, 0.001)
            both = {"test/a/accuracy": twin * (1 + benefit[seed, k] / 100), "test/b/accuracy": 0.8}
            run_writer(arm, seed, both, **describe("a", "b"), **own)
            run_writer(f"{arm},only=a", seed, {"test/a/accuracy": twin}, **describe("a"), **own)
        run_writer("both,only=b", seed, {"test/b/accuracy": 0.7}, **describe("b"))
    comparison = compare(read_runs([tmp_path]))
    (curve,) = label_curves(comparison)
    assert (curve.task, curve.labels) == ("a", LABELS)
    assert curve.benefit == pytest.approx(benefit, abs=0.05)
    low, high = curve.crossover.interval
    assert low < 200 < high
    # The other task's twin is one for all shares, as its own labels are never cut.
    others = [d for d in comparison.verdicts if d.metric.task == "b"]
    assert len(others) == len(LABELS) and {d.reference for d in others} == {"both,only=b"}
    main([f"runs={tmp_path}"])
    assert "Sharing helps a below about" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "figures" / "label_curve_a.png").stat().st_size > 5000
