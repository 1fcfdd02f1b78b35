from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mtlface.data.augment import WEATHER, Augment
from mtlface.errors import MtlfaceError

PRESETS = Path(__file__).parents[2] / "conf" / "augment"


def preset(name: str) -> Augment:
    return instantiate(OmegaConf.load(PRESETS / f"{name}.yaml"))


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_a_valid_augment(path):
    assert isinstance(preset(path.stem), Augment)
    assert preset(path.stem).is_identity == (path.stem == "none")


def test_only_the_weather_presets_need_the_cpu():
    needing = {path.stem for path in PRESETS.glob("*.yaml") if preset(path.stem).needs_cpu}
    assert needing == {"adverse", "facecom"}


def test_adverse_has_all_six_conditions():
    assert all(preset("adverse").weather[name] > 0 for name in WEATHER)


def test_facecom_has_the_published_mix():
    assert preset("facecom") == Augment(
        flip=0.5, weather={"brightness_contrast": 0.5, "blur": 0.3, "rain": 0.2, "fog": 0.2}
    )


def test_agegender_has_the_published_mix():
    assert preset("agegender") == Augment(flip=0.5, rotate=10, brightness=0.2, contrast=0.2)


def test_a_change_that_is_never_drawn_is_the_identity():
    assert Augment().is_identity
    assert Augment(rotate=10, affine_probability=0).is_identity
    assert Augment(contrast=0.5, color_probability=0).is_identity
    assert Augment(weather={"rain": 0}).is_identity
    assert not Augment(scale=(0.9, 1.1)).is_identity


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"flip": 1.5}, r"augment\.flip is 1\.5; expected a number from 0 to 1"),
        ({"rotate": -10}, r"augment\.rotate is -10; expected a number from 0 to 180"),
        ({"translate": "a lot"}, r"augment\.translate is 'a lot'"),
        ({"scale": (1.2, 0.8)}, r"augment\.scale is \[1\.2, 0\.8\]; .* 0 < low ≤ high"),
        ({"scale": 1.2}, r"augment\.scale is 1\.2; expected two numbers"),
        ({"erase_area": (0.1, 0.9)}, r"augment\.erase_area .* every rectangle fits"),
        ({"weather": {"rian": 0.2}}, r"no condition 'rian'\. Did you mean 'rain'\?"),
        ({"weather": {"rain": 2}}, r"augment\.weather\.rain is 2; expected a probability"),
    ],
)
def test_an_impossible_value_is_named_with_what_was_expected(wrong, says):
    with pytest.raises(MtlfaceError, match=says):
        Augment(**wrong)
