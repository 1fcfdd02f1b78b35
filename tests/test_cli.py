"""The command `mtlface`: it opens every other one, says its version, and completes words."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mtlface
from mtlface import cli

ROOT = Path(__file__).parents[1]


def said(monkeypatch, capsys, *words):
    """What it prints, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["mtlface", *words])
    try:
        cli.main()
    except SystemExit as stopped:
        code = stopped.code or 0
    else:
        code = 0
    return capsys.readouterr(), code


def test_it_is_installed_and_says_its_own_version(monkeypatch, capsys):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"mtlface": "mtlface.cli:main"}
    printed, code = said(monkeypatch, capsys, "--version")
    assert (printed.out, code) == (f"mtlface {mtlface.__version__}\n", 0)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_is_the_module_of_its_name(monkeypatch, capsys, command):
    printed, code = said(monkeypatch, capsys, command, "--help")
    assert code == 0 and f"python -m mtlface.{command}" in printed.out
    assert command in cli.__doc__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no command 'trian'"),
        (["trian"], "Did you mean 'train'"),
        (["completion", "tcsh"], "completion fish"),
    ],
)
def test_another_word_is_one_line(monkeypatch, capsys, words, message):
    printed, code = said(monkeypatch, capsys, *words)
    assert code == 2 and message in printed.err and len(printed.err.splitlines()) == 1


def test_words_are_completed_to_commands_keys_and_groups(monkeypatch, capsys):
    assert cli.candidates(["ex"]) == ["export", "explore"]
    assert cli.candidates(["evaluate", "en"]) == ["ensemble="]
    assert cli.candidates(["completion", ""]) == ["bash", "zsh", "fish"]
    printed, _ = said(monkeypatch, capsys, "complete-words", "train", "experiment=celeba_land")
    assert "experiment=celeba_landmarks_gender" in printed.out.split()


def test_the_bash_script_asks_for_mtlface_alone(monkeypatch, capsys, tmp_path):
    printed, _ = said(monkeypatch, capsys, "completion", "bash")
    assert printed.out.splitlines()[-1].endswith(" mtlface")
    # A stand-in for the command, as bash would find it.
    stand_in = tmp_path / "mtlface"
    stand_in.write_text('#!/bin/sh\necho "asked:$*"\n')
    stand_in.chmod(0o755)
    script = printed.out + (
        f"PATH={tmp_path}:$PATH\nCOMP_WORDS=(mtlface train ask)\nCOMP_CWORD=2\n_mtlface\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "asked:complete-words ask"
