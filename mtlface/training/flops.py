"""What a training step costs in floating-point operations, by torch's own counter."""

from __future__ import annotations

import logging
import math

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mtlface.data.batch import Split
from mtlface.errors import MtlfaceError
from mtlface.training.module import MultiTaskModule

IMAGES = 4  # in the step that is counted; BatchNorm needs more than one

log = logging.getLogger(__name__)


def flops_per_image(module: MultiTaskModule, split: Split) -> float | None:
    """FLOPs of a step's forward and backward pass, with the balancer's own, for each image.

    A multiplication and an addition are two operations. What the counter does not know counts
    nothing: element-wise operations, solvers on the host. The module's running losses change.

    Args:
        module: A network that was trained; its trunk is as the last epoch left it.
        split: The training split.

    Returns:
        None where the step cannot be counted.
    """
    count = min(IMAGES, len(split))
    batch = {k: v.to(module.device) for k, v in split.batch(np.arange(count)).items()}
    was_training = module.training
    module.train()
    try:
        with FlopCounterMode(display=False) as counter, torch.enable_grad():
            torch.autograd.backward(module.training_step(batch, 0))
        return float(counter.get_total_flops()) / count
    except Exception as error:  # an operation that the counter cannot follow
        log.debug("The FLOPs of a step could not be counted: %s", error)
        return None
    finally:
        module.zero_grad()
        module.train(was_training)


def matched_epochs(whole: MultiTaskModule, twin: MultiTaskModule, split: Split, epochs: int) -> int:
    """The epochs in which a twin does at least the FLOPs of the whole arm.

    Args:
        whole: The multi-task arm.
        twin: The same with one task.
        split: The training split of both.
        epochs: The epochs of the whole arm.

    Returns:
        `epochs` where the two differ by less than 1 %; else the next whole number.

    Raises:
        MtlfaceError: The FLOPs of a step cannot be counted.
    """
    dear, cheap = flops_per_image(whole, split), flops_per_image(twin, split)
    if not dear or not cheap:
        raise MtlfaceError(
            "match=flops: the FLOPs of a step cannot be counted for this backbone or balancing. "
            "Take match=steps."
        )
    ratio = dear / cheap
    return epochs if abs(ratio - 1) < 0.01 else math.ceil(epochs * ratio)
