import copy
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.multitest import multipletests

from mtlface.analysis.answer import answer_line, question
from mtlface.analysis.comparison import compare
from mtlface.analysis.crossed import crossed
from mtlface.analysis.overall import SINGLE
from mtlface.analysis.report import notes
from mtlface.analysis.results import read_runs
from mtlface.analysis.settings import differing, is_twin
from mtlface.compare import main
from mtlface.errors import MtlfaceError
from mtlface.training.arm import only_task
from mtlface.training.identity import flattened, identity

TWO = ("gender", "landmarks")


def metrics(gender=None, landmarks=None):
    found = {"test/gender/accuracy": gender, "test/landmarks/nme": landmarks}
    return {key: value for key, value in found.items() if value is not None}


def verdicts(comparison):
    return {(d.arm, d.metric.task): d.answer for d in comparison.verdicts}


def test_a_sweep_is_told_better_worse_and_undecided(sweep):
    found = verdicts(compare(read_runs([sweep])))
    assert found == {
        ("celeba_landmarks_gender", "gender"): "worse",
        ("celeba_landmarks_gender", "landmarks"): "worse",
        ("celeba_landmarks_gender_improved", "gender"): "better",
        ("celeba_landmarks_gender_improved", "landmarks"): "undecided",
    }


def test_differences_pair_by_seed_and_not_by_order(tmp_path, run_writer):
    for seed, value in {0: 0.5, 1: 0.6, 2: 0.75}.items():
        run_writer("single", seed, metrics(gender=value))
    for seed, value in {1: 0.65, 2: 0.85, 3: 0.1}.items():
        run_writer("both", seed, metrics(gender=value, landmarks=0.1))
    comparison = compare(read_runs([tmp_path]))
    (difference,) = comparison.verdicts
    assert difference.seeds == (1, 2)
    assert difference.mean == pytest.approx(0.075)
    assert difference.pairs.p == pytest.approx(stats.ttest_rel([0.65, 0.85], [0.6, 0.75]).pvalue)
    assert difference.answer == "no verdict"  # two seeds
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
        assert overall.delta_m == pytest.approx(np.mean(parts))
        assert overall.median == pytest.approx(np.median(parts))
        assert tuple(overall.contributions[t] for t in TWO) == pytest.approx(parts)


def test_ranks_set_multi_task_arms_against_the_single_task_networks(sweep):
    ranks = compare(read_runs([sweep])).ranks
    assert ranks["celeba_landmarks_gender"] == 3
    assert ranks[SINGLE] + ranks["celeba_landmarks_gender_improved"] == 3


def test_one_family_spans_all_arms_and_tasks_of_the_report(sweep):
    found = compare(read_runs([sweep])).differences
    assert all((d.p_holm is None) == (not d.metric.primary) for d in found)
    primary = [d for d in found if d.metric.primary]
    assert len(primary) == 4
    assert [d.p_holm for d in primary] == pytest.approx(
        list(multipletests([d.p for d in primary], method="holm")[1])
    )
    assert [d.q for d in primary] == pytest.approx(
        list(multipletests([d.p for d in primary], method="fdr_bh")[1])
    )


def test_the_headline_counts_seeds_and_images_and_is_the_formula_of_the_files(sweep):
    (found,) = (
        d
        for d in compare(read_runs([sweep])).verdicts
        if d.arm.endswith("improved") and d.metric.task == "gender"
    )

    def right(arm):
        files = [sweep / arm / f"celeba/seed={seed}/test_predictions.csv" for seed in range(5)]
        return np.stack([1 - pd.read_csv(file)["gender/error"] for file in files])

    expected = crossed(right(found.arm) - right("celeba_gender").astype(float))
    assert (found.basis, found.estimate.units) == ("seeds and images", 600)
    assert found.estimate.interval == pytest.approx(expected.interval, rel=1e-9)
    assert found.estimate.p == pytest.approx(expected.p, rel=1e-9)
    narrow = found.pairs.interval
    assert narrow[1] - narrow[0] < expected.interval[1] - expected.interval[0]


def write_pair(run_writer, predictions_writer, seeds, gender=(0.6, 0.9), **keys):
    """A single-task and a multi-task arm with predictions; `gender` is their accuracy."""
    for arm, value in zip(("single", "both"), gender, strict=True):
        for seed in seeds:
            nme = None if arm == "single" else 0.1
            shaken = value + 0.01 * (seed % 3)
            folder = run_writer(arm, seed, metrics(gender=shaken, landmarks=nme))
            exact = predictions_writer(folder, gender=shaken, nme=nme, **keys)
            run_writer(arm, seed, exact)


def test_one_seed_is_judged_by_a_bootstrap_of_its_own_metric(
    tmp_path, run_writer, predictions_writer
):
    write_pair(run_writer, predictions_writer, [0])
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert (difference.answer, difference.basis) == ("better", "images")
    assert difference.estimate.mean == pytest.approx(difference.mean, abs=1e-9)
    assert difference.estimate.units == 600


def test_one_seed_of_f1_is_judged_by_f1_and_not_by_the_error(
    tmp_path, run_writer, predictions_writer
):
    """Fewer errors and a lower F1: the rare class is given up."""
    truth = np.arange(600) % 10 == 0
    tasks = {"gender": {"label": "gender", "primary": "f1"}}
    both = tasks | {"landmarks": {"label": "landmarks", "primary": "nme"}}
    guesses = {
        "single": truth | (np.arange(600) % 10 == 1) & (np.arange(600) % 3 > 0),
        "both": truth & (np.arange(600) % 40 == 0),
    }
    for arm, guess in guesses.items():
        f1 = sk.f1_score(truth, guess)
        folder = run_writer(
            arm, 0, {"test/gender/f1": f1},
            tasks=tasks if arm == "single" else both, directions={"gender/f1": True},
        )  # fmt: skip
        names = np.array(["female", "male"])
        table = {
            "image": np.arange(600),
            "gender": names[guess.astype(int)],
            "gender_true": names[truth.astype(int)],
            "gender/error": (guess != truth).astype(int),
        }
        pd.DataFrame(table).to_csv(folder / "test_predictions.csv", index=False)
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert (guesses["single"] != truth).mean() < (guesses["both"] != truth).mean() + 0.05
    assert (difference.metric.name, difference.answer) == ("f1", "worse")
    assert difference.estimate.mean == pytest.approx(difference.mean)


def test_one_seed_without_predictions_gets_no_verdict(tmp_path, run_writer):
    run_writer("single", 0, metrics(gender=0.6))
    run_writer("both", 0, metrics(gender=0.9, landmarks=0.1))
    assert verdicts(compare(read_runs([tmp_path]))) == {("both", "gender"): "no verdict"}


def test_two_seeds_give_no_verdict_however_large_the_difference(
    tmp_path, run_writer, predictions_writer
):
    write_pair(run_writer, predictions_writer, range(2))
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert (difference.answer, difference.estimate) == ("no verdict", None)


def test_three_seeds_without_predictions_speak_of_these_images_only(tmp_path, run_writer):
    for seed in range(3):
        run_writer("single", seed, metrics(gender=0.6 + seed / 1000))
        run_writer("both", seed, metrics(gender=0.9 + seed / 900, landmarks=0.1))
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert (difference.answer, difference.basis) == ("better", "seeds")


def test_people_are_the_units_where_images_repeat_them(tmp_path, run_writer, predictions_writer):
    write_pair(run_writer, predictions_writer, range(3), people=60)
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert difference.estimate.units == 60


def test_seeded_splits_take_nadeau_and_bengios_factor(tmp_path, run_writer, predictions_writer):
    write_pair(run_writer, predictions_writer, range(3))
    for file in tmp_path.rglob("test_predictions.csv"):
        table = pd.read_csv(file)
        table["image"] = file.parent.name + table["image"]  # other images for every seed
        table.to_csv(file, index=False)
    (difference,) = compare(read_runs([tmp_path])).verdicts
    assert difference.basis == "seeds"
    spread = np.std(difference.values, ddof=1)
    assert difference.estimate.se == pytest.approx(spread * np.sqrt(1 / 3 + 600 / 700), rel=1e-9)


def test_equal_arms_are_shown_equal_within_the_declared_effect(
    tmp_path, run_writer, predictions_writer
):
    write_pair(run_writer, predictions_writer, range(5), gender=(0.8, 0.8))
    tree = read_runs([tmp_path])
    assert verdicts(compare(tree, effects={"gender": "0.05"})) == {
        ("both", "gender"): "shown equal"
    }
    assert verdicts(compare(tree, effects={"gender": "0.0001"})) == {
        ("both", "gender"): "undecided"
    }
    with pytest.raises(MtlfaceError, match="Did you mean 'gender'"):
        compare(tree, effects={"gendr": "0.05"})


def test_collapsed_seeds_are_counted_and_an_answer_must_hold_without_them(
    tmp_path, run_writer, capsys
):
    for seed in range(6):
        run_writer("single", seed, metrics(gender=0.8 + seed / 1000))
        collapsed = 0.53 if seed in (1, 4) else 0.83 + seed / 900
        run_writer("both", seed, metrics(gender=collapsed, landmarks=0.1))
    comparison = compare(read_runs([tmp_path]))
    (difference,) = comparison.verdicts
    assert difference.collapsed == {"both": (1, 4)}
    assert difference.mean < 0 < difference.values[0]
    assert difference.answer == "undecided"
    main([f"runs={tmp_path}", "figures=false"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 of 6 seeds of both are no better than the constant predictor (1, 4)" in printed


def test_a_reference_that_learnt_nothing_is_flagged(tmp_path, run_writer, predictions_writer):
    write_pair(run_writer, predictions_writer, range(3), gender=(0.5, 0.9))
    comparison = compare(read_runs([tmp_path]))
    assert comparison.unlearnt == [("single", "gender")]
    assert any("single, a reference for gender, is not shown" in n for n in notes(comparison))


def test_ranks_use_the_seeds_that_all_arms_have(tmp_path, run_writer):
    """Without seed 2, which only one arm has and which is an easy one, the order turns."""
    for seed in range(2):
        run_writer("single", seed, metrics(gender=0.7))
        run_writer("a", seed, metrics(gender=0.80, landmarks=0.1))
        run_writer("b", seed, metrics(gender=0.79, landmarks=0.1))
    run_writer("b", 2, metrics(gender=0.99, landmarks=0.1))
    assert compare(read_runs([tmp_path])).ranks == {"a": 1.25, "b": 1.75, SINGLE: 3.0}


def test_delta_m_stands_with_and_without_its_most_influential_task(tmp_path, run_writer):
    tasks = {t: {"label": t, "primary": "accuracy"} for t in ("a", "b", "c")}
    means = {"a": (0.5, 0.6), "b": (0.5, 0.49), "c": (0.5, 0.495)}
    directions = {f"{t}/accuracy": True for t in tasks}
    for seed in range(3):
        shake = 1 + seed / 1000
        for t, (single, _) in means.items():
            found = {f"test/{t}/accuracy": single * shake}
            run_writer(f"single_{t}", seed, found, tasks={t: tasks[t]}, directions=directions)
        both = {f"test/{t}/accuracy": value * shake for t, (_, value) in means.items()}
        run_writer("all", seed, both, tasks=tasks, directions=directions)
    (overall,) = compare(read_runs([tmp_path])).overall
    assert overall.delta_m == pytest.approx((20 - 2 - 1) / 3, abs=0.01)
    assert (overall.influential, overall.worse) == ("a", ("b", "c"))
    assert overall.without_influential == pytest.approx(-1.5, abs=0.01)
    assert overall.median == pytest.approx(-1, abs=0.01)


def test_a_plan_says_seeds_for_one_test_for_the_family_and_the_floor(sweep, capsys):
    assert main([f"runs={sweep}", "plan=48", "effects.gender=0.03"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Seeds that a sweep with 48 verdicts needs" in printed
    assert "±3 pt" in printed
    assert not (sweep / "comparison.html").exists()


@pytest.mark.parametrize(
    ("words", "message"), [("plan=0", "number of verdicts"), ("plan=4", "needs a pilot")]
)
def test_a_plan_without_a_pilot_or_a_sweep_is_an_error(tmp_path, run_writer, words, message):
    run_writer("single", 0, metrics(gender=0.6))
    with pytest.raises(MtlfaceError, match=message):
        main([f"runs={tmp_path}", words])


def recipe(name):
    """Settings of an arm's own, so that nothing is its twin."""
    return {"config.backbone": name}


def test_two_single_task_arms_of_a_task_are_the_users_choice(tmp_path, run_writer):
    for seed in range(3):
        run_writer("small", seed, metrics(gender=0.6 + seed / 100), **recipe("small"))
        run_writer("large", seed, metrics(gender=0.7 + seed / 90), **recipe("large"))
        run_writer("both", seed, metrics(gender=0.8 + seed / 80, landmarks=0.1), **recipe("both"))
    tree = read_runs([tmp_path])
    undecided = compare(tree)
    assert undecided.verdicts == []
    assert any("references.gender=<arm>" in note for note in undecided.notes)
    found = {
        (d.kind, d.arm): d.reference for d in compare(tree, references={"gender": "large"}).verdicts
    }
    assert found == {("recipe", "small"): "large", ("recipe + sharing", "both"): "large"}


def test_a_run_may_name_its_reference(tmp_path, run_writer):
    for seed in range(3):
        run_writer("small", seed, metrics(gender=0.6), **recipe("small"))
        run_writer("large", seed, metrics(gender=0.7), **recipe("large"))
        names = {"references": {"gender": "small"}, **recipe("both")}
        run_writer("both", seed, metrics(gender=0.8, landmarks=0.1), **names)
    assert [d.reference for d in compare(read_runs([tmp_path])).verdicts] == ["small"]


def test_a_changed_arm_is_set_against_the_reference_with_the_same_changes(tmp_path, run_writer):
    names = {"references": {"gender": "single"}}
    for change in ("", ",lr=0.1"):
        run_writer(f"single{change}", 0, metrics(gender=0.6), experiment="single", **recipe("s"))
        run_writer(
            f"both{change}", 0, metrics(gender=0.8, landmarks=0.1), experiment="both", **names
        )
    other = "both,balancing=dwa"
    run_writer(other, 0, metrics(gender=0.8, landmarks=0.1), experiment="both", **names)
    found = {d.arm: d.reference for d in compare(read_runs([tmp_path])).verdicts}
    assert found == {"both": "single", "both,lr=0.1": "single,lr=0.1", other: "single"}


def twins(run_writer, match=False):
    """A baseline, an improved arm with another rate and better values, and its twin."""
    new = {"config.lr": 0.1, "experiment": "new", "references": {"gender": "old"}, "label": "New"}
    for seed in range(4):
        shake = seed / 1000
        run_writer("old", seed, metrics(gender=0.6 + shake))
        run_writer("new", seed, metrics(gender=0.8 - shake, landmarks=0.1), **new)
        run_writer("new,only=gender", seed, metrics(gender=0.79 + shake / 9), **new)
        if match:
            longer = new | {"config.match": "flops"}
            run_writer(
                "new,match=flops,only=gender", seed, metrics(gender=0.9 + shake / 9), **longer
            )


def test_sharing_is_arm_against_twin_and_recipe_is_twin_against_baseline(tmp_path, run_writer):
    twins(run_writer)
    comparison = compare(read_runs([tmp_path]))
    found = {(d.kind, d.arm, d.reference) for d in comparison.verdicts}
    assert found == {
        ("sharing", "new", "new,only=gender"),
        ("recipe", "new,only=gender", "old"),
    }
    by_kind = {d.kind: d for d in comparison.verdicts}
    assert by_kind["sharing"].differing == {}
    assert by_kind["recipe"].differing == {"lr": (0.1, None)}
    line = answer_line(comparison)
    assert "Sharing: gender" in line
    assert "Recipe: gender better by 18.9 pt" in line
    assert question(comparison) == "Did sharing help?"


def test_without_a_twin_nothing_is_called_sharing(tmp_path, run_writer):
    twins(run_writer)
    for seed in range(4):
        shutil.rmtree(tmp_path / f"demo_sweep/new,only=gender/celeba/seed={seed}")
    comparison = compare(read_runs([tmp_path]))
    assert [d.kind for d in comparison.verdicts] == ["recipe + sharing"]
    assert question(comparison) == "Did recipe and sharing help?"
    assert "What sharing alone does is not known" in answer_line(comparison)
    main([f"runs={tmp_path}", "figures=false"])
    assert "They differ in lr (0.1 and –)" in (tmp_path / "comparison.md").read_text()


def test_better_holds_only_if_it_holds_for_the_same_whole_budget_too(tmp_path, run_writer):
    twins(run_writer, match=True)
    found = {
        (d.reference, d.matched): d.answer
        for d in compare(read_runs([tmp_path])).verdicts
        if d.kind == "sharing"
    }
    assert found == {
        ("new,only=gender", False): "depends on the budget",
        ("new,match=flops,only=gender", True): "depends on the budget",
    }


@pytest.mark.parametrize(
    "key",
    ["config.lr", "config.trainer.max_epochs", "config.tasks.gender.loss", "config.data.limit"],
)
def test_a_setting_in_which_an_arm_and_its_reference_differ_is_named(tmp_path, run_writer, key):
    run_writer("single", 0, metrics(gender=0.6))
    run_writer("both", 0, metrics(gender=0.8, landmarks=0.1))
    (plain,) = compare(read_runs([tmp_path])).verdicts
    assert (plain.kind, plain.differing) == ("sharing", {})
    run_writer("both", 0, metrics(gender=0.8, landmarks=0.1), **{key: "other"})
    (found,) = compare(read_runs([tmp_path])).verdicts
    assert (found.kind, list(found.differing)) == (
        "recipe + sharing",
        [key.removeprefix("config.")],
    )


@pytest.mark.parametrize("experiment", ["celeba_landmarks_gender_improved", "agegender_cnn4_bn"])
def test_every_setting_of_a_recipe_is_named_where_it_differs(composed, run_writer, experiment):
    config = identity(only_task(composed(f"experiment={experiment}")))
    first, *others = config["tasks"]
    single = dict(config) | {"tasks": {first: config["tasks"][first]}}
    folder = run_writer("single", 0, metrics(gender=0.6), config=single)
    run_writer("both", 0, metrics(gender=0.8, landmarks=0.1), config=config)
    arms = {arm.label: arm for arm in compare(read_runs([folder.parents[3]])).arms}
    one, both = arms["single"], arms["both"]
    assert differing(both, one) == {} and is_twin(one, both, first)
    of_sharing = {"seed", "balancing", "scores", *(f"tasks.{name}" for name in others)}
    of_sharing |= {f"tasks.{first}.weight"}
    keys = [
        key
        for key in flattened(config)
        if not any(key == part or key.startswith(f"{part}.") for part in of_sharing)
    ]
    assert len(keys) > 25
    for key in keys:
        changed = copy.deepcopy(single)
        *parents, last = key.split(".")
        node = changed
        for part in parents:
            node = node[part]
        node[last] = "another"
        one.runs[0].content["config"] = changed
        assert list(differing(both, one)) == [key]
        assert not is_twin(one, both, first), key


@pytest.mark.parametrize("several", [["Smiling", "Young"], "all"])
def test_the_twin_of_one_of_many_attributes_is_the_arm_that_learns_it_alone(
    tmp_path, run_writer, several
):
    def attributes(*names):
        tasks = {name: {"label": "attributes", "primary": "f1"} for name in names}
        values = {f"test/{name}/f1": 0.7 for name in names}
        config = {"config.tasks": {"attributes": {"per_attribute": True}}}
        return values, {"tasks": tasks, "directions": {f"{n}/f1": True for n in names}, **config}

    for seed in range(3):
        values, more = attributes("Smiling", "Young")
        run_writer("both", seed, values, **more, **{"config.data.attributes": several})
        values, more = attributes("Smiling")
        run_writer("one", seed, values, **more, **{"config.data.attributes": ["Smiling"]})
    found = compare(read_runs([tmp_path])).verdicts
    assert [(d.kind, d.arm, d.reference, d.differing) for d in found if d.kind == "sharing"] == [
        ("sharing", "both", "one", {})
    ]


def test_the_same_images_with_other_labels_are_refused(tmp_path, run_writer):
    for seed, labels in enumerate(("aa", "bb")):
        on = {"celeba": {"fingerprint": "ff", "labels": {"gender": labels}, "n": 600}}
        run_writer("single", seed, metrics(gender=0.6), evaluated_on=on)
    with pytest.raises(MtlfaceError, match="different labels of gender"):
        compare(read_runs([tmp_path]))


def test_other_test_images_are_refused_whatever_was_trained_on(tmp_path, run_writer):
    def on(print_of):
        return {"celeba": {"fingerprint": print_of, "labels": {}, "n": 600}}

    more = {"trained_on.celeba.images": "eeee"}
    run_writer("a", 0, metrics(gender=0.6), evaluated_on=on("aaaa"))
    run_writer("b", 0, metrics(gender=0.6), evaluated_on=on("aaaa"), **more)
    assert len(compare(read_runs([tmp_path])).arms) == 2
    run_writer("c", 0, metrics(gender=0.6), evaluated_on=on("bbbb"), **more)
    with pytest.raises(MtlfaceError, match="2 different sets of images"):
        compare(read_runs([tmp_path]))
    assert [a.label for a in compare(read_runs([tmp_path]), data="bbbb").arms] == ["c"]


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
