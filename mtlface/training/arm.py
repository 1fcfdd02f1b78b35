"""How an arm is called: its experiment, and whatever the command line changed in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from omegaconf import OmegaConf

# They say where, with which seed and on which data to run, not what; folders name them elsewhere.
NOT_PART_OF_THE_ARM = (
    "experiment", "name", "sweep", "seed", "data", "profile", "outputs", "group", "debug",
    "figures", "watch", "watch.every_n_steps", "trainer",
    "data.root", "data.source", "data.cache", "data.workers", "data.loader",
    "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.enable_progress_bar",
)  # fmt: skip
# File systems take 255 bytes a name; temporary files beside it need some of them.
LONGEST = 200


def arm_name(experiment: str, overrides: Iterable[str], level: str | None = None) -> str:
    """The arm of an experiment with these command line overrides, usable as a folder name.

    Args:
        experiment: The composed `name`.
        overrides: The command line's changes, as Hydra lists them.
        level: The composed `balancing.level`; it goes with the method that it belongs to, as in
            `celeba_landmarks_gender,balancing=upgrad@features`.
    """
    changes = {o.lstrip("+~").partition("=")[0].partition("@")[0]: o for o in overrides}
    if level is not None and "balancing" in changes:
        changes["balancing"] += f"@{level}"
        changes.pop("balancing.level", None)
    kept = sorted(
        override.replace("/", "-")
        for key, override in changes.items()
        if key not in NOT_PART_OF_THE_ARM and not key.startswith("hydra")
    )
    name = ",".join([experiment, *kept])
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{name.encode()[: LONGEST - 13].decode(errors='ignore')}~{digest}"


OmegaConf.register_new_resolver("mtlface.arm", arm_name, replace=True)
