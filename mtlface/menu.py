"""What `--help` shows, read from the configs themselves, and a check of names before Hydra's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mtlface.errors import MtlfaceError, did_you_mean

# The groups that --help lists with a line for each option; the others are named only.
SHOWN = ("experiment", "sweep", "data", "profile")
OVERRIDE = re.compile(r"^(?P<key>[\w/]+)(@[\w.]+)?=(?P<value>[\w,\[\] ]+)$")

USAGE = """\
Trains one arm of a comparison, or every arm of a sweep.

python -m mtlface.train experiment=NAME [group=option ...] [key=value ...]
python -m mtlface.train sweep=NAME [...]              every arm of a comparison, over seeds

First steps
  python -m mtlface.train experiment=celeba_landmarks_gender profile=demo
  python -m mtlface.train sweep=celeba_landmarks_gender profile=demo seed=0,1,2
  python -m mtlface.compare runs=outputs/celeba_landmarks_gender
"""
OPTIONS = """\
Often changed
  data.root=FOLDER      your copy of the data; without it kagglehub downloads, profile=demo renders
  data=[celeba,agegender]  one network on several data sets; data.celeba.root=… for each
  seed=0,1,2            with a sweep or -m: several seeds
  -m                    a run for each value that has commas: -m balancing=fixed,upgrad seed=0,1
  pretrained=true       ImageNet weights; or the path of a state dict, or of a run: its trunk
  init=RUN              start from the trunk and the heads of an earlier run
  trainer.max_epochs=N  data.batch_size=N  data.image_size=[H,W]  optimizer.lr=X  outputs=FOLDER
  config_dir=FOLDER     your own configs beside these: FOLDER/experiment/NAME.yaml, FOLDER/task/…
  --cfg job             print the composed config and stop;  --info defaults: where it comes from

The same command again skips runs that are done, and resumes what was cut off. S0 to S4 number the
studies behind the experiments; docs/recipes.md tells them, and how to complete names with the tab.
"""


def options(conf: Path, group: str) -> dict[str, str]:
    """The options of a config group, each with the first comment of its file.

    Hydra wants its own `# @package` line before that.
    """
    found = {}
    for path in sorted((conf / group).glob("[!_]*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = next((line for line in lines if not line.startswith("# @")), "")
        if comment.startswith("#"):
            found[path.stem] = comment.removeprefix("#").strip()
    return found


def groups(conf: Path) -> list[str]:
    """The config groups that a user chooses from."""
    return sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra")


def menu(conf: Path) -> str:
    """The text of `--help`."""
    parts = [USAGE]
    for group in SHOWN:
        lines = [f"  {name:<34} {text}" for name, text in options(conf, group).items()]
        parts.append("\n".join([f"{group}=", *lines, ""]))
    others = [group for group in groups(conf) if group not in SHOWN]
    rows = [f"  {group + '=':<13} {', '.join(options(conf, group))}" for group in others]
    return "\n".join([*parts, "Other groups", *rows, "", OPTIONS])


def check_choices(confs: Sequence[Path], arguments: Sequence[str]) -> None:
    """Checks the options chosen on the command line.

    Args:
        confs: The config folders, ours and the user's.
        arguments: The command line.

    Raises:
        MtlfaceError: A group has no such option, for which the nearest is suggested, or a list
            names one twice.
    """
    known_groups = {group for conf in confs if conf.is_dir() for group in groups(conf)}
    for argument in arguments:
        match = OVERRIDE.match(argument)
        if not match or match["key"] not in known_groups:
            continue
        for chosen in re.findall(r"\[([^\[\]]*)\]", match["value"]):
            several = [name.strip() for name in chosen.split(",")]
            if len(set(several)) < len(several):
                raise MtlfaceError(
                    f"{argument} names an option twice. Name each once: "
                    f"{match['key']}=[{','.join(dict.fromkeys(several))}]."
                )
        known = [path.stem for conf in confs for path in (conf / match["key"]).glob("*.yaml")]
        for name in re.split(r"[,\[\] ]+", match["value"]):
            if name and name != "null" and name not in known:
                raise MtlfaceError(
                    f"There is no {match['key']} '{name}'.{did_you_mean(name, known)} "
                    f"Known: {', '.join(sorted(known))}."
                )
