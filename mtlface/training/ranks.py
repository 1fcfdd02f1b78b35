"""Several processes a run: who is first, and how the others are started.

Lightning starts the other ranks of a run by repeating the command line. In a sweep that would be
the whole sweep, and under joblib or submitit not even our command; so while a run is on, the
command line is made to say that run.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.conf import OverridesConf

# In this order Lightning looks for the rank of a process, before it knows its strategy.
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
DOOR = "mtlface.train"


def is_first_rank() -> bool:
    """Whether this process keeps the run folder; known before torch is imported."""
    ranks = (os.environ.get(name) for name in RANK_VARIABLES)
    return int(next((rank for rank in ranks if rank), "0")) == 0


@contextmanager
def repeatable(overrides: OverridesConf) -> Iterator[None]:
    """Makes the command line of this process say one run, and afterwards tidies up after its ranks.

    Args:
        overrides: The changes that make this run, as Hydra lists them.
    """
    main = sys.modules["__main__"]
    command, spec, environment = sys.argv, main.__spec__, dict(os.environ)
    # A launcher or a sweeper is no business of a rank; where configs lie is.
    searched = [o for o in overrides.hydra if "hydra.searchpath=" in o]
    sys.argv = [command[0], *overrides.task, *searched, "hydra.mode=RUN"]
    main.__spec__ = importlib.util.find_spec(DOOR)
    try:
        yield
    finally:
        sys.argv, main.__spec__ = command, spec
        # LOCAL_RANK and its like would tell the next run that its ranks are there already.
        os.environ.clear()
        os.environ.update(environment)
        leave_group()


def leave_group() -> None:
    """Leaves the group of ranks, if there is one: metrics would wait for those that are gone."""
    torch = sys.modules.get("torch")
    if torch and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
