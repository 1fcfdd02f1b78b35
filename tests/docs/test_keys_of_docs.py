"""Every `key=value` between the words of the docs is a key that there is, with such a value."""

import re
import shlex
from importlib import import_module

from commands_of_docs import DOORS, PAGES, Place
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from ways_of_docs import UNKNOWN

from mtlface.door import config_folder

SPANS = re.compile(r"`([A-Za-z_/]+(?:\.[A-Za-z_]+)*=[^`]*)`")
# Arguments of Python's functions, and words that stand for any group or key.
NOT_OURS = ("weights_only=", "group=option", "key=value")


def _overrides():
    found = {}
    for path in PAGES:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for span in SPANS.findall(line):
                for word in shlex.split(span):
                    if not word.startswith(NOT_OURS):
                        found.setdefault(word, Place(path.name, number))
    return found


def test_every_key_in_the_text_is_one_of_train_or_of_a_door():
    wrong = {f"{place}: {word}" for word, place in _overrides().items() if not _is_known(word)}
    assert not wrong


def _is_known(word):
    """Whether a door has the key, or a training composes with this choice or value."""
    key, _, value = word.partition("=")
    for path in DOORS:
        options = getattr(import_module(f"mtlface.{path.stem}"), "Options", None)
        if key.split(".")[0] in getattr(options, "__dataclass_fields__", {}):
            return True
    task = re.match(r"tasks\.(\w+)\.", key)
    chosen = [f"task=[{task[1]}]"] if task and "<" not in key else []
    if logger := re.match(r"logger\.(\w+)\.", key):
        chosen.append(f"logger={logger[1]}")
    open_value = not value or UNKNOWN.search(value)
    if UNKNOWN.search(key):
        return key == "tasks.<task>.weight"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if open_value and "." not in key:
            return key in loader.list_groups("") or key in compose("train")
        search = ["tune=default"] if key.startswith("tune.") else []
        method = ["balancing=upgrad"] if key == "balancing.level" else []
        try:
            cfg = compose("train", [*chosen, *search, *method, *([] if open_value else [word])])
        except Exception:
            return False
    return not open_value or OmegaConf.select(cfg, key, default="?") != "?"
