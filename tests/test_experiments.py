"""Every published arm is there by name, composes with every profile, and learns."""

import functools
import math
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mtlface.door import config_folder
from mtlface.training.build import build_datamodule, check_tasks
from mtlface.training.run import run
from mtlface.training.trusted import check_config

CONF = config_folder()
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("[!_]*.yaml"))
SWEEPS = {
    "celeba_landmarks_gender": {
        "celeba_gender",
        "celeba_landmarks",
        "celeba_landmarks_gender",
        "celeba_landmarks_gender_improved",
    },
    "celeba_attributes_landmarks": {
        "celeba_attributes",
        "celeba_landmarks5",
        "celeba_attributes_landmarks",
        "celeba_attributes_finetuned",
        "celeba_landmarks5_finetuned",
        "celeba_attributes_landmarks_finetuned",
    },
    "agegender_generations": {
        "agegender_age",
        "agegender_gender",
        "agegender_cnn3",
        "agegender_cnn4_bn",
        "agegender_resnet34",
    },
    "agegender_transfer": {"agegender_scratch", "agegender_resnet18"},
    "facecom_gender_identity": {"facecom_gender", "facecom_identity", "facecom_gender_identity"},
}
# On one and on several data sets, on the same test images of each.
JOINT = {"faces_joint": {"faces_joint", "faces_celeba", "faces_agegender", "faces_facecom"}}
# A small trunk and no worker processes: what is tested is the experiment's data, tasks and scores.
SMALL = ("backbone=cnn3", "augment=none", "trainer=cpu")
# What the demo run of every experiment must reach on the test split, against the predictor that
# looks at no picture: where higher is better, .05 more; errors shrink by a tenth.
GAIN, SHRINKAGE = 0.05, 0.9
# Of yes/no tasks the AUROC is compared: 100 pictures tell it from chance, hardly an accuracy.
COMPARED = {"accuracy": "auroc"}
# The point of this arm is that landmarks in pixels drown gender, which stays at chance.
DROWNED = {"celeba_landmarks_gender": {"gender"}}


@functools.cache
def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def trained(name: str, profile: str, folder: Path, cache: Path, *overrides: str) -> dict:
    chosen = [f"experiment={name}", f"profile={profile}", f"data.cache={cache}", *overrides]
    cfg = composed(*chosen)
    return run(cfg, folder, chosen)


@pytest.mark.parametrize("profile", ["full", "demo", "smoke"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_and_asks_for_labels_that_its_data_has(name, profile):
    cfg = composed(f"experiment={name}", f"profile={profile}")
    assert cfg.name == name
    # What its checkpoints hold must be readable again.
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check_config({key: value for key, value in plain.items() if key != "logger"})
    check_tasks(cfg, build_datamodule(cfg).labels())
    references = set(cfg.references) - set(cfg.tasks)
    assert not references, f"references of tasks that the arm does not have: {references}"
    assert set(cfg.references.values()) <= set(EXPERIMENTS)


def test_the_sweeps_are_those_of_the_published_comparisons():
    assert {path.stem for path in (CONF / "sweep").glob("*.yaml")} >= set(SWEEPS)


@pytest.mark.parametrize("sweep", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_a_sweep_names_existing_experiments_and_its_own_folder(sweep):
    content = OmegaConf.load(CONF / "sweep" / f"{sweep}.yaml")
    grids = [content.hydra.sweeper.params, *content.get("grids", [])]
    named = [str(grid.experiment) for grid in grids if "experiment" in grid]
    arms = [arm for names in named for arm in names.split(",")]
    assert arms
    assert set(arms) <= set(EXPERIMENTS)
    assert set(arms) == (SWEEPS | JOINT).get(sweep, set(arms))
    assert content.group == sweep


@pytest.mark.parametrize("sweep", sorted(SWEEPS))
def test_the_arms_of_a_sweep_see_the_same_pictures_with_the_same_budget_on_the_demo_data(sweep):
    seen = {
        (cfg.data.name, tuple(cfg.data.image_size), cfg.patience)
        for cfg in (composed(f"experiment={arm}", "profile=demo") for arm in SWEEPS[sweep])
    }
    assert len(seen) == 1


def test_the_demo_profile_opens_a_trunk_whose_weights_it_does_not_have():
    for name in EXPERIMENTS:
        cfg = composed(f"experiment={name}", "profile=demo")
        assert not cfg.pretrained
        assert cfg.finetune.frozen_epochs == 0


@pytest.mark.parametrize("profile", sorted(path.stem for path in (CONF / "profile").glob("*.yaml")))
def test_the_trunk_that_s1_freezes_is_named_for_every_profile(profile):
    cfg = composed("experiment=celeba_attributes_landmarks", f"profile={profile}")
    assert instantiate(cfg.backbone, pretrained=False).features
    chosen = composed(
        "experiment=celeba_attributes_landmarks", f"profile={profile}", "backbone=resnet50"
    )
    assert chosen.backbone.name == "resnet50"


def test_the_command_line_wins_over_the_demo_profile():
    cfg = composed(
        "experiment=agegender_resnet34", "profile=demo", "trainer.max_epochs=3", "finetune=frozen"
    )
    assert cfg.trainer.max_epochs == 3
    assert cfg.finetune.frozen_epochs is None


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("celeba_attributes_landmarks", None),
        ("agegender_resnet34", "test/score/competition"),
        ("facecom_matching", "test/score/combined"),
    ],
)
def test_an_arm_of_each_data_set_runs(name, score, tmp_path, cache):
    metrics = trained(name, "smoke", tmp_path, cache, *SMALL)["metrics"]
    losses = [value for key, value in metrics.items() if "@" not in key and "/loss" in key]
    assert all(math.isfinite(value) for value in losses)
    assert score is None or 0 <= metrics[score] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs(name, tmp_path, cache):
    result = trained(name, "smoke", tmp_path, cache, "trainer=cpu")
    for task, about in result["tasks"].items():
        assert result["metrics"][f"test/{task}/{about['primary']}"] is not None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_weight_of_fifty_feeds_the_gender_that_unweighted_losses_starve(tmp_path, cache):
    starved, fed = (
        trained(name, "demo", tmp_path / name, cache)["metrics"]["test/gender/auroc"]
        for name in ("agegender_cnn3", "agegender_cnn4_bn")
    )
    assert fed >= starved + 2 * GAIN


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_beats_looking_at_no_picture_on_the_demo_data(name, tmp_path, cache):
    result = trained(name, "demo", tmp_path, cache)
    # Forty attributes are one task, judged by their mean: rendered faces show some of them never.
    primaries = {about["label"]: about["primary"] for about in result["tasks"].values()}
    for task, settings in composed(f"experiment={name}", "profile=demo").tasks.items():
        if task in DROWNED.get(name, ()):
            continue
        primary = primaries[settings.label]
        metric = f"{task}/{COMPARED.get(primary, primary)}"
        found, trivial = (result[of][f"test/{metric}"] for of in ("metrics", "trivial"))
        higher = result["directions"][metric]
        beats = found >= trivial + GAIN if higher else found <= trivial * SHRINKAGE
        assert beats, f"{metric}: {found}, without pictures {trivial}"
