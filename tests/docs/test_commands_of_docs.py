"""Every command and every block of code in the docs does what it says, run as a user would.

A command that no function here knows how to run fails: say in `HOW` how it is run.
"""

import functools
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib import import_module
from importlib.util import find_spec

import pytest
from commands_of_docs import DOORS, ROOT, SHELL, Place, blocks, commands, of_line, of_page
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from user_at_home import Home

from mtlface.door import config_folder
from mtlface.training.sweeps import launch
from mtlface.training.sweeps.plan import combinations

PLACEHOLDER = re.compile(r"outputs/(?:…|<[^>]*>)/seed=\d+")
UNKNOWN = re.compile(r"[…<>]")
DOCUMENTED = commands()
FIRST, FIRST_COMPARE = (
    list(next(c.words for c in DOCUMENTED if c.words[2:3] == (f"mtlface.{door}",)))
    for door in ("train", "compare")
)
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


@pytest.fixture(scope="module")
def home(tmp_path_factory, cache):
    patch = pytest.MonkeyPatch()
    patch.setenv("MTLFACE_CACHE", str(cache))
    made = Home(tmp_path_factory.mktemp("home"), cache)
    made.furnish()
    yield made
    patch.undo()


@pytest.mark.parametrize("command", DOCUMENTED, ids=lambda command: str(command.place))
def test_every_command_works(home, command):
    run(home, command.words)


def run(home: Home, words, long=False):
    """Runs a command by the first entry of `HOW` that fits it."""
    how = next((how for start, how in HOW.items() if " ".join(words).startswith(start)), None)
    assert how is not None, f"no test knows how to run `{' '.join(words)}`: add it to HOW"
    how(home, list(words), long)


# Training


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


# What comes after training


def finished_run(home: Home):
    """The run folder that stands for `outputs/…/seed=0`: of the command the README begins with."""
    run(home, FIRST)
    group = dict(word.split("=") for word in FIRST[3:])["experiment"]
    (result,) = (home.folder / "outputs" / group).glob(f"{group}/celeba/seed=0/result.json")
    return result.parent


def door(home: Home, words, long):
    """Runs a door on a finished run, or on data."""
    module, arguments = words[2], words[3:]
    arguments = [PLACEHOLDER.sub(lambda _: str(finished_run(home)), word) for word in arguments]
    arguments = ["profile=smoke" if w.startswith("profile=") else w for w in arguments]
    name = next((word[5:] for word in arguments if word.startswith("data=")), "celeba")
    arguments = [with_data(home, word, "data.root=", name) for word in arguments]
    left = [word for word in arguments if UNKNOWN.search(word)]
    assert not left, f"no test knows what stands for {left}"
    if module == "mtlface.explore" and not any("profile=" in w for w in arguments):
        arguments.append("profile=smoke")
    home.python_m(module, *arguments)


def compare(home: Home, words, long):
    """Compares the runs that other commands of the docs train."""
    folders = [f for word in words for f in re.findall(r"outputs/[\w-]+", word)]
    assert folders, "compare says which runs"
    for folder in folders:
        group = folder.removeprefix("outputs/")
        makes = {f"{key}={group}" for key in ("group", "sweep")}
        for command in DOCUMENTED:
            if makes & set(command.words):
                run(home, command.words)
    if words != FIRST_COMPARE and "figures=false" not in words and not long:
        words = [*words, "figures=false"]  # one comparison draws them
    door(home, words, long)
    assert "Report:" in home.printed[tuple(words[2:])]


def export(home: Home, words, long):
    """Writes the bundle; the graphs of ONNX and torch.export, which take long, when there is time.

    They are compared with the network in the tests of the bundle.
    """
    door(home, words if long else [*words, "onnx=false", "program=false"], long)


def demo_page(home: Home, words, long):
    """Opens the page in a process of its own; where Gradio is not installed, it is told to."""
    arguments = [PLACEHOLDER.sub(lambda _: str(finished_run(home)), word) for word in words[3:]]
    if find_spec("gradio") is None:
        code, said = home.try_python_m("mtlface.demo", *arguments)
        assert code == 2 and "mtlface[demo]" in said
        return
    port = free_port()
    arguments = [word for word in arguments if not word.startswith("port=")] + [f"port={port}"]
    answers(home, [sys.executable, "-m", "mtlface.demo", *arguments], f"http://127.0.0.1:{port}")


def tensorboard(home: Home, words, long):
    """Starts TensorBoard on the runs, and asks it which it sees."""
    if tuple(words) in home.printed:
        return
    finished_run(home)
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", *words[1:], "--port", str(port)]
    url = f"http://127.0.0.1:{port}/data/runs"
    home.printed[tuple(words)] = answers(home, command, url, until="seed=0")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(home: Home, command, url, until="", seconds=120):
    """What a server that is started says at an address; it is ended afterwards."""
    end, said = time.monotonic() + seconds, ""
    with subprocess.Popen(
        command, cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while time.monotonic() < end and server.poll() is None:
                try:
                    with urllib.request.urlopen(url, timeout=5) as answer:
                        said = answer.read().decode()
                    if until in said:
                        return said
                except OSError:
                    pass
                time.sleep(0.2)
        finally:
            server.terminate()
    pytest.fail(f"{' '.join(command)} does not answer: {said}")


# Installing and developing


def pip_install(home: Home, words, long):
    """What is to be installed is described in pyproject.toml; nothing is downloaded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [word for word in words[2:] if not word.startswith("-")]
    if "-c" in words:
        constraints = words[words.index("-c") + 1]
        assert (ROOT / constraints).is_file()
        named.remove(constraints)
    assert named
    for what in named:
        source, _, inside = what.partition("[")
        built = source.startswith("dist/mtlface-") and source.endswith(".whl")
        assert source in {project["name"], "."} or built, f"no test knows {source}"
        for extra in filter(None, inside.rstrip("]").split(",")):
            assert extra in extras, f"there is no extra {extra}"
            assert [Requirement(text) for text in extras[extra]]


def make(home: Home, words, long):
    """Make knows the target; what it would start of mtlface is run like any other command."""
    if (program := shutil.which("make")) is None:
        pytest.skip("make is not installed")
    command = [program, "-n", "--no-print-directory", *words[1:]]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in said.replace(".venv/bin/python", "python").splitlines():
        if line.startswith("python -m mtlface."):
            for one in of_line(Place("Makefile", 0), line):
                run(home, one.words, long)


def tool(home: Home, words, long):
    """Runs a copy of the tool on a copy of what it reads: it writes into the checkout."""
    copy = home.folder / "checkout"
    for part in ("conf", "docs", "tools"):
        shutil.copytree(ROOT / part, copy / part, dirs_exist_ok=True)
    subprocess.run([sys.executable, *words[1:]], cwd=copy, check=True, timeout=120)


def of_the_cluster(home: Home, words, long):
    """Belongs to the shell or to Slurm, and is not ours to test."""


HOW = {
    "python -m mtlface.train": train,
    "python -m mtlface.compare": compare,
    "python -m mtlface.evaluate": door,
    "python -m mtlface.predict": door,
    "python -m mtlface.explore": door,
    "python -m mtlface.export": export,
    "python -m mtlface.demo": demo_page,
    "python tools/": tool,
    "tensorboard --logdir": tensorboard,
    "pip install": pip_install,
    "make ": make,
    "[ ": of_the_cluster,
    "scontrol requeue": of_the_cluster,
}


def _takes_long(command):
    text = " ".join(command.words)
    sweep = "sweep=" in text and not ELSEWHERE.search(text)
    parts = ("python -m mtlface.export", "python -m mtlface.compare")
    return text.startswith(parts) or "joblib" in text or sweep


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "command", [c for c in DOCUMENTED if _takes_long(c)], ids=lambda command: str(command.place)
)
def test_long_commands_run_to_their_end(home, command):
    """With every arm of a sweep, their launcher, and all parts of an export."""
    run(home, command.words, long=True)


# Blocks of code


@pytest.mark.parametrize("block", blocks(), ids=lambda block: str(block.place))
def test_every_block_of_code_works(home, block):
    if block.is_script:
        (home.folder / "script.sh").write_text(block.code)
        subprocess.run(["bash", "-e", "script.sh"], cwd=home.folder, check=True)
    elif block.language in SHELL:
        pass  # its lines are commands, each with its own test
    elif block.saved_as:
        used = [c for c in DOCUMENTED if any(w in block.saved_as.split("/") for w in c.words)]
        module = block.saved_as.removesuffix(".py")
        texts = [b.code for b in blocks()]
        assert used or any(f"{module}." in text for text in texts), "nothing uses this file"
        for command in used:
            run(home, command.words)
    else:
        assert block.language == "python", f"no test knows what to do with {block.language}"
        code = PLACEHOLDER.sub(str(finished_run(home)), block.code)
        with home.there():
            exec(compile(code, str(block.place), "exec"), {"__name__": "__main__"})


def test_the_tab_key_completes_a_command(home):
    (script,) = (block for block in blocks() if block.is_script and "COMPREPLY" in block.code)
    programs = home.folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python").chmod(0o755)
    line = "python -m mtlface.train experiment=celeba_g"
    pressed = f"{script.code}\nCOMP_LINE='{line}' COMP_WORDS=({line}) COMP_CWORD=3\n"
    pressed += '_mtlface; echo "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    said = subprocess.run(
        ["bash", "-c", pressed], env=environment, cwd=home.folder, capture_output=True, text=True
    )
    assert said.stdout.split() == ["experiment=celeba_gender"], said.stderr


# Keys and values between the words of a text

SPANS = re.compile(r"`([A-Za-z_/]+(?:\.[A-Za-z_]+)*=[^`]*)`")
# Arguments of Python's functions, and words that stand for any group or key.
NOT_OURS = ("weights_only=", "group=option", "key=value")


def _overrides():
    found = {}
    pages = {c.place.file: c for c in DOCUMENTED if c.place.file.endswith(".md")}
    for page in sorted(pages):
        path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for span in SPANS.findall(line):
                for word in shlex.split(span):
                    if not word.startswith(NOT_OURS):
                        found.setdefault(word, Place(page, number))
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
    tasks = [f"task=[{task[1]}]"] if task and "<" not in key else []
    open_value = not value or UNKNOWN.search(value)
    if UNKNOWN.search(key):
        return key == "tasks.<task>.weight"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if open_value and "." not in key:
            return key in loader.list_groups("") or key in compose("train")
        method = ["balancing=upgrad"] if key == "balancing.level" else []
        try:
            cfg = compose("train", [*tasks, *method, *([] if open_value else [word])])
        except Exception:
            return False
    return not open_value or OmegaConf.select(cfg, key, default="?") != "?"


def test_the_reader_of_the_docs_sees_every_command():
    text = (
        "# Title\n\nSay `make demo SEEDS=0` first, or `make` alone.\n\n```\n"
        "python -m mtlface.train a=1 \\\n    'b=[1, 2]'   # why\n# a remark\n"
        "srun pip install x || echo no\n```\n"
    )
    found = of_page("page.md", text)
    assert [(str(c.place), c.words) for c in found] == [
        ("page.md:3", ("make", "demo", "SEEDS=0")),
        ("page.md:6", ("python", "-m", "mtlface.train", "a=1", "b=[1, 2]")),
        ("page.md:9", ("pip", "install", "x")),
        ("page.md:9", ("echo", "no")),
    ]


def test_every_door_is_in_the_docs():
    used = {command.words[2] for command in DOCUMENTED if command.words[:2] == ("python", "-m")}
    guarded = {f"mtlface.{p.stem}" for p in DOORS if "guarded(main)" in p.read_text("utf-8")}
    assert guarded and guarded <= used


@pytest.mark.parametrize(
    "line",
    [
        "python -m mtlface.train experiment=celeba_gendr",
        "python -m mtlface.train experiment=celeba_gender optimizer.rate=1",
        "python -m mtlface.predict checkpoint=<my run> images=photos",
        "python -m mtlface.explore data=celeba picture=3",
        "python train.py",
        "pip install 'mtlface[everything]'",
        "pip install other",
        "wget https://example.org",
    ],
)
def test_a_command_that_does_not_work_or_is_not_known_fails(home, line):
    (command,) = of_line(Place("page.md", 1), line)
    with pytest.raises(Exception):  # noqa: B017
        run(home, command.words)
