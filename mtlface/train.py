"""Trains one arm, or every arm of a sweep: `python -m mtlface.train experiment=…`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from mtlface.door import GOES_ON, config_folder, guarded
from mtlface.errors import MtlfaceError

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
    from mtlface.training.sweeps.job import job

    overrides = with_joined_data(overrides)

    if flags - MULTIRUN:
        # --cfg, --info and their like only show something; that is Hydra's own business.
        import hydra

        sys.argv = [sys.argv[0], *with_joined_data(arguments)]
        hydra.main(config_path=str(conf), config_name="train", version_base="1.3")(job)()
        return 0
    from mtlface.training.sweeps.launch import start

    if own:
        overrides.append(f"hydra.searchpath=[{','.join(f'file://{path}' for path in own)}]")
    return start(conf, overrides, multirun=bool(flags))


def _parsed(arguments: list[str]) -> tuple[list[str], set[str], list[Path]]:
    """The overrides, the flags, and the user's own config folders."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    own = [Path(folder).absolute() for folder in known.config_dir]
    for folder in own:
        if not folder.is_dir():
            raise MtlfaceError(f"--config-dir {folder}: there is no such folder.")
    flags = {argument for argument in rest if argument.startswith("-")}
    return [argument for argument in rest if argument not in flags], flags, own


if __name__ == "__main__":
    main()
