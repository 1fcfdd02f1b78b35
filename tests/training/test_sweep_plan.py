import json
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.training.arm import as_name
from mtlface.training.sweeps.launch import compose
from mtlface.training.sweeps.mistakes import explained
from mtlface.training.sweeps.plan import plan
from mtlface.training.sweeps.summary import commands, outcomes
from mtlface.values import LONGEST_NAME

SMALL = ["profile=smoke", "backbone=cnn3"]


@pytest.fixture
def loader():
    with initialize_config_dir(str(config_folder()), job_name="train", version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def planned(loader, *overrides, outputs="out"):
    master = compose(loader, [*overrides, *SMALL, f"outputs={outputs}"], multirun=True)
    return plan(loader, master)


def test_a_sweep_is_every_arm_with_every_seed(loader):
    runs = planned(loader, "sweep=celeba_landmarks_gender")
    arms = {run.arm.partition(",")[0] for run in runs}
    assert arms == {
        "celeba_gender", "celeba_landmarks", "celeba_landmarks_gender",
        "celeba_landmarks_gender_improved",
    }  # fmt: skip
    assert len(runs) == 30 and {run.seed for run in runs} == set("01234")
    assert all(run.folder.parts[-4] == "celeba_landmarks_gender" for run in runs)
    assert len({run.fingerprint for run in runs}) == 30


def test_seeds_and_arms_of_the_command_line_take_the_place_of_the_sweeps(loader):
    runs = planned(loader, "sweep=celeba_landmarks_gender", "seed=7,8", "experiment=celeba_gender")
    assert [(run.arm, run.seed) for run in runs] == [
        ("celeba_gender,backbone=cnn3", "7"),
        ("celeba_gender,backbone=cnn3", "8"),
    ]


def test_a_plan_says_what_hydra_composes_for_each_run(loader):
    """The seeds of an arm are not composed one by one, and must come out as if they were."""
    runs = planned(loader, "experiment=celeba_gender", "optimizer.lr=0.1,0.2", "seed=0,3")
    for run in runs:
        (alone,) = planned(loader, *run.overrides)
        assert (alone.folder, alone.fingerprint) == (run.folder, run.fingerprint)


def test_methods_with_a_level_carry_it_in_their_arm(loader):
    runs = planned(loader, "experiment=celeba_landmarks_gender", "balancing=fixed,upgrad")
    assert [run.arm for run in runs] == [
        "celeba_landmarks_gender,backbone=cnn3",
        "celeba_landmarks_gender,backbone=cnn3,balancing=upgrad@features",
    ]
    (exact,) = planned(
        loader, "experiment=celeba_gender", "balancing=upgrad", "balancing.level=parameters"
    )
    assert exact.arm == "celeba_gender,backbone=cnn3,balancing=upgrad@parameters"


def test_all_balancing_methods_share_one_pair_of_twins(loader):
    runs = planned(
        loader, "experiment=celeba_landmarks_gender", "balancing=fixed,upgrad,dwa", "twins=true"
    )
    assert [run.arm for run in runs[3:]] == [
        "celeba_landmarks_gender,backbone=cnn3,only=gender",
        "celeba_landmarks_gender,backbone=cnn3,only=landmarks",
    ]


def test_a_single_task_arm_of_the_same_recipe_stands_for_the_twin(loader):
    arms = ["celeba_gender", "celeba_landmarks", "celeba_landmarks_gender"]
    runs = planned(loader, f"experiment={','.join(arms)}", "twins=true")
    assert [run.arm.partition(",")[0] for run in runs] == arms


def test_a_transfer_sweep_is_every_task_alone_and_every_pair_and_no_run_twice(loader):
    runs = planned(loader, "sweep=transfer", "transfer.tasks=[gender,landmarks,attribute/Young]")
    arms = [run.arm for run in runs if run.seed == "0"]
    sets = [arm.partition("task=")[2] for arm in arms]
    assert sets == [
        "", "[landmarks]", "[attribute-Young]", "[gender,landmarks]", "[gender,attribute-Young]",
        "[landmarks,attribute-Young]",
    ]  # fmt: skip
    assert len(runs) == 5 * 6  # the tasks alone are the pairs' twins
    larger = planned(loader, "sweep=transfer_faces", "transfer.largest=3", "seed=0")
    assert len(larger) == 4 + 6 + 4


@pytest.mark.parametrize("tasks", ["[gender]", "[gender,gender]"])
def test_a_transfer_sweep_needs_different_tasks(loader, tasks):
    with pytest.raises(MtlfaceError, match="two different tasks or more"):
        planned(loader, "sweep=transfer", f"transfer.tasks={tasks}")


def test_a_label_curve_has_the_twins_of_every_share_and_one_of_the_whole_task(loader):
    runs = planned(loader, "sweep=label_curve", "seed=0")
    twins = [run.arm.rpartition("only=")[2] for run in runs if "only=" in run.arm]
    assert len(runs) == 5 + 5 + 1
    assert twins.count("landmarks") == 5 and twins.count("gender") == 1


def test_matched_twins_are_trained_beside_those_of_the_same_epochs(loader):
    settings = ("experiment=celeba_landmarks_gender", "twins=true", "match=flops")
    runs = planned(loader, *settings)
    assert [run.arm for run in runs] == [
        "celeba_landmarks_gender,backbone=cnn3",
        "celeba_landmarks_gender,backbone=cnn3,only=gender",
        "celeba_landmarks_gender,backbone=cnn3,match=flops,only=gender",
        "celeba_landmarks_gender,backbone=cnn3,only=landmarks",
        "celeba_landmarks_gender,backbone=cnn3,match=flops,only=landmarks",
    ]


def test_long_arm_names_stay_folder_names_and_apart():
    long = [f"tasks.gender.a{i}=some_value" for i in range(50)]
    one, two = as_name("x", [*long, "b=1"]), as_name("x", [*long, "b=2"])
    assert one != two and max(len(one.encode()), len(two.encode())) <= LONGEST_NAME


def test_two_runs_in_one_folder_are_refused(loader):
    with pytest.raises(MtlfaceError, match="share the folder"):
        planned(loader, "experiment=celeba_gender", "trainer=cpu,auto")


def test_a_seed_is_a_whole_number(loader):
    with pytest.raises(MtlfaceError, match="seed=two"):
        planned(loader, "experiment=celeba_gender", "seed=0,two")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=3", "'optimizer.lrr'. Did you mean 'lr'"),
        ("experimnt=celeba_gender", "'experimnt'. Did you mean 'experiment'"),
        ("data.image_sise=[64,64]", "Did you mean 'image_size'"),
        ("seed=0,1", "Add -m"),
        ("tune.trials=20", "tune.trials=20: no search is chosen"),
        ("tune={trials: 20}", "write tune=default tune.trials=20"),
    ],
)
def test_a_wrong_key_is_named_with_the_right_one(loader, override, message):
    overrides = ["experiment=celeba_gender", override]
    with pytest.raises(MtlfaceError) as found, explained(overrides, loader.list_groups("")):
        compose(loader, overrides, multirun=False)
    assert message in str(found.value)


def test_only_what_is_not_done_is_repeated(loader, tmp_path):
    runs = planned(loader, "sweep=celeba_landmarks_gender", "seed=0,1,2", outputs=tmp_path)
    gender = [run for run in runs if run.arm.startswith("celeba_gender")]
    for run in runs:
        run.folder.mkdir(parents=True)
        result = {"schema": 2, "identity": run.fingerprint}
        (run.folder / "result.json").write_text(json.dumps(result))
    (gender[0].folder / "result.json").unlink()
    (gender[0].folder / "error.json").write_text('{"error": "no luck"}')
    (gender[2].folder / "result.json").unlink()

    ended = outcomes(runs, {runs[-1].folder})
    assert ended[gender[0].folder].error == "no luck"
    assert gender[2].folder not in ended, "a run that was cut off has no outcome"
    assert ended[runs[-1].folder].state == "skipped" and ended[gender[1].folder].state == "done"

    hydra = ["hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    (command,) = commands([gender[0], gender[2]], hydra)
    again = command.removeprefix("python -m mtlface.train ").split()
    assert again[-2:] == hydra[1:]
    master = compose(loader, again[:-2], multirun=False)
    assert [run.folder for run in plan(loader, master)] == [gender[0].folder, gender[2].folder]


def test_another_configuration_in_the_folder_is_not_done(loader, tmp_path):
    (run,) = planned(loader, "experiment=celeba_gender", outputs=tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text('{"schema": 2, "identity": "other"}')
    assert run.stale and not run.done


def test_run_folders_are_where_the_plan_says(loader):
    (run,) = planned(loader, "experiment=celeba_gender")
    cfg = compose(loader, run.job, multirun=False)
    assert Path(cfg.hydra.run.dir).absolute() == run.folder
