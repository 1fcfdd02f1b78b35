"""Networks without tasks: backbones that turn pictures into features, and the heads on them."""

from mtlface.models.backbone import Backbone, Freezable, untracked_batchnorm
from mtlface.models.finetune import freeze, unfreeze
from mtlface.models.heads import coral_head, linear_head, mlp_head, no_head
from mtlface.models.pooling import pool_deterministically
from mtlface.models.registry import torchvision_backbone
from mtlface.models.scratch import cnn3, cnn3_bn, cnn4_bn, cnn9
from mtlface.models.sharing import Shared, Trunks, Unbranched
from mtlface.models.small_maps import multiply_small_maps
from mtlface.models.timm_registry import timm_backbone

__all__ = [
    "Backbone",
    "Freezable",
    "Shared",
    "Trunks",
    "Unbranched",
    "cnn3",
    "cnn3_bn",
    "cnn4_bn",
    "cnn9",
    "coral_head",
    "freeze",
    "linear_head",
    "mlp_head",
    "multiply_small_maps",
    "no_head",
    "pool_deterministically",
    "timm_backbone",
    "torchvision_backbone",
    "unfreeze",
    "untracked_batchnorm",
]
