"""Each YAML of conf/backbone composes into a backbone that runs."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

torch.set_num_threads(1)

PRESETS = sorted((Path(__file__).parents[2] / "conf" / "backbone").glob("*.yaml"))
HEAVY = {"resnet50", "convnext_tiny", "vit_b_16", "vit_small"}


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in HEAVY else [])
        for p in PRESETS
    ],
)
def test_a_preset_says_when_to_choose_it_and_builds(preset):
    assert preset.read_text().startswith("# ")
    config = OmegaConf.create({"pretrained": False, "data": {"image_size": [64, 64]}})
    config.backbone = OmegaConf.load(preset)
    backbone = instantiate(config.backbone).eval()
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.no_grad():
        assert backbone(images).shape == (1, backbone.features)


def test_there_are_presets():
    assert PRESETS
