"""The shell that every trunk wears: raw pixels in, features out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Freezable(nn.Module):
    """What holds a trunk, or a part of one, that `mtlface.models.freeze` can stop from learning.

    Args:
        trunk: The layers that can be frozen.

    Attributes:
        batchnorm_eval: Whether BatchNorm layers stay in eval mode when `train()` is called; set by
            `mtlface.models.freeze`.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.batchnorm_eval = False

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode, but leaves the BatchNorm of a frozen trunk in eval."""
        super().train(mode)
        if self.batchnorm_eval:
            for module in self.trunk.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class Backbone(Freezable):
    """A trunk with the pixel normalisation that its weights expect.

    Example:
        >>> backbone = torchvision_backbone("resnet18")
        >>> images = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
        >>> backbone(images).shape
        torch.Size([8, 512])

    Args:
        trunk: Turns normalised pictures, float (B, 3, H, W), into features (B, D).
        features: D, the width of the features.
        mean: Of the RGB channels, in the 0..1 range. ImageNet's unless the weights say otherwise;
            a trunk from scratch takes ImageNet's too, so that arms differ in their weights alone.
        std: Of the RGB channels, in the 0..1 range.

    Attributes:
        features: D, the width of the features.
        mean: Buffer (3,), saved with the weights.
        std: Buffer (3,), saved with the weights.
    """

    mean: Tensor
    std: Tensor
    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        features: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(trunk)
        self.features = features
        self.register_buffer("mean", torch.tensor([*mean]))
        self.register_buffer("std", torch.tensor([*std]))
        # Normalisation as one multiplication and addition, worked out once.
        self.register_buffer("_scale", torch.empty(1, 3, 1, 1), persistent=False)
        self.register_buffer("_shift", torch.empty(1, 3, 1, 1), persistent=False)
        self._work_out()
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
            lambda backbone, _: backbone._work_out()
        )

    def _work_out(self) -> None:
        self._scale.copy_((255 * self.std).reciprocal().view(1, 3, 1, 1))
        self._shift.copy_((-self.mean / self.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Returns features (B, D) of pictures (B, 3, H, W), uint8 or float in 0..255."""
        features: Tensor = self.trunk(self.normalise(images))
        return features

    def normalise(self, images: Tensor) -> Tensor:
        """Returns (images / 255 - mean) / std in one pass over the pixels, layout kept.

        Args:
            images: (B, 3, H, W), uint8 or float in 0..255.
        """
        return torch.addcmul(self._shift, images, self._scale)


@contextmanager
def untracked_batchnorm(*modules: nn.Module) -> Iterator[None]:
    """Within the block BatchNorm in training normalises by the batch, but does not remember it.

    For a second look at a batch, which must not count twice in the running statistics.
    """
    tracking = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    for layer in tracking:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True
