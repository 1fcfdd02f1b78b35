"""What the machine may do to a run, in words that say the way on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from mtlface.errors import MtlfaceError, disk_error
from mtlface.preemption import Preempted

# Not every library that allocates raises torch.OutOfMemoryError.
ONE_VALUE = "Expected more than 1 value per channel"  # torch's words, of BatchNorm
NO_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


@contextmanager
def explained(cfg: DictConfig) -> Iterator[None]:
    """Turns what the machine does to a run of this config into errors that name the mend.

    Raises:
        MtlfaceError: Memory or disk ran out, or a folder is locked.
        Preempted: The scheduler wants the machine back.
        KeyboardInterrupt: Ctrl-C, which Lightning turns into an exit of its own.
    """
    try:
        yield
    except SIGTERMException as error:
        raise Preempted from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        raise MtlfaceError(
            f"data.batch_size={cfg.data.batch_size}: BatchNorm needs two images or more in a step "
            "to have a variance. Take a larger data.batch_size, or a trunk without BatchNorm."
        ) from error
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            raise MtlfaceError(out_of_memory(cfg)) from error
        if (shown := disk_error(error)) is not None:
            raise shown from error
        raise


def out_of_memory(cfg: DictConfig) -> str:
    """What to do when a batch does not fit.

    What a step needs is close to proportional to the batch, so half of it is the next to try.
    """
    size = int(cfg.data.batch_size)
    height, width = cfg.data.image_size
    on = torch.cuda.get_device_name() if torch.cuda.is_available() else "this machine"
    found = f"data.batch_size={size} with pictures of {height}x{width} px does not fit in memory"
    if size > 1:
        return (
            f"{found} of {on}. Take data.batch_size={size // 2}; with "
            "trainer.accumulate_grad_batches=2 a step still sees as many pictures."
        )
    return f"{found} of {on}. Take a smaller data.image_size or a smaller backbone."
