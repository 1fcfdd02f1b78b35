"""Every value of the config is checked at composition: one error that names key, value and fix."""

import itertools
import logging
import re
import subprocess
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, open_dict

from mtlface import train
from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.menu import options
from mtlface.training.config_schema import check_values, leaves, rule_of

CONF = config_folder()
GROUPS = ("backbone", "augment", "balancing", "optimizer", "scheduler", "finetune", "trainer",
          "monitor", "tune", "task", "data")  # fmt: skip
# Checked as a whole: `Augment`, `check_limit`, `_check_draw`, and readers with their own settings.
ELSEWHERE = ("augment.", "data.split", "data.limit", "data.draw", "data.mix")
PLAIN = {"scores", "schedule", "backbone.image_size", "scores.competition.metrics"}


def choices():
    """Command lines that between them choose every experiment, profile and option of a group."""
    lists = {group: list(options(CONF, group)) for group in ("experiment", "profile", *GROUPS)}
    tasks, data = lists.pop("task"), lists.pop("data")
    for turn in range(max(map(len, lists.values()))):
        yield [f"{group}={names[turn % len(names)]}" for group, names in lists.items()]
    yield from ([f"data={name}"] for name in data)
    yield [f"task=[{','.join(tasks)}]"]  # several settings of one task: the last one holds


def assert_known(cfg):
    check_values(cfg)
    plain = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]))
    for key, _ in leaves(plain):
        shared = re.sub(r"^data\.(celeba|agegender|facecom)\.", "data.", key)
        known = shared.startswith(ELSEWHERE) or ".reader." in key or key in PLAIN
        assert rule_of(key) or known, f"{key} has no rule"


@pytest.mark.parametrize("words", list(choices()), ids=lambda words: words[0])
def test_every_value_of_our_configs_has_a_rule_that_it_fits(composed, words):
    assert_known(composed(*words, "data.root=null"))  # a join has no root of its own


@pytest.mark.slow
@pytest.mark.parametrize("experiment", options(CONF, "experiment"))
def test_every_experiment_fits_with_every_option(composed, experiment):
    for group in ("profile", *GROUPS[:-1]):  # a join refuses what an experiment says of its data
        for name in options(CONF, group):
            value = f"[{name}]" if group == "task" else name
            words = [f"experiment={experiment}", f"{group}={value}", "data.root=null"]
            assert_known(composed(*words))


NO_FRACTION = ["abc", None, 1.5, True, 10**400, "1", [1], {}]
BAD = {
    "tuned": [5, True, [], {"trials": 3}],
    "trial": [5, "x", {"number": 1}],
    "name": [None, "", " ", "..", "a/b", "/abs", "../../x", "a\x1b[2Jb", 5, "x" * 300, [], "~root"],
    "group": [None, "", "../x", "a/../../b", "/abs", 3, "a//b"],
    "arm": ["../x", None],
    "outputs": ["", None, 5, "\0"],
    "label": ["\x1b[31m", 3],
    "seed": [-1, 2**32, *NO_FRACTION],
    "patience": [-1, "abc", 1.5, True],
    "match": ["epochs", 1],
    "pretrained": [5, ""],
    "compile": ["yes", 1],
    "figures": [None, "no"],
    "debug": ["maybe"],
    "watch": [5, None],
    "watch.every_n_steps": [-1, None, "abc"],
    "tasks": [5, [1]],
    "tasks.gender": [None, 5],
    "tasks.gender.weight": [-1, float("nan"), float("inf"), "abc", None, True, [1]],
    "tasks.gender.label": [None, 3],
    "tasks.gender.start_at_mean": [1, "abc"],
    "tasks.gender.class_weights": ["inverse", 1, True],
    "tasks.gender.head._partial_": [False, None],
    "tasks.gender.loss.reduction": ["mean", None],
    "tasks.gender._target_": [None, "os", "os system", 5],
    "tasks.landmarks.loss_size": [[0, 1], [1], "abc", [1, float("nan")]],
    "optimizer": [None, "adam", 3],
    "optimizer.lr": [-1, 0, float("nan"), float("inf"), None, "abc", True],
    "optimizer.fused": ["abc"],
    "optimizer._partial_": [False],
    "schedule": [5, "cosine"],
    "monitor": [None, "skill"],
    "monitor.mode": ["largest", 1],
    "monitor.name": [None, 5],
    "finetune.frozen_epochs": [-1, "abc", 1.5],
    "trainer": [None],
    "trainer.max_epochs": [-1, 0, *NO_FRACTION],
    "trainer.accumulate_grad_batches": [0, *NO_FRACTION],
    "trainer.log_every_n_steps": [0, *NO_FRACTION],
    "trainer.precision": ["64-true", "half", 8, None, []],
    "trainer.accelerator": ["gpuu", None],
    "trainer.devices": [0, -2, None, [], 1.5],
    "trainer.gradient_clip_val": [-1, "abc"],
    "trainer.benchmark": ["abc"],
    "trainer.check_val_every_n_epoch": [2],
    "trainer.use_distributed_sampler": [True],
    "data": [None],
    "data.name": [None, "../../x", "/abs", "", "a\nb"],
    "data.reader": [None, 5],
    "data.root": ["", 5],
    "data.source": ["web", 5],
    "data.people": ["together"],
    "data.demo": ["../x.zip", 5],
    "data.kaggle": [5, ""],
    "data.split": [5, "", {"file": "x"}],
    "data.limit": ["abc", {"train": 0}, {"train": "a"}, 5],
    "data.draw": [5, {"count": 5}, {"count": 5, "ratios": [0.7, 0.2, 0.1], "seed": -1},
                  {"count": 0, "ratios": [0.7, 0.2, 0.1], "seed": 0},
                  {"count": 5, "ratios": [1, 1, 1], "seed": 0}],
    "data.batch_size": [0, *NO_FRACTION],
    "data.image_size": [5, [32], [0, 32], [32, 9000], ["a", "b"], None],
    "data.loader": ["auot", None],
    "data.workers": [-1, "abc", 1.5],
    "data.cache": [None, "", 5],
    "data.max_bad_fraction": ["abc", -0.1, 1.1, None, float("nan")],
    "data.on_bad_image": ["ignore", None],
    "augment": [None, "flip"],
    "augment.flip": [2, "abc", None],
    "augment.scale": [[0, 1], "abc", [1, float("inf")]],
    "augment.weather": [5, {"fog": "abc"}, {"frog": 0.1}],
    "augment.flop": [1],
    "balancing": [None, "upgrad"],
    "effects": [5, {"gender": -1}],
    "references": [5, {"gender": 5}],
    "scores": [5, None],
    "grids": [5, "a", [1]],
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(composed):
    return composed("experiment=tiny")


@pytest.mark.parametrize("key", BAD)
def test_a_bad_value_is_refused_by_its_key(tiny, key):
    for value in BAD[key]:
        cfg = tiny.copy()
        with open_dict(cfg):
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        with pytest.raises(MtlfaceError) as raised:
            check_values(cfg)
        message = str(raised.value)
        assert key.partition(".")[0] in message and key.rpartition(".")[2] in message
        assert message.isprintable() and len(message) < 700


REMOVED = (
    "optimizer",
    "data",
    "patience",
    "trainer.max_epochs",
    "monitor.name",
    "watch",
    "schedule",
    "optimizer._partial_",
    "seed",
    "outputs",
    "data.cache",
    "data.demo",
)


@pytest.mark.parametrize("key", REMOVED)
def test_what_every_run_needs_cannot_be_taken_away(tiny, key):
    cfg = tiny.copy()
    parent, _, last = key.rpartition(".")
    with open_dict(cfg):
        del (OmegaConf.select(cfg, parent) if parent else cfg)[last]
    with pytest.raises(MtlfaceError, match=rf"The config has no {key}"):
        check_values(cfg)


def test_the_file_on_the_way_to_outputs_is_named(tiny, tmp_path):
    (tmp_path / "there").write_text("")
    cfg = tiny.copy()
    cfg.outputs = str(tmp_path / "there" / "below")
    with pytest.raises(
        MtlfaceError, match=r"outputs=.*: expected a folder, found the file .*there"
    ):
        check_values(cfg)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """The exit code of a command line, and what it wrote to stderr; nothing may be made by it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mtlface.train", "profile=smoke", *words])
        with pytest.raises(SystemExit) as stop:
            train.main()
        GlobalHydra.instance().clear()
        assert not list(tmp_path.iterdir()), "it wrote something"
        return stop.value.code, capsys.readouterr().err

    yield run
    GlobalHydra.instance().clear()
    root.handlers[:], root.level = handlers, level


GENDER = "experiment=celeba_gender"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["seed=-1"], "seed=-1"), (["seed=true"], "seed=true"), (["seed=null"], "seed=null"),
        (["seed=1e20"], "seed=1e20"), (["seed=0,-1", "-m"], "seed=-1"),
        (["seed=range(0)", "-m"], "no run"), (["optimizer.lr=nan"], "optimizer.lr=nan"),
        (["~optimizer"], "The config has no optimizer"), (["name=null"], "name=null"),
        (["name=../../x"], "name=../../x"), (["group=/tmp/x"], "group=/tmp/x"),
        (["outputs=''"], "outputs="), (["patience=abc"], "patience=abc"),
        (["tasks.gender.weight=-1"], "tasks.gender.weight=-1"),
        (["task=[gender,gender]"], "gender"), (["trainer.max_epochs=0"], "trainer.max_epochs=0"),
        (["data.name=../x"], "data.name=../x"), (["data.workers=-1,2", "-m"], "data.workers=-1"),
        (["grids=5", "-m"], "grids=5"), (["+augment.flop=1"], "flop"),
    ],
)  # fmt: skip
def test_a_command_with_a_bad_value_ends_with_one_line_and_makes_nothing(command, words, named):
    code, text = command(GENDER, *words)
    assert code == 2 and text.startswith("error: ") and named in text
    assert text.count("\n") == 1 and "Traceback" not in text


def test_the_schema_does_not_wait_for_torch():
    code = "import sys, mtlface.training.config_schema; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_our_groups_are_all_walked():
    chosen = set(itertools.chain.from_iterable(choices()))
    for group in ("experiment", "profile", *GROUPS):
        for name in options(CONF, group) if group != "task" else ():
            assert f"{group}={name}" in chosen
