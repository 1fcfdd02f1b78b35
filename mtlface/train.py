"""Trains one arm, or every arm of a sweep: `python -m mtlface.train experiment=…`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mtlface.arguments import config_folders, with_config_dir
from mtlface.door import GOES_ON, config_folder, guarded

if TYPE_CHECKING:
    from mtlface.notebook import Run

MULTIRUN = {"-m", "--multirun"}
SEARCHED = re.compile(r"(?<=file://)[^,\]]+")  # folders of hydra.searchpath=[file://…,…]


def main() -> None:
    """The door."""
    guarded(_main, GOES_ON)


def _main() -> int:
    from mtlface.menu import check_choices, menu

    arguments, conf = sys.argv[1:], config_folder()
    if not arguments or {"-h", "--help"} & set(arguments):
        print(menu(conf))
        return 0
    overrides, flags, own = _parsed(arguments)
    searched = [Path(path) for o in overrides for path in SEARCHED.findall(o)]
    check_choices([conf, *own, *searched], overrides)
    from mtlface.training.joined_data import with_joined_data
    from mtlface.training.search_path import search_path
    from mtlface.training.sweeps.job import job
    from mtlface.training.trained_files import with_quoted_runs

    overrides = [*with_joined_data(with_quoted_runs(overrides)), *search_path(own)]

    if flags - MULTIRUN:
        # --cfg, --info and their like only show something; that is Hydra's own business.
        import hydra

        given = [word for word in with_config_dir(arguments) if not word.startswith("config_dir=")]
        sys.argv = [sys.argv[0], *with_joined_data(with_quoted_runs(given)), *search_path(own)]
        hydra.main(config_path=str(conf), config_name="train", version_base="1.3")(job)()
        return 0
    from mtlface.training.sweeps.launch import start

    return start(conf, overrides, multirun=bool(flags))


def _parsed(arguments: list[str]) -> tuple[list[str], set[str], list[Path]]:
    """The overrides, the flags, and the user's own config folders."""
    words = with_config_dir(arguments)
    own = [f for w in words if w.startswith("config_dir=") for f in config_folders(w[11:])]
    flags = {word for word in words if word.startswith("-")}
    kept = [w for w in words if w not in flags and not w.startswith("config_dir=")]
    # As a shell does it for words that begin with ~.
    kept = [f"outputs={Path(w[8:]).expanduser()}" if w.startswith("outputs=~") else w for w in kept]
    return kept, flags, own


class _Door(ModuleType):
    """`mtlface.train` is a command as a module, and in Python a function."""

    def __call__(self, experiment: str | None = None, *overrides: str, **settings: Any) -> Run:
        """Trains one run; see `mtlface.notebook.train`."""
        from mtlface.notebook import train

        return train(experiment, *overrides, **settings)


if __name__ == "__main__":
    main()
else:
    sys.modules[__name__].__class__ = _Door
