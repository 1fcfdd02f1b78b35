"""`data=[celeba,agegender]` on a command line: the option of `data` that it stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.config_store import ConfigStore

from mtlface.errors import MtlfaceError

_LIST = re.compile(r"\[([^\[\]]*)\]")


def with_joined_data(arguments: Sequence[str]) -> list[str]:
    """Replaces lists of data sets by options that Hydra can choose, and makes those known to it.

    `data=[celeba,agegender]` becomes `data=celeba+agegender`, a config like `conf/data/faces.yaml`:
    what `_joint` has, and each data set's own config below its name.

    Args:
        arguments: A command line; several lists for several runs are fine.

    Raises:
        MtlfaceError: A list is empty or names a data set twice.
    """
    return [
        f"data={_LIST.sub(_option, word.removeprefix('data='))}"
        if word.startswith("data=")
        else word
        for word in arguments
    ]


def _option(found: re.Match[str]) -> str:
    names = [name.strip() for name in found[1].split(",")]
    if not all(names) or len({*names}) < len(names):
        raise MtlfaceError(
            f"data={found[0]} joins data sets, each once; found "
            f"{'a name twice' if all(names) else 'no name'}. Write for example "
            "data=[celeba,agegender]. A second set of the same layout needs a config with another "
            "name, see docs/data.md."
        )
    # A join of one has an option of its own beside the data set itself.
    option = "+".join(names) if len(names) > 1 else f"{names[0]}+"
    node = {
        "defaults": ["_joint", *(f"{name}@{name}" for name in names), "_self_"],
        "name": "+".join(names),
    }
    ConfigStore.instance().store(group="data", name=option, node=node, provider="mtlface")
    return option
