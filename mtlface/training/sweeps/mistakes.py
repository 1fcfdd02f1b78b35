"""Hydra's errors of composition in one line, with the key that was probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mtlface.errors import MtlfaceError, did_you_mean

# Hydra's words for what it checks with Python's own error.
GROUP_VALUE = "Config group override"


@contextmanager
def explained(overrides: Sequence[str], groups: Sequence[str]) -> Iterator[None]:
    """Turns a mistake in these overrides into one clear line.

    Args:
        overrides: The command line.
        groups: The config groups that it may choose from.

    Raises:
        MtlfaceError: The command line does not make a config.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise MtlfaceError(_explanation(error, overrides, groups)) from error
    except ValueError as error:
        if GROUP_VALUE not in str(error):
            raise
        raise MtlfaceError(
            f"{' '.join(str(error).split())}. Choose an option of a group by its name, such as "
            "backbone=resnet18."
        ) from error


def _explanation(error: Exception, overrides: Sequence[str], groups: Sequence[str]) -> str:
    of_search = [o for o in overrides if o.startswith(("tune.", "tune={"))]
    if of_search and not any(o.startswith("tune=") and "{" not in o for o in overrides):
        return (
            f"{of_search[0]}: no search is chosen whose settings these could be. Begin with "
            "tune=default, and write tune=default tune.trials=20."
        )
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        siblings = [str(key) for key in cause.parent_node if not str(key).startswith("_")]
        if "." not in (cause.full_key or ""):
            siblings = sorted({*siblings, *groups} - {"hydra"})
        if str(cause.key) not in siblings and cause.full_key:
            parent, _, _ = cause.full_key.rpartition(".")
            return (
                f"The config has no key '{cause.full_key}'."
                f"{did_you_mean(str(cause.key), siblings)} "
                f"{f'Keys of {parent}' if parent else 'Keys'}: {', '.join(sorted(siblings))}. "
                "A + before the key adds a new one."
            )
    text = " ".join(str(error).split())
    if text.startswith("Ambiguous value") or "requires --multirun" in text:
        several = next(o for o in overrides if f"'{o}'" in text)
        key, _, value = several.partition("=")
        return (
            f"{several} names several values. Add -m to run each of them, or make it a list: "
            f"{key}=[{value}]."
        )
    if cause is not None and cause is not error:
        text = f"{text} {' '.join(str(cause).split())}"
    return text or type(error).__name__
