"""Every family of backbones: pixels in, (B, D) features out, gradients back."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.transforms import v2

from mtlface.errors import MtlfaceError
from mtlface.models import Backbone, cnn3, cnn3_bn, cnn4_bn, cnn9, torchvision_backbone
from mtlface.models.backbone import IMAGENET_MEAN, IMAGENET_STD

torch.set_num_threads(1)

# One of each kind of classifier in torchvision's registry, the small ones.
FAMILIES = [
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5",
    "squeezenet1_1", "regnet_y_400mf", "mnasnet0_5", "densenet121", "convnext_tiny", "swin_t",
]  # fmt: skip
LARGE = ["alexnet", "vgg11", "resnet50", "swin_v2_t", "efficientnet_v2_s"]


def pictures(size: int = 64, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)


def assert_learns(backbone: Backbone, images: torch.Tensor) -> None:
    features = backbone.train()(images)
    assert features.shape == (len(images), backbone.features)
    assert features.is_floating_point()
    # Not the sum: a final LayerNorm makes that a constant.
    (features * torch.randn_like(features)).sum().backward()
    gradients = [p.grad for p in backbone.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize(
    "name", [*FAMILIES, *[pytest.param(n, marks=pytest.mark.slow) for n in LARGE]]
)
def test_a_torchvision_family_gives_features_and_gradients_at_64_px(name):
    assert_learns(torchvision_backbone(name), pictures())


@pytest.mark.parametrize("build", [cnn3, cnn4_bn, cnn3_bn, cnn9])
@pytest.mark.parametrize("size", [32, 64, 100])
def test_a_scratch_cnn_takes_any_size(build, size):
    assert_learns(build(), pictures(size))


def test_a_vit_takes_the_size_it_is_told():
    backbone = torchvision_backbone("vit_b_32", image_size=(64, 64))
    assert_learns(backbone, pictures(64))


@pytest.mark.slow
def test_a_vit_keeps_its_position_embeddings_at_its_own_size():
    torch.manual_seed(0)
    own = torchvision_backbone("vit_b_32")
    torch.manual_seed(0)
    told = torchvision_backbone("vit_b_32", image_size=(224, 224))
    assert torch.equal(own.trunk.encoder.pos_embedding, told.trunk.encoder.pos_embedding)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_left_out(name):
    assert_learns(torchvision_backbone(name), pictures(96))


@pytest.mark.parametrize("image_size", [(72, 72), pytest.param((64, 96), marks=pytest.mark.slow)])
def test_a_vit_refuses_sizes_it_cannot_cut_into_patches(image_size):
    with pytest.raises(MtlfaceError, match=r"multiple of 32 .* found"):
        torchvision_backbone("vit_b_32", image_size=image_size)


def test_a_size_that_the_constructor_refuses_is_a_users_error():
    with pytest.raises(
        MtlfaceError, match=r"'maxvit_t' cannot be built for pictures of \(64, 64\)"
    ):
        torchvision_backbone("maxvit_t", image_size=(64, 64))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(MtlfaceError, match="Did you mean 'resnet18'"):
        torchvision_backbone("resnet_18")


def test_detection_models_are_no_backbones():
    with pytest.raises(MtlfaceError, match="no classification model"):
        torchvision_backbone("fasterrcnn_resnet50_fpn")


def test_normalisation_is_torchvisions():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    reference = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    backbone = Backbone(nn.Identity(), 3)
    for images in (ramp, ramp.float()):
        torch.testing.assert_close(backbone(images), reference(ramp), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_normalisation_is_the_one_of_the_weights():
    assert torchvision_backbone("efficientnet_v2_l").mean.tolist() == [0.5, 0.5, 0.5]


def test_normalisation_keeps_the_memory_layout():
    images = pictures().to(memory_format=torch.channels_last)
    normalised = Backbone(nn.Identity(), 3)(images)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert Backbone(nn.Identity(), 3)(pictures()).is_contiguous()


def test_normalisation_travels_with_the_weights():
    state = Backbone(nn.Identity(), 3, mean=(0.5, 0.5, 0.5)).state_dict()
    other = Backbone(nn.Identity(), 3)
    other.load_state_dict(state)
    assert other.mean.tolist() == [0.5, 0.5, 0.5]


def test_cnn9_has_nine_layers_with_weights():
    layers = [m for m in cnn9().modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_from_tensorflow_get_the_pixels_that_torchvision_gives_them():
    own = torchvision_backbone("googlenet").eval()
    theirs = get_model(
        "googlenet", weights=None, aux_logits=False, transform_input=True, init_weights=False
    ).eval()
    theirs.fc = nn.Identity()
    theirs.load_state_dict(own.trunk.state_dict())
    images = pictures(96).float()
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (IMAGENET_MEAN, IMAGENET_STD))
    expected = theirs((images / 255 - mean) / std)
    torch.testing.assert_close(
        own(images), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max())
    )
