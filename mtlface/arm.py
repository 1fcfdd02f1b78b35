"""How an arm is called: its experiment, and whatever the command line changed in it."""

from __future__ import annotations

from collections.abc import Iterable

# They say where, with which seed and on which data to run, not what; folders name them elsewhere.
NOT_PART_OF_THE_ARM = (
    "experiment", "sweep", "seed", "data", "profile", "outputs", "group", "debug", "trainer",
    "data.root", "data.source", "data.cache", "data.workers", "data.loader",
    "trainer.accelerator", "trainer.devices", "trainer.strategy", "hydra",
)  # fmt: skip


def arm_name(experiment: str, overrides: Iterable[str]) -> str:
    """The arm of an experiment with these command line overrides, usable as a folder name."""
    changes = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].partition("@")[0]
        if key not in NOT_PART_OF_THE_ARM and not key.startswith("hydra"):
            changes.append(override.replace("/", "-"))
    return ",".join([experiment, *sorted(changes)])
