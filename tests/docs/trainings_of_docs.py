"""How the docs' trainings are run: composed as printed, then small, short and with one seed."""

import functools
import re

from commands_of_docs import commands
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from user_at_home import Home

from mtlface.door import config_folder
from mtlface.training.sweeps import launch
from mtlface.training.sweeps.plan import combinations

FIRST = list(next(c.words for c in commands() if c.words[2:3] == ("mtlface.train",)))
# The figures of a run have tests of their own; here they would take half of the time.
SMOKE = ("profile=smoke", "figures=false")
# Three convolutions in the place of a ResNet, but for the command that the README begins with.
SMALL = "backbone=cnn3"
SEEDS = 5  # of a sweep, as configured
MOST_RUNS = 4  # of a sweep with one seed; of a longer one the first of each grid stands for all
# Flags of the train door that show something, and train nothing.
SHOWING = {"--help", "-h", "--cfg", "--info", "--hydra-help", "--shell-completion", "-sc"}
# A test machine has no Slurm, and one or no GPU: what starts there is composed, with its launcher.
ELSEWHERE = re.compile(r"hydra/launcher=submitit_slurm|trainer=ddp|trainer\.devices=[2-9]")
OTHER_LAUNCHER = re.compile(r"hydra/launcher=|hydra\.launcher\.")


def train(home: Home, words, long):
    """Composes the command as printed, and runs it on a few rendered faces with one seed."""
    arguments = words[3:]
    if SHOWING & set(arguments):
        assert home.python_m("mtlface.train", *arguments)
        return
    if any(word.startswith("data.root=") for word in arguments):
        name = data_of(arguments)
        arguments = [with_data(home, word, "data.root=", name) for word in arguments]
    changed = [word for word in arguments if not word.startswith("profile=")] + list(SMOKE)
    if words != FIRST and not any(word.startswith("backbone=") for word in changed):
        changed.append(SMALL)
    if any(word.startswith("tune=") for word in changed) and not long:
        changed = [word for word in changed if not word.startswith("tune.trials=")]
        changed.append("tune.trials=2")
    runs, group = composed(home, tuple(changed))
    if any(ELSEWHERE.match(word) for word in changed):
        return
    if not long:  # in this process instead
        changed = [word for word in changed if not OTHER_LAUNCHER.match(word)]
    changed = first_seed(changed)
    lines = [changed]
    if len(runs) > MOST_RUNS * SEEDS and not long:
        # The first of each grid: of each set of keys that vary together.
        grids = {frozenset(w.partition("=")[0] for w in one): one for one in reversed(runs)}
        seed = ["seed=0"]
        lines = [
            [w for w in one if not w.startswith(("sweep=", "seed="))] + seed + [f"group={group}"]
            for one in reversed(grids.values())
        ]
    for line in lines:
        said = home.python_m("mtlface.train", *in_order(line))
        assert re.search(r"done|skipped", said)


def in_order(line):
    """The line with its flags first and the rest sorted: lines that come to the same run once."""
    flags = [word for word in line if word.startswith("-")]
    if "--config-dir" in line:
        flags.append(line[line.index("--config-dir") + 1])
    return [*flags, *sorted(word for word in line if word not in flags)]


@functools.cache
def composed(home: Home, arguments):
    """The runs of a command line, each as its overrides, and the folder that they share.

    The last of them is composed as a whole, and its launcher made.
    """
    overrides = [word for word in arguments if not word.startswith("-")]
    if "--config-dir" in arguments:
        own = arguments[arguments.index("--config-dir") + 1]
        overrides.remove(own)
        overrides.append(f"hydra.searchpath=[file://{home.folder / own}]")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), job_name="train", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        cfg = launch.compose(loader, overrides, multirun="-m" in arguments)
        runs = [tuple(cfg.hydra.overrides.task)]
        if cfg.hydra.mode == RunMode.MULTIRUN:
            runs = combinations(cfg)
            one = loader.load_sweep_config(cfg, list(runs[-1]))
            OmegaConf.resolve(one)
            context = HydraContext(config_loader=loader, callbacks=launch.Callbacks(cfg))
            Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=launch.job, config=cfg
            )
        group = cfg.group
    return runs, group


def first_seed(arguments):
    """One seed where a command line has several, or a sweep has."""
    cut = [re.sub(r"^(seed=\d+),.*", r"\1", word) for word in arguments]
    several = any(word.startswith("sweep=") for word in cut)
    seeded = any(word.startswith("seed=") for word in cut)
    return [*cut, "seed=0"] if several and not seeded else cut


def data_of(arguments):
    """The data that a command names, or its experiment does; None for a config of the user's."""
    named = next((word[5:] for word in arguments if word.startswith("data=")), None)
    if named is not None:
        return named if (config_folder() / "data" / f"{named}.yaml").exists() else None
    experiment = next((word for word in arguments if word.startswith("experiment=")), None)
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [experiment] if experiment else []).data.name


def with_data(home: Home, word, key, name):
    """A path to data that the user has; one that they do not have is their copy of a data set."""
    path = word.removeprefix(key)
    if not word.startswith(key) or name is None or (home.folder / path).exists():
        return word
    return f"{key}{home.data(name)}"
