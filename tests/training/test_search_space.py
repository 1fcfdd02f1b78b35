"""What each arm searches, and what is refused before anything is trained."""

import pytest
from omegaconf import OmegaConf

from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.training.identity import flattened, identity
from mtlface.training.sweeps.space import check_keys, ranges_of, read_space

CONF = config_folder()
DEFAULT = read_space(OmegaConf.to_container(OmegaConf.load(CONF / "tune/default.yaml").space))
METHODS = sorted(path.stem for path in (CONF / "balancing").glob("*.yaml"))


def space(**keys):
    return read_space({key.replace("__", "."): of for key, of in keys.items()})


def test_an_arm_searches_the_keys_that_it_has(composed):
    cfg = composed("experiment=tiny", "balancing=gradnorm")
    assert list(ranges_of(DEFAULT, cfg)) == [
        "optimizer.lr", "optimizer.weight_decay", "tasks.gender.weight", "tasks.landmarks.weight",
        "balancing.alpha",
    ]  # fmt: skip
    two_phase = ranges_of(DEFAULT, composed("experiment=tiny", "finetune=two_phase"))
    assert "finetune.unfrozen_lr" in two_phase and "balancing.alpha" not in two_phase


def test_an_only_task_has_nothing_to_be_weighed_or_balanced_with(composed):
    twin = composed("experiment=tiny", "balancing=gradnorm", "only=gender")
    assert list(ranges_of(DEFAULT, twin)) == ["optimizer.lr", "optimizer.weight_decay"]


@pytest.mark.parametrize("method", METHODS)
def test_the_default_space_has_a_key_of_every_method_that_has_one(composed, method):
    cfg = composed("experiment=tiny", f"balancing={method}")
    # Words and numbers of the method itself; where it works is what it is.
    own = {
        key
        for key, value in flattened(identity(cfg)).items()
        if key.startswith("balancing.") and not isinstance(value, bool)
        and not key.endswith(("_target_", "_partial_", ".level"))
    }  # fmt: skip
    found = {key for key in ranges_of(DEFAULT, cfg) if key.startswith("balancing.")}
    assert bool(own) == bool(found), own


def test_a_key_in_full_wins_over_a_pattern_and_null_takes_one_out(composed):
    ranges = space(
        tasks__gender__weight={"choices": [1.0, 2.0]}, **{"tasks.*.weight": {"low": 1, "high": 9}}
    )
    found = ranges_of(ranges, composed("experiment=tiny"))
    assert found["tasks.gender.weight"].choices == (1.0, 2.0)
    assert found["tasks.landmarks.weight"].low == 1
    assert list(space(optimizer__lr=None, optimizer__eps={"choices": [1e-8]})) == ["optimizer.eps"]


def test_whole_numbers_stay_whole_where_the_config_has_one(composed):
    ranges = space(
        data__batch_size={"low": 8, "high": 16}, tasks__gender__weight={"low": 1, "high": 9}
    )
    found = ranges_of(ranges, composed("experiment=tiny"))
    assert found["data.batch_size"].whole and not found["tasks.gender.weight"].whole


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"optimizer__lr": {"low": 1.0, "high": 0.1}}, "tune.space.optimizer.lr=.*low below high"),
        ({"optimizer__lr": {"low": 0, "high": 1, "log": True}}, "above 0 with log: true"),
        ({"optimizer__lr": {"low": 0.1, "hihg": 1}}, "Did you mean 'high'"),
        ({"optimizer__lr": 0.1}, "expected a range, or choices"),
        ({"optimizer__lr": {"choices": []}}, "expected a list of single values"),
        ({"optimizer__lr": None}, "tune.space is empty"),
        ({"seed": {"choices": [1, 2]}}, "seed is not searched"),
        ({"monitor__name": {"choices": ["val/loss"]}}, "monitor is not searched"),
        ({"trainer__devices": {"choices": [1, 2]}}, "trainer.devices is not searched"),
    ],
)
def test_a_range_that_is_none_is_refused(keys, message):
    with pytest.raises(MtlfaceError, match=message):
        space(**keys)


@pytest.mark.parametrize(
    ("key", "near"),
    [("optimizer.lrr", "optimizer.lr"), ("tasks.gendr.weight", "tasks.gender.weight")],
)
def test_an_unknown_key_is_named_with_the_right_one(composed, key, near):
    with pytest.raises(MtlfaceError, match=rf"tune.space.{key}: .* Did you mean '{near}'"):
        check_keys(read_space({key: {"choices": [1.0]}}), [composed("experiment=tiny")])


def test_the_ends_of_a_range_must_be_possible_values(composed):
    ranges = space(optimizer__lr={"low": -1.0, "high": 1.0})
    with pytest.raises(MtlfaceError, match=r"optimizer\.lr=-1\.0: expected a number, above 0"):
        ranges_of(ranges, composed("experiment=tiny"))
