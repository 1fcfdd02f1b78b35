"""Shows what is in a data set before anything is trained on it.

    python -m mtlface.explore data=celeba data.root=/my/celeba
    python -m mtlface.explore data=agegender profile=demo

Keys:
  data=…           celeba | agegender | facecom, or one of your own with config_dir=…
  data.root=…      the data's folder; other keys of data too: data.limit='{train: 10000}'
  profile=demo     the rendered faces in the data's layout
  pictures=16      how many sample pictures
  seed=0           which ones, and the splits that the data lacks
  config_dir=…     folder of your own configs (data/NAME.yaml), as in a training
  output=…         folder for index.html and PNGs (default: outputs/explore/<data>)
  debug=true       show the stack trace of an error

Writes counts, label balance, missing labels, correlations of attributes with each other and with
landmark coordinates, histograms by gender, sample pictures and the rows that were left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlface.arguments import config_folders, parse, wants_help, with_config_dir
from mtlface.door import config_folder, guarded
from mtlface.errors import MtlfaceError


@dataclass
class Options:
    """What the command line may say, besides `data.<key>=…`."""

    data: str | None = None
    profile: str = "full"
    pictures: int = 16
    seed: int = 0
    output: str | None = None
    config_dir: str = ""
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code.

    Raises:
        MtlfaceError: The command line or the data are not what they should be.
    """
    given = with_config_dir(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
        return 0
    of_data = [word for word in given if word.startswith("data.") and "=" in word]
    rest = [word for word in given if word not in of_data]
    page = explore(parse("explore", Options, rest, {"data": "celeba"}), of_data)
    print(f"Written to {page.parent}/: open {page}")
    return 0


def explore(options: Options, of_data: Sequence[str]) -> Path:
    """Reads the labels, writes the page and returns it.

    Args:
        options: The door's own keys.
        of_data: Changes of the data's config, as on the command line of a training.

    Raises:
        MtlfaceError: The data cannot be had or read, or the folder not written.
    """
    from hydra import compose, initialize_config_dir

    from mtlface.menu import check_choices
    from mtlface.training.joined_data import with_joined_data
    from mtlface.training.search_path import search_path
    from mtlface.training.sweeps.mistakes import explained

    conf = config_folder()
    overrides = [f"data={options.data}", f"profile={options.profile}", f"seed={options.seed}"]
    overrides += of_data
    own = config_folders(options.config_dir)
    check_choices([conf, *own], overrides)
    overrides = with_joined_data(overrides)
    overrides += search_path(own)
    with initialize_config_dir(str(conf), version_base="1.3"), explained(overrides, ["data"]):
        cfg = compose("train", overrides)

    from mtlface.analysis.exploration_report import write_exploration
    from mtlface.training.build import build_datamodule

    table, root_kind = build_datamodule(cfg).read()
    folder = Path(options.output or Path(cfg.outputs) / "explore" / cfg.data.name).expanduser()
    try:
        return write_exploration(
            table, cfg.data.name, root_kind, folder, max(options.pictures, 0), options.seed
        )
    except OSError as error:
        raise MtlfaceError(
            f"The page cannot be written to {folder} ({error.strerror}): give another folder with "
            "output=…."
        ) from error


if __name__ == "__main__":
    guarded(main)
