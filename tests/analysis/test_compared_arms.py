import numpy as np
import pytest
from scipy import stats

from mtlface.analysis.comparing import compare
from mtlface.analysis.comparison import SINGLE
from mtlface.analysis.results import read_runs
from mtlface.errors import MtlfaceError

TWO = ("gender", "landmarks")


def metrics(gender=None, landmarks=None):
    found = {"test/gender/accuracy": gender, "test/landmarks/nme": landmarks}
    return {key: value for key, value in found.items() if value is not None}


def verdicts(comparison):
    return {(d.arm, d.metric.task): d.verdict for d in comparison.verdicts}


def test_a_sweep_is_told_better_worse_and_no_difference(sweep):
    found = verdicts(compare(read_runs([sweep])))
    assert found == {
        ("celeba_landmarks_gender", "gender"): "worse",
        ("celeba_landmarks_gender", "landmarks"): "worse",
        ("celeba_landmarks_gender_improved", "gender"): "better",
        ("celeba_landmarks_gender_improved", "landmarks"): "no difference shown",
    }


def test_differences_pair_by_seed_and_not_by_order(tmp_path, run_writer):
    for seed, value in {0: 0.5, 1: 0.6, 2: 0.75}.items():
        run_writer("single", seed, metrics(gender=value))
    for seed, value in {1: 0.65, 2: 0.85, 3: 0.1}.items():
        run_writer("both", seed, metrics(gender=value, landmarks=0.1))
    comparison = compare(read_runs([tmp_path]))
    (difference,) = comparison.verdicts
    assert difference.seeds == (1, 2)
    assert difference.pairs.mean == pytest.approx(0.075)
    assert difference.p == pytest.approx(stats.ttest_rel([0.65, 0.85], [0.6, 0.75]).pvalue)
    assert any("No single-task arm of landmarks" in note for note in comparison.notes)
    assert comparison.overall[0].without_reference == ("landmarks",)


def test_no_shared_seed_is_no_difference_but_a_note(tmp_path, run_writer):
    run_writer("single", 0, metrics(gender=0.5))
    run_writer("both", 1, metrics(gender=0.6, landmarks=0.1))
    comparison = compare(read_runs([tmp_path]))
    assert comparison.differences == []
    assert any("shares no seed with single" in note for note in comparison.notes)


def test_delta_m_turns_the_sign_so_that_higher_is_better(sweep):
    comparison = compare(read_runs([sweep]))
    for overall in comparison.overall:
        mean = {
            (arm, task): comparison.summaries[arm, f"test/{task}/{metric}"].mean
            for arm in (overall.arm, "celeba_gender", "celeba_landmarks")
            for task, metric in zip(TWO, ("accuracy", "nme"), strict=True)
            if (arm, f"test/{task}/{metric}") in comparison.summaries
        }
        gender, landmarks = mean["celeba_gender", "gender"], mean["celeba_landmarks", "landmarks"]
        parts = (
            100 * (mean[overall.arm, "gender"] - gender) / gender,
            -100 * (mean[overall.arm, "landmarks"] - landmarks) / landmarks,
        )
        assert overall.delta_m.mean == pytest.approx(np.mean(parts))
        assert overall.median == pytest.approx(np.median(parts))
        assert tuple(overall.contributions[t] for t in TWO) == pytest.approx(parts)


def test_ranks_set_multi_task_arms_against_the_single_task_networks(sweep):
    ranks = compare(read_runs([sweep])).ranks
    assert ranks["celeba_landmarks_gender"] == 3
    assert ranks[SINGLE] + ranks["celeba_landmarks_gender_improved"] == 3


def test_holm_counts_the_primary_metrics_only(sweep):
    for d in compare(read_runs([sweep])).differences:
        assert (d.p_holm is None) == (not d.metric.primary)


def test_one_seed_is_judged_on_its_test_pictures(tmp_path, run_writer, predictions_writer):
    for arm, value in {"single": 0.6, "both": 0.9}.items():
        nme = None if arm == "single" else 0.1
        folder = run_writer(arm, 0, metrics(gender=value, landmarks=nme))
        predictions_writer(folder, gender=value, nme=nme)
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert (difference.verdict, difference.pictures.n) == ("better", 150)
    assert difference.pictures.mean < 0  # fewer errors a picture


def test_one_seed_without_predictions_gets_no_verdict(tmp_path, run_writer):
    run_writer("single", 0, metrics(gender=0.6))
    run_writer("both", 0, metrics(gender=0.9, landmarks=0.1))
    assert verdicts(compare(read_runs([tmp_path]))) == {("both", "gender"): "no verdict"}


def test_two_single_task_arms_of_a_task_are_the_users_choice(tmp_path, run_writer):
    for seed in range(3):
        run_writer("small", seed, metrics(gender=0.6 + seed / 100))
        run_writer("large", seed, metrics(gender=0.7 + seed / 90))
        run_writer("both", seed, metrics(gender=0.8 + seed / 80, landmarks=0.1))
    tree = read_runs([tmp_path])
    undecided = compare(tree)
    assert undecided.verdicts == []
    assert any("references.gender=<arm>" in note for note in undecided.notes)
    chosen = {d.arm: d.reference for d in compare(tree, references={"gender": "large"}).verdicts}
    assert chosen == {"small": "large", "both": "large"}


def test_a_run_may_name_its_reference(tmp_path, run_writer):
    for seed in range(3):
        run_writer("small", seed, metrics(gender=0.6))
        run_writer("large", seed, metrics(gender=0.7))
        names = {"references": {"gender": "small"}}
        run_writer("both", seed, metrics(gender=0.8, landmarks=0.1), **names)
    assert [d.reference for d in compare(read_runs([tmp_path])).verdicts] == ["small"]


def test_a_changed_arm_is_set_against_the_reference_with_the_same_changes(tmp_path, run_writer):
    names = {"references": {"gender": "single"}}
    for change in ("", ",lr=0.1"):
        run_writer(f"single{change}", 0, metrics(gender=0.6), experiment="single")
        run_writer(
            f"both{change}", 0, metrics(gender=0.8, landmarks=0.1), experiment="both", **names
        )
    other = "both,balancing=dwa"
    run_writer(other, 0, metrics(gender=0.8, landmarks=0.1), experiment="both", **names)
    found = {d.arm: d.reference for d in compare(read_runs([tmp_path])).verdicts}
    assert found == {"both": "single", "both,lr=0.1": "single,lr=0.1", other: "single"}


def test_a_named_reference_that_was_not_run_is_said(tmp_path, run_writer):
    names = {"references": {"gender": "single"}}
    run_writer("both", 0, metrics(gender=0.8, landmarks=0.1), **names)
    notes = compare(read_runs([tmp_path])).notes
    assert any("names single" in n and "it is not among these runs" in n for n in notes)


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ({"gendr": "single"}, "Did you mean 'gender'"),
        ({"gender": "sngle"}, "Did you mean 'single'"),
    ],
)
def test_a_reference_that_is_not_there_is_an_error(tmp_path, run_writer, references, words):
    run_writer("single", 0, metrics(gender=0.6))
    with pytest.raises(MtlfaceError, match=words):
        compare(read_runs([tmp_path]), references=references)


def test_one_network_costs_half_of_two(sweep):
    found = compare(read_runs([sweep])).costs_against_single
    assert {(c.parameters, c.fit_s, c.peak_memory_mb) for c in found} == {(0.5, 0.5, 1.0)}


def test_a_score_across_tasks_is_in_the_comparison(tmp_path, run_writer):
    directions = {"gender/accuracy": True, "score/competition": True}
    run_writer("a", 0, metrics(gender=0.6) | {"test/score/competition": 0.7}, directions=directions)
    comparison = compare(read_runs([tmp_path]))
    assert comparison.summaries["a", "test/score/competition"].mean == 0.7
