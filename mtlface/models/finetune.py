"""Freezing and unfreezing of a backbone."""

from mtlface.models.backbone import Backbone


def freeze(backbone: Backbone, batchnorm_eval: bool = True) -> None:
    """Stops the trunk from learning, in place, until `unfreeze`.

    No parameter gets a gradient, and the BatchNorm layers stay in eval mode, also after `train()`
    on a parent, so that neither weights nor running statistics change.

    Args:
        backbone: The backbone to freeze.
        batchnorm_eval: False lets BatchNorm use and track the statistics of the batch although its
            weights are frozen, as plain `requires_grad = False` does.
    """
    backbone.trunk.requires_grad_(False)
    backbone.batchnorm_eval = batchnorm_eval
    backbone.train(backbone.training)


def unfreeze(backbone: Backbone) -> None:
    """Lets all of the trunk learn again, BatchNorm included, in place."""
    backbone.trunk.requires_grad_(True)
    backbone.batchnorm_eval = False
    backbone.train(backbone.training)
