"""Weights come from torchvision, from a file, or not at all; every failure says the way on."""

from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from mtlface.errors import MtlfaceError
from mtlface.models import cnn3, cnn9, torchvision_backbone

torch.set_num_threads(1)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    return tmp_path


def same(module: nn.Module, state: dict) -> bool:
    return all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_offline_is_one_error_with_the_three_ways_on(offline):
    with pytest.raises(MtlfaceError) as caught:
        torchvision_backbone("resnet18", pretrained=True)
    message = str(caught.value)
    assert "name resolution" in message
    assert "pretrained=/path/to/weights.pth" in message
    assert str(offline / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in message
    assert "pretrained=false" in message
    assert "\n" not in message


def test_a_file_in_the_hub_folder_is_taken_under_its_name(offline):
    torch.manual_seed(1)
    published = get_model("mobilenet_v3_small").state_dict()
    file = offline / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    assert same(torchvision_backbone("mobilenet_v3_small", pretrained=True).trunk, published)


def test_a_damaged_file_in_the_hub_folder_is_the_same_error(offline):
    file = offline / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a download")
    with pytest.raises(MtlfaceError, match="Three ways on"):
        torchvision_backbone("mobilenet_v3_small", pretrained=True)


def test_the_weights_are_those_that_the_config_names(offline):
    torch.manual_seed(1)
    published = get_model("mobilenet_v2").state_dict()
    file = offline / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    backbone = torchvision_backbone("mobilenet_v2", pretrained=True, weights="IMAGENET1K_V1")
    assert same(backbone.trunk, published)
    with pytest.raises(MtlfaceError, match=r"mobilenet_v2-7ebf99e0\.pth"):  # the default ones
        torchvision_backbone("mobilenet_v2", pretrained=True)


def test_unknown_weights_are_answered_with_the_known_ones():
    with pytest.raises(MtlfaceError, match=r"IMAGENET1K_V1, IMAGENET1K_V2"):
        torchvision_backbone("mobilenet_v2", weights="IMAGENET_V1")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "mnasnet0_5"])
@pytest.mark.parametrize("classifier", [True, False])
def test_a_local_state_dict_loads_with_and_without_its_classifier(name, classifier, tmp_path):
    torch.manual_seed(1)
    state = get_model(name).state_dict()
    if not classifier:
        kept = torchvision_backbone(name).trunk.state_dict()
        for key in [key for key in state if key not in kept]:
            del state[key]
    torch.save(state, tmp_path / "weights.pth")
    assert same(torchvision_backbone(name, pretrained=str(tmp_path / "weights.pth")).trunk, state)


def test_a_saved_backbone_loads(tmp_path):
    for build in (cnn3, cnn9):
        saved = build()
        torch.save(saved.state_dict(), tmp_path / "weights.pth")
        assert same(build(pretrained=tmp_path / "weights.pth"), saved.state_dict())


def test_a_file_without_batch_counters_loads(tmp_path):
    state = get_model("resnet18").state_dict()
    old = {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    torch.save(old, tmp_path / "weights.pth")
    assert same(torchvision_backbone("resnet18", pretrained=tmp_path / "weights.pth").trunk, state)


@pytest.mark.parametrize(
    ("made_for", "loaded_into", "complaint"),
    [
        ("resnet18", "resnet34", r"missing from the file: layer1\.2\.conv1\.weight"),
        # Every weight of ResNet-18 is in ResNet-34, with the right shape; half a network is none.
        ("resnet34", "resnet18", r"unknown to the network: layer1\.2\.conv1\.weight"),
        ("squeezenet1_0", "squeezenet1_1", r"of another shape: features\.0\.weight \(expected"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(made_for, loaded_into, complaint, tmp_path):
    torch.save(get_model(made_for).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(MtlfaceError, match=complaint):
        torchvision_backbone(loaded_into, pretrained=tmp_path / "weights.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MtlfaceError, match=r"No weights at .*absent\.pth"):
        torchvision_backbone("resnet18", pretrained=tmp_path / "absent.pth")


def test_a_pickled_network_is_refused_unopened(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "network.pth")
    with pytest.raises(MtlfaceError, match="tensors only"):
        cnn3(pretrained=tmp_path / "network.pth")


def test_a_file_that_torch_did_not_write_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_text("not weights")
    with pytest.raises(MtlfaceError, match="cannot be read"):
        cnn3(pretrained=tmp_path / "weights.pth")


def test_a_training_checkpoint_is_told_apart_from_a_state_dict(tmp_path):
    torch.save({"model": cnn3().state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(MtlfaceError, match="found the entries model, epoch"):
        cnn3(pretrained=tmp_path / "checkpoint.pth")


def test_a_scratch_cnn_has_no_published_weights():
    with pytest.raises(MtlfaceError, match="no published weights for the backbone 'cnn9'"):
        cnn9(pretrained=True)
