"""What makes a run another run, and what does not."""

import copy
import json

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, open_dict

from mtlface.door import config_folder
from mtlface.training.arm import only_task
from mtlface.training.identity import EXCLUDED, difference, fingerprint, flattened, identity
from mtlface.training.run import run
from mtlface.training.sweeps.launch import compose
from mtlface.training.sweeps.plan import plan

SMALL = ["profile=smoke", "backbone=cnn3"]


@pytest.fixture
def train(composed):
    def of(folder, *overrides):
        run(composed("experiment=tiny", *overrides), folder, list(overrides))
        return json.loads((folder / "result.json").read_text())

    return of


def planned(*overrides):
    with initialize_config_dir(str(config_folder()), job_name="train", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return plan(loader, compose(loader, [*overrides, *SMALL, "outputs=out"], multirun=True))


@pytest.mark.parametrize(
    "spellings",
    [
        ("optimizer.lr=1e-3", "optimizer.lr=.001", "optimizer.lr=0.0010", "balancing=fixed"),
        ("~schedule.scheduler.factor", "~schedule.scheduler.factor=0.5"),
        ("tasks.gender.weight=2", "tasks.gender.weight=2.0"),
        ("task=[gender,landmarks]", "task=[gender, landmarks]", "augment=none"),
    ],
)
def test_two_spellings_of_a_value_are_one_arm(spellings):
    experiment = "experiment=celeba_landmarks_gender"
    runs = [planned(experiment, spelling) for spelling in spellings]
    assert len({(run.arm, run.fingerprint) for (run,) in runs}) == 1


def test_what_an_experiment_has_anyway_is_no_part_of_the_name():
    (run,) = planned("experiment=celeba_gender", "optimizer.lr=1e-3", "tasks.gender.weight=1.0")
    assert run.arm == "celeba_gender,backbone=cnn3"
    (run,) = planned("experiment=celeba_gender", "optimizer.lr=2e-3", "tasks.gender.weight=.50")
    assert run.arm == "celeba_gender,backbone=cnn3,optimizer.lr=0.002,tasks.gender.weight=0.5"


def test_where_a_run_ran_and_how_fast_is_no_part_of_it(composed, tmp_path):
    tiny = identity(composed("experiment=tiny"))
    for override in (
        f"data.root={tmp_path}", "data.source=demo", f"data.cache={tmp_path}", "data.workers=3",
        "data.loader=workers", "trainer.accelerator=cpu", "trainer.devices=2", "outputs=elsewhere",
        "trainer.log_every_n_steps=7", "figures=false", "watch.every_n_steps=0", "compile=true",
        "name=other", "debug=true",
    ):  # fmt: skip
        assert identity(composed("experiment=tiny", override)) == tiny, override


def _another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "more"]
    return f"{value}_other" if value is not None else "other"


@pytest.mark.parametrize("experiment", ["celeba_landmarks_gender_improved", "agegender_resnet34"])
def test_every_recipe_key_that_differs_is_named_and_no_other(composed, experiment):
    """Each key of the config in turn: it is the difference, or it is listed as none of a run's."""
    cfg = OmegaConf.to_container(composed(f"experiment={experiment}"), resolve=True)
    whole = identity(OmegaConf.create(cfg))
    seen = 0
    for key, value in flattened(cfg).items():
        changed = copy.deepcopy(cfg)
        *parents, last = key.split(".")
        node = changed
        for part in parents:
            node = node[part]
        node[last] = _another(value)
        found = difference(whole, identity(OmegaConf.create(changed)))
        hidden = any(key == k or key.startswith(f"{k}.") for k in EXCLUDED)
        if hidden or key.startswith("scores."):
            assert not hidden or not found, key
        else:
            assert list(found) == [key], (key, found)
            seen += 1
    assert seen > 40


def test_a_twin_differs_from_its_arm_in_nothing_but_tasks_and_balancing(composed):
    cfg = composed("experiment=celeba_landmarks_gender_improved", "balancing=upgrad")
    with open_dict(cfg):
        twin = only_task(OmegaConf.merge(cfg, {"only": "gender"}))
    found = difference(identity(cfg), identity(twin), ignored=("tasks", "balancing"))
    assert not found
    assert "balancing" not in identity(twin) and list(twin.tasks) == ["gender"]


def test_a_single_task_arm_of_the_same_recipe_is_the_twin(composed):
    cfg = composed("experiment=celeba_landmarks_gender")
    with open_dict(cfg):
        cfg.only = "gender"
    alone = fingerprint(identity(composed("experiment=celeba_gender")))
    assert fingerprint(identity(only_task(cfg))) == alone


def test_weights_count_by_what_is_in_the_file(composed, tmp_path):
    one, two, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    for path, content in ((one, b"weights"), (two, b"weights"), (other, b"others")):
        path.write_bytes(content)

    def of(path):
        return fingerprint(identity(composed("experiment=celeba_gender", f"pretrained={path}")))

    assert of(one) == of(two) != of(other)


def test_a_run_of_another_folder_is_the_same_run(train, faces, tmp_path, monkeypatch):
    first = train(tmp_path / "out", "trainer.max_epochs=1")
    written = (tmp_path / "out" / "result.json").stat().st_mtime_ns
    link = tmp_path / "linked"
    link.symlink_to(faces)
    monkeypatch.chdir(tmp_path)
    for root in (f"{faces}/", link, "linked", f"{tmp_path}/x/../linked"):
        assert train(tmp_path / "out", "trainer.max_epochs=1", f"data.root={root}") == first
    assert (tmp_path / "out" / "result.json").stat().st_mtime_ns == written
    assert not (tmp_path / "out" / "replaced").exists()


def test_inverted_labels_under_a_finished_run_are_noticed(train, own_faces, tmp_path, caplog):
    root = f"data.root={own_faces}"
    first = train(tmp_path / "out", "trainer.max_epochs=1", root)
    path = own_faces / "list_attr_celeba.csv"
    header, *rows = path.read_text().splitlines()
    male = header.split(",").index("Male")
    inverted = []
    for row in rows:
        cells = row.split(",")
        cells[male] = str(-int(cells[male]))
        inverted.append(",".join(cells))
    path.write_text("\n".join([header, *inverted]) + "\n")
    again = train(tmp_path / "out", "trainer.max_epochs=1", root)
    assert "other data" in caplog.text and str(tmp_path / "out") in caplog.text
    assert again["identity"] == first["identity"]
    one, two = (r["evaluated_on"]["celeba"] for r in (first, again))
    assert one["fingerprint"] == two["fingerprint"]
    assert one["labels"]["gender"] != two["labels"]["gender"]
    assert one["labels"]["landmarks"] == two["labels"]["landmarks"]
    kept = json.loads(next((tmp_path / "out" / "replaced").rglob("result.json")).read_text())
    assert kept == first


def test_a_finished_run_whose_data_is_gone_stays_done(train, own_faces, tmp_path):
    root = f"data.root={own_faces}"
    first = train(tmp_path / "out", "trainer.max_epochs=1", root)
    own_faces.rename(tmp_path / "elsewhere")
    assert train(tmp_path / "out", "trainer.max_epochs=1", root) == first
