"""`attention_maps=<n>`: a sheet a task, and heat where a head truly looks."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mtlface.errors import MtlfaceError
from mtlface.evaluate import main
from mtlface.inference.attention import GRAD_CAM, attention_maps
from mtlface.inference.network import open_network
from mtlface.models import Backbone
from mtlface.plots.heat import overlaid
from mtlface.plots.raster import png_pixels
from mtlface.training.run import run

SMOKE = (
    "experiment=celeba_landmarks_gender", "profile=smoke", "data.root=null", "data.source=demo",
    "trainer=cpu", "figures=false", "trainer.enable_progress_bar=false",
)  # fmt: skip
# Of each kind of trunk one, with what it shows besides Grad-CAM.
TRUNKS = {
    "resnet18": ([], []),
    "resnet18_cbam": ([], ["CBAM mask"]),
    "vit_small": (["data.image_size=[64,64]"], ["class token"]),
}


@pytest.fixture(scope="module", params=TRUNKS)
def smoke(request, composed, tmp_path_factory):
    words, kinds = TRUNKS[request.param]
    folder = tmp_path_factory.mktemp("attention") / request.param / "celeba" / "seed=0"
    run(composed(*SMOKE, f"backbone={request.param}", *words), folder, [])
    return folder, kinds


def test_the_command_writes_a_sheet_of_each_task(smoke, tmp_path, capsys):
    folder, kinds = smoke
    words = [f"checkpoint={folder}", "device=cpu"]
    assert main([*words, "attention_maps=3", f"output={tmp_path / 'with'}"]) == 0
    said = capsys.readouterr().out
    for task in ("gender", "landmarks"):
        assert f"attention/{task}.png" in said
        drawn = png_pixels((tmp_path / "with" / "attention" / f"{task}.png").read_bytes())
        coloured = drawn.max(axis=2).astype(int) - drawn.min(axis=2) > 40
        # Cells of 162 px: the picture, Grad-CAM and what the trunk has of its own.
        across = (2 + len(kinds)) * min(3, 6 // (2 + len(kinds)))
        assert drawn.shape[1] == pytest.approx(across * 174, abs=across * 20)
        assert coloured.mean() > 0.05
    # Drawing changes nothing of what is measured.
    assert main([*words, f"output={tmp_path / 'without'}"]) == 0
    assert not (tmp_path / "without" / "attention").exists()
    first, second = (
        json.loads((tmp_path / name / "evaluation.json").read_text())
        for name in ("with", "without")
    )
    assert first == second


def test_maps_differ_by_place_and_by_task(smoke):
    folder, kinds = smoke
    network = open_network(folder, "cpu")
    side = network.frame[0]
    images = np.random.default_rng(0).integers(0, 256, (20, side, side, 3), dtype=np.uint8)
    maps = attention_maps([network], images)  # more images than are looked at at once
    for of_task in maps.values():
        assert [found.kind for found in of_task] == [GRAD_CAM, *kinds]
        for found in of_task:
            assert len(found.heat) == 20 and np.isfinite(found.heat).all()
            assert min(found.size) == 4
        seen = of_task[0].heat
        assert seen.min() >= 0 and seen.max() <= 1 + 1e-6
        assert (seen.max(axis=(1, 2)) > 0).any() and (seen.std(axis=(1, 2)) > 0.05).any()
        for found in of_task[1:]:
            assert (found.heat.std(axis=(1, 2)) > 0).all()
    gender, landmarks = (maps[name] for name in ("gender", "landmarks"))
    assert not np.allclose(gender[0].heat, landmarks[0].heat)
    for own, other in zip(gender[1:], landmarks[1:], strict=True):  # the trunk's own are shared
        assert np.array_equal(own.heat, other.heat)
    assert all(p.grad is None for p in network.module.parameters())
    alone = attention_maps([network], images[17:18])["gender"][0]
    assert np.allclose(alone.heat[0], gender[0].heat[17], atol=1e-3)


class Planted(nn.Module):
    """Three maps, one of each colour; the features are their means."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 8, stride=4, padding=2, bias=False)
        with torch.no_grad():
            self.maps.weight.zero_()
            for colour in range(3):
                self.maps.weight[colour, colour] = 1 / 64
        self.act = nn.ReLU()

    def forward(self, images):
        return self.act(self.maps(images)).mean(dim=(2, 3))


@pytest.fixture
def planted(network):
    """A network whose gender goes up with red and down with blue, on a trunk that is frozen."""
    trunk = Backbone(Planted(), 3, mean=(0, 0, 0), std=(1, 1, 1)).eval().requires_grad_(False)
    network.module.backbone = trunk
    for task in network.module.tasks.values():
        task.head = nn.Linear(3, task.outputs)
        nn.init.zeros_(task.head.weight)
        nn.init.zeros_(task.head.bias)
    gender, landmarks = network.module.tasks["gender"], network.module.tasks["landmarks"]
    with torch.no_grad():
        gender.head.weight[0] = torch.tensor([1.0, 0.0, -1.0])
        landmarks.head.weight[:, 1] = 1.0
    return network


def lit(red, green, blue):
    """A dark image with an 8×8 corner of each colour."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    for colour, (y, x) in enumerate((red, green, blue)):
        image[y : y + 8, x : x + 8, colour] = 200
    return image


def peak(heat):
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    return (y // (heat.shape[0] // 2), x // (heat.shape[1] // 2))


def test_the_heat_is_where_the_answer_comes_from(planted):
    corners = (0, 0), (0, 24), (24, 0)
    images = np.stack([lit(*corners), lit(corners[2], corners[0], corners[1])])
    images[0, :, :, 2] //= 4  # red outweighs blue: the answer is yes
    images[1, :, :, 0] //= 4  # blue outweighs red: the answer is no, and blue speaks for it
    found = attention_maps([planted], images)
    gender, landmarks = (found[name][0].heat for name in ("gender", "landmarks"))
    assert [peak(heat) for heat in gender] == [(0, 0), (0, 1)]
    assert [peak(heat) for heat in landmarks] == [(0, 1), (0, 0)]
    for heat in (*gender, *landmarks):  # and nowhere else
        y, x = peak(heat)
        outside = heat.copy()
        outside[y * 16 : y * 16 + 16, x * 16 : x * 16 + 16] = 0
        assert heat.max() > 0.9 and outside.max() < 0.05


def test_where_nothing_speaks_for_an_answer_the_sheet_says_so(planted):
    with torch.no_grad():
        planted.module.tasks["gender"].head.bias[0] = 1.0  # yes, though all that is seen says no
    dark = lit((0, 0), (0, 24), (24, 0))
    dark[:, :, 0] = 0
    dark //= 8
    (found,) = attention_maps([planted], dark[None])["gender"]
    assert found.heat.max() == 0 and found.said(0) == "nothing raises it"
    assert len(np.unique(overlaid(np.full((8, 8, 3), 90, np.uint8), found.heat[0]))) <= 3


def test_an_ensembles_map_is_its_members_mean(planted, trained):
    other = open_network(trained, "cpu")
    images = np.stack([lit((0, 0), (0, 24), (24, 0))])
    alone = [attention_maps([one], images)["gender"][0].heat for one in (planted, other)]
    together = attention_maps([planted, other], images)["gender"][0].heat
    assert np.allclose(together, np.mean(alone, axis=0)) and not np.allclose(*alone)


def test_a_nearly_even_map_is_drawn_cold():
    grey = np.full((16, 16, 3), 128, dtype=np.uint8)
    even = 0.5 + 1e-4 * np.random.default_rng(0).random((4, 4)).astype(np.float32)
    sharp = np.zeros((4, 4), dtype=np.float32)
    sharp[0, 0] = 1
    cold = overlaid(grey, np.zeros((4, 4), dtype=np.float32))
    assert np.abs(overlaid(grey, even).astype(int) - cold).max() <= 3
    hot = np.abs(overlaid(grey, sharp).astype(int) - cold).sum(axis=2)
    assert hot[:4, :4].min() > 60 and hot[8:, 8:].max() <= 3


@pytest.mark.parametrize("count", [-1, 65])
def test_an_impossible_number_is_refused(trained, count):
    with pytest.raises(MtlfaceError, match=rf"attention_maps={count}: expected .* 1 to 64, or 0"):
        main([f"checkpoint={trained}", f"attention_maps={count}", "device=cpu"])


def test_without_the_library_the_error_says_how_to_get_it(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(MtlfaceError, match="attention_maps needs grad-cam"):
        main([f"checkpoint={trained}", "attention_maps=2", "device=cpu"])


def test_a_trunk_without_places_is_refused(planted):
    planted.module.backbone.trunk = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(MtlfaceError, match="no layer of this one has more than a single place"):
        attention_maps([planted], np.stack([lit((0, 0), (0, 24), (24, 0))]))
