"""Trunks of timm: width, normalisation and attention are the model's own; refusals say the fix."""

import pytest
import timm
import torch
from timm.layers import EcaModule, SEModule
from timm.layers.cbam import CbamModule

from mtlface.errors import MtlfaceError
from mtlface.models import pool_deterministically, timm_backbone

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("attention", "block"), [("cbam", CbamModule), ("se", SEModule), ("eca", EcaModule)]
)
def test_attention_is_in_every_block_and_learns(attention, block):
    backbone = timm_backbone("resnet18", attention=attention).to(memory_format=torch.channels_last)
    pool_deterministically(backbone.trunk)
    found = [layer for layer in backbone.modules() if isinstance(layer, block)]
    assert len(found) == 8  # two blocks in each of four stages
    backbone(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).square().sum().backward()
    for layer in found:
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224", "botnet26t_256"])
def test_width_and_normalisation_are_read_from_the_model(name):
    backbone = timm_backbone(name, image_size=(64, 64)).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert features.shape == (2, backbone.features)
    settings = timm.create_model(name, num_classes=0).pretrained_cfg
    assert backbone.mean.tolist() == pytest.approx(settings["mean"])
    assert backbone.std.tolist() == pytest.approx(settings["std"])


def test_features_are_those_of_timm_on_images_normalised_by_hand():
    torch.manual_seed(0)
    backbone = timm_backbone("vit_tiny_patch16_224.augreg_in21k", image_size=(32, 32)).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():  # this model's mean and std are one half, not ImageNet's
        expected = backbone.trunk((images / 255 - 0.5) / 0.5)
        torch.testing.assert_close(backbone(images), expected)


def test_a_wrong_name_names_the_nearest():
    with pytest.raises(MtlfaceError, match=r"no model 'resnet81'.*Did you mean 'resnet"):
        timm_backbone("resnet81")
    with pytest.raises(MtlfaceError, match="no model 'hf-hub:"):
        timm_backbone("hf-hub:somebody/model")


def test_attention_that_a_model_cannot_have_is_refused():
    with pytest.raises(MtlfaceError, match=r"with attention=cbam.*se, eca and cbam"):
        timm_backbone("vit_tiny_patch16_224", attention="cbam")
    with pytest.raises(MtlfaceError, match="with attention=cbma"):
        timm_backbone("resnet18", attention="cbma")


def test_weights_without_a_network_are_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MtlfaceError, match=r"could not be fetched from timm/.*pretrained=false"):
        timm_backbone("resnet18", pretrained=True)


def test_a_local_file_with_a_classifier_fits(tmp_path):
    model = timm.create_model("resnet18")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    backbone = timm_backbone("resnet18", pretrained=tmp_path / "weights.pth")
    torch.testing.assert_close(backbone.trunk.conv1.weight, model.conv1.weight)
