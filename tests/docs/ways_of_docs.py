"""How each command of the docs is run, by the words that it begins with: see `HOW`."""

import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from commands_of_docs import ROOT, Place, commands, of_line
from packaging.requirements import Requirement
from trainings_of_docs import ELSEWHERE, FIRST, train, with_data
from user_at_home import Home

PLACEHOLDER = re.compile(r"outputs/(?:…|<[^>]*>)/seed=\d+")
IMAGENET = Path(torch.hub.get_dir()) / "checkpoints" / "mobilenet_v2-b0353104.pth"
UNKNOWN = re.compile(r"[…<>]")
DOCUMENTED = commands()
FIRST_COMPARE = list(next(c.words for c in DOCUMENTED if c.words[2:3] == ("mtlface.compare",)))


def run(home: Home, words, long=False):
    """Runs a command by the first entry of `HOW` that fits it."""
    how = next((how for start, how in HOW.items() if " ".join(words).startswith(start)), None)
    assert how is not None, f"no test knows how to run `{' '.join(words)}`: add it to HOW"
    how(home, list(words), long)


def takes_long(command):
    """Whether a command has more to it than its fast test runs."""
    text = " ".join(command.words)
    sweep = "sweep=" in text and not ELSEWHERE.search(text)
    parts = ("python -m mtlface.export", "python -m mtlface.compare")
    return text.startswith(parts) or "joblib" in text or sweep


# What comes after training


def finished_run(home: Home):
    """The run folder that stands for `outputs/…/seed=0`: of the command the README begins with."""
    run(home, FIRST)
    group = dict(word.split("=") for word in FIRST[3:])["experiment"]
    (result,) = (home.folder / "outputs" / group).glob(f"{group}/celeba/seed=0/result.json")
    return result.parent


def training(home: Home, words, long):
    """Trains; what starts from a finished run has that run's trunk."""
    published = any(word.startswith("pretrained=true") for word in words)
    if published and not IMAGENET.is_file():
        pytest.skip(f"no {IMAGENET.name} here: make weights")
    placed = [PLACEHOLDER.sub(lambda _: f"'{finished_run(home)}'", word) for word in words]
    train(home, placed if placed == words else [*placed, "backbone=resnet18"], long)


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
    if any(word.startswith("plan=") for word in words):
        # The fast test trains one seed, which is no pilot, and says so.
        code, said = home.try_python_m(words[2], *words[3:])
        assert "Seeds that a sweep" in said if code == 0 else "needs a pilot" in said
        return
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


def benchmarks(home: Home, words, long):
    """Prints the kept results; benchmarks themselves have their own quick tests."""
    assert words[3:] == ["--table"], "a benchmark takes minutes: see tests/benchmarks"
    subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=True, timeout=120)


def of_the_cluster(home: Home, words, long):
    """Belongs to the shell or to Slurm, and is not ours to test."""


HOW = {
    "python -m mtlface.train": training,
    "python -m mtlface.compare": compare,
    "python -m mtlface.evaluate": door,
    "python -m mtlface.predict": door,
    "python -m mtlface.explore": door,
    "python -m mtlface.export": export,
    "python -m mtlface.demo": demo_page,
    "python -m benchmarks": benchmarks,
    "python tools/": tool,
    "tensorboard --logdir": tensorboard,
    "pip install": pip_install,
    "make ": make,
    "[ ": of_the_cluster,
    "scontrol requeue": of_the_cluster,
}
