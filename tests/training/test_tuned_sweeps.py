"""`tune=` from the command line: equal trials, nothing twice, and the best with fresh seeds."""

import json
from pathlib import Path

import pytest
from forked_runs import at_step, before, die
from forked_sweeps import command_line, door
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.training.identity import flattened
from mtlface.training.journal import mend, open_study
from mtlface.training.sweeps.launch import compose
from mtlface.training.sweeps.plan import plan
from mtlface.training.sweeps.tune import searches_of

pytest.importorskip("optuna")

ARMS = ("tiny,only=gender", "tiny")
TWO_ARMS = ("-m", "only=null,gender", "seed=0,1", "group=study")
SEARCH = ("tune=default", "tune.trials=3", "tune.space={optimizer.lr: {low: 1e-4, high: 1e-2}}")
EPOCHS, STEPS = 2, 2 * 2  # of a trial: two steps an epoch


def short_line(*arguments):
    long, short = "trainer.max_epochs=3", f"trainer.max_epochs={EPOCHS}"
    return [short if word == long else word for word in command_line(*arguments)]


def start(faces, cache, outputs, log, *words, disturb=None):
    line = short_line(faces, cache, outputs, *TWO_ARMS, *SEARCH, *words)
    return door(log, line, *(disturb or ()))


def studies(outputs, group="study"):
    """By arm, its trials as (state, settings, value)."""
    import optuna

    journal = outputs / group / "trials" / "journal.log"
    names = optuna.get_all_study_names(open_study(journal, "none")._storage)
    found = {}
    for name in names:
        if name != "none":
            trials = open_study(journal, name).get_trials()
            found[name.split("/")[0]] = [(t.state.name, t.params, t.value) for t in trials]
    return found


def results(outputs):
    return {path.parent: json.loads(path.read_text()) for path in outputs.rglob("result.json")}


def trial_folder(outputs, arm, number):
    return outputs / "study" / "trials" / arm / str(number) / "celeba" / "seed=1000"


def written(outputs):
    return {path: path.stat().st_mtime_ns for path in outputs.rglob("result.json")}


@pytest.fixture(scope="module")
def tuned(faces, tmp_path_factory):
    """A tuned sweep of two arms that nothing disturbed."""
    root = tmp_path_factory.mktemp("tuned")
    assert start(faces, root / "cache", root / "out", root / "log") == 0, (root / "log").read_text()
    return root


def test_every_arm_gets_the_same_number_of_trials(tuned):
    found = studies(tuned / "out")
    assert found.keys() == set(ARMS)
    for arm, trials in found.items():
        assert [state for state, _, _ in trials] == ["COMPLETE"] * 3
        for number, (_, params, value) in enumerate(trials):
            result = results(tuned / "out")[trial_folder(tuned / "out", arm, number)]
            assert result["seed"] == 1000 and result["selection"]["value"] == value
            assert result["config"]["optimizer"]["lr"] == params["optimizer.lr"]
        assert len({params["optimizer.lr"] for _, params, _ in trials}) == 3
    # No arm begins with luckier draws.
    first, second = (found[arm][0][1]["optimizer.lr"] for arm in ARMS)
    assert first == second


def test_the_best_of_validation_is_trained_with_the_seeds_of_the_sweep(tuned):
    fresh = {p: r for p, r in results(tuned / "out").items() if "trials" not in p.parts}
    assert len(fresh) == 4 and {r["seed"] for r in fresh.values()} == {0, 1}
    for result in fresh.values():
        arm, _, trials = result["arm"].rpartition(",tuned=")
        assert trials == "3"
        _, best, _ = max(studies(tuned / "out")[arm], key=lambda trial: trial[2])
        flat = flattened(result["config"])
        assert {key: flat[key] for key in best} == best
        assert result["tuned"]["trials"] == 3 and set(result["tuned"]["keys"]) == set(best)
    assert "tasks.gender.weight" not in studies(tuned / "out")[ARMS[0]][0][1]


def test_a_second_start_repeats_nothing(faces, tuned):
    before_it, journal = written(tuned / "out"), studies(tuned / "out")
    assert start(faces, tuned / "cache", tuned / "out", tuned / "log2") == 0
    assert written(tuned / "out") == before_it and studies(tuned / "out") == journal
    assert "0 of 4 runs are to be done" in (tuned / "log2").read_text()


@pytest.mark.slow
def test_more_trials_go_on_from_those_that_are_there(faces, tuned, tmp_path):
    import shutil

    shutil.copytree(tuned / "out", tmp_path / "out")
    kept = {p: t for p, t in written(tmp_path / "out").items() if "trials" in p.parts}
    code = start(faces, tuned / "cache", tmp_path / "out", tmp_path / "log", "tune.trials=4")
    assert code == 0, (tmp_path / "log").read_text()
    found = studies(tmp_path / "out")
    assert {len(trials) for trials in found.values()} == {4}
    assert kept.items() <= written(tmp_path / "out").items()
    assert {a: t[:3] for a, t in found.items()} == studies(tuned / "out")


def before_telling(number):
    """Dies when the trial with this count is trained, and not yet written down."""
    from mtlface.training.sweeps.tune import Search

    tell, told = Search.tell, []

    def counted(self, *arguments):
        told.append(arguments)
        if len(told) == number + 1:
            die()
        tell(self, *arguments)

    Search.tell = counted


def while_asking(number):
    """Dies when a trial is begun, and has only the first of its settings."""
    from optuna.trial import Trial

    suggest, asked = Trial.suggest_float, []

    def counted(self, *arguments, **settings):
        asked.append(arguments)
        if len(asked) == number + 1:
            die()
        return suggest(self, *arguments, **settings)

    Trial.suggest_float = counted


@pytest.mark.slow
def test_a_search_killed_anywhere_repeats_no_trial_and_finds_the_same(faces, tuned, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    kept = {}
    for disturb in (
        (at_step, 2 * STEPS + STEPS // 2 + 1),  # in the middle of the third trial
        (before_telling, 0),  # it is trained by now
        (while_asking, 1),  # of what is begun next
        (before, "write_result"),
        (at_step, 2 * STEPS + 3),  # the fresh seeds, if not a trial
    ):
        assert start(faces, tuned / "cache", out, log, disturb=disturb) == -9, log.read_text()
        assert kept.items() <= written(out).items(), "a finished run was trained again"
        kept = written(out)
    assert start(faces, tuned / "cache", out, log) == 0, log.read_text()
    assert kept.items() <= written(out).items(), "a finished run was trained again"
    assert studies(out) == studies(tuned / "out")
    metrics = [
        {p.relative_to(root): r["metrics"] for p, r in results(root).items()}
        for root in (out, tuned / "out")
    ]
    assert metrics[0] == metrics[1]


def test_a_trial_below_the_median_is_stopped_and_counts(faces, tuned, tmp_path):
    rates = "+tune.space={optimizer.lr: {choices: [1e-2, 1e-9]}, optimizer.weight_decay: null}"
    words = (
        "seed=0", "only=gender", "tune.trials=6", "tune.prune={after_trials: 1, after_epochs: 0}"
    )  # fmt: skip
    out = tmp_path / "out"
    line = [word for word in SEARCH if not word.startswith("tune.space")]
    line = short_line(faces, tuned / "cache", out, "group=study", *line, *words, rates)
    assert door(tmp_path / "log", line) == 0, (tmp_path / "log").read_text()
    ((arm, trials),) = studies(out).items()
    states = [state for state, _, _ in trials]
    assert len(trials) == 6 and set(states) == {"COMPLETE", "PRUNED"}
    stopped = trial_folder(out, arm, states.index("PRUNED"))
    assert not (stopped / "result.json").exists() and not (stopped / "error.json").exists()
    assert len((stopped / "metrics.csv").read_text().splitlines()) < 1 + EPOCHS, (
        "it was trained whole"
    )
    (fresh,) = (r for p, r in results(out).items() if "trials" not in p.parts)
    best = max((t for t in trials if t[0] == "COMPLETE"), key=lambda t: t[2])
    assert fresh["config"]["optimizer"]["lr"] == best[1]["optimizer.lr"]

    line = [*line, "tune.prune=null", "group=all"]
    assert door(tmp_path / "log", line) == 0, (tmp_path / "log").read_text()
    assert [t[0] for t in studies(out, "all")[arm]] == ["COMPLETE"] * 6


def test_a_trial_that_diverges_counts_and_an_arm_without_another_is_said(faces, tuned, tmp_path):
    words = (
        "tune.trials=2",
        "seed=0",
        "only=gender",
        "+tune.space={optimizer.lr: {choices: [1e38]}}",
    )
    out = tmp_path / "out"
    line = short_line(faces, tuned / "cache", out, "group=study", "tune=default", *words)
    line.append("optimizer=sgd")
    assert door(tmp_path / "log", line) == 1
    ((_, trials),) = studies(out).items()
    assert [state for state, _, _ in trials] == ["FAIL"] * 2
    log = (tmp_path / "log").read_text()
    assert "has no settings to go on with: no trial trained to its end" in log
    assert not [p for p in results(out) if "trials" not in p.parts]


@pytest.mark.slow
def test_a_trial_that_breaks_off_is_trained_again(faces, tuned, tmp_path):
    out, root = tmp_path / "out", tmp_path / "log"
    words = ("data.max_bad_fraction=0", "tune.trials=2")
    broken = [*words, "data.root=/nowhere/at/all"]
    assert start(faces, tuned / "cache", out, root, *broken) == 1
    assert {tuple(s for s, _, _ in t) for t in studies(out).values()} == {("RUNNING",)}
    assert "nowhere" in root.read_text()
    assert start(faces, tuned / "cache", out, root, *words) == 0, root.read_text()
    assert {tuple(s for s, _, _ in t) for t in studies(out).values()} == {("COMPLETE",) * 2}


def test_a_last_line_that_was_cut_off_does_not_break_the_journal(tmp_path):
    journal = tmp_path / "journal.log"
    study = open_study(journal, "arm")
    study.tell(study.ask(), 1.0)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    mend(journal)
    assert journal.read_bytes() == whole
    again = open_study(journal, "arm")
    again.tell(again.ask(), 2.0)
    assert [t.value for t in open_study(journal, "arm").get_trials()] == [1.0, 2.0]


@pytest.fixture
def searched():
    def of(*words):
        with initialize_config_dir(str(config_folder()), job_name="train", version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            given = ["experiment=celeba_landmarks_gender", "profile=smoke", *words]
            master = compose(loader, given, multirun=False)
            return searches_of(loader, master, plan(loader, master))

    return of


def test_all_balancing_methods_share_the_search_of_their_twins(searched):
    found = searched("tune=default", "balancing=fixed,uncertainty,cagrad", "twins=true", "seed=0,1")
    arms = [search.arm.removeprefix("celeba_landmarks_gender") for search in found.values()]
    assert arms == [
        "", ",balancing=uncertainty", ",balancing=cagrad@features", ",only=gender",
        ",only=landmarks",
    ]  # fmt: skip


def test_another_space_or_recipe_is_another_search(searched):
    def name(*words):
        (search,) = searched("tune=default", *words).values()
        return search.name

    plain = name()
    assert name("tune.trials=3") == name("tune.prune=null") == name("seed=5") == plain
    others = ["+tune.space={optimizer.lr: {choices: [0.1]}}", "tune.seed=7", "trainer.max_epochs=2"]
    assert len({plain, *map(name, others)}) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune.trials=0",), "tune.trials=0: expected a whole number, 1 or more"),
        (("tune.prune=true",), "tune.prune=true: expected after_trials and after_epochs"),
        (("+tune.space={optimizr.lr: {choices: [0.1]}}",), "Did you mean 'optimizer.lr'"),
        (("tune.seed=1", "seed=0,1"), "tune.seed=1 is one of the sweep's seeds"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_trained(searched, words, message):
    with pytest.raises(MtlfaceError, match=message):
        searched("tune=default", *words)


def test_without_optuna_the_extra_is_named(searched, monkeypatch):
    monkeypatch.setattr("mtlface.training.sweeps.tune.find_spec", lambda _: None)
    with pytest.raises(MtlfaceError, match="needs Optuna, which is not installed"):
        searched("tune=default")


def test_the_extra_has_the_package():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert any(need.startswith("optuna>=") for need in project["optional-dependencies"]["tune"])
