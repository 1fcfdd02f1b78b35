"""Freezing and unfreezing of a backbone, and of the tasks' own parts of it."""

from mtlface.models.backbone import Freezable


def freeze(part: Freezable, batchnorm_eval: bool = True) -> None:
    """Stops the trunk from learning, in place, until `unfreeze`.

    No parameter gets a gradient, and the BatchNorm layers stay in eval mode, also after `train()`
    on a parent, so that neither weights nor running statistics change.

    Args:
        part: The backbone to freeze, or a task's part of it.
        batchnorm_eval: False lets BatchNorm use and track the statistics of the batch although its
            weights are frozen, as plain `requires_grad = False` does.
    """
    part.trunk.requires_grad_(False)
    part.batchnorm_eval = batchnorm_eval
    part.train(part.training)


def unfreeze(part: Freezable) -> None:
    """Lets all of the trunk learn again, BatchNorm included, in place."""
    part.trunk.requires_grad_(True)
    part.batchnorm_eval = False
    part.train(part.training)
