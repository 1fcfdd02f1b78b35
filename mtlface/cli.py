"""One command for all: `mtlface train …` is `python -m mtlface.train …`.

    mtlface train experiment=celeba_landmarks_gender
    mtlface compare runs=outputs/celeba_landmarks_gender
    mtlface completion bash | zsh | fish     a script for the tab key; see docs/recipes.md

Commands: train, compare, evaluate, predict, export, explore, demo. `mtlface COMMAND --help` says
more, `mtlface --version` which version it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module

from mtlface import __version__
from mtlface.door import USER_ERROR
from mtlface.errors import did_you_mean

COMMANDS = ("train", "compare", "evaluate", "predict", "export", "explore", "demo")
# The shell asks `mtlface complete-words WORDS…`, whose last word is being typed.
SCRIPTS = {
    "bash": """\
_mtlface() {
    local found=$(mtlface complete-words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _mtlface mtlface
""",
    "zsh": """\
_mtlface() {
    local -a found
    found=("${(@f)$(mtlface complete-words "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
    compadd -S '' -- $found
}
compdef _mtlface mtlface
""",
    "fish": """\
function __mtlface
    set -l words (commandline -opc) (commandline -ct)
    mtlface complete-words $words[2..-1] 2>/dev/null
end
complete -c mtlface -f -a '(__mtlface)'
""",
}


def main() -> None:
    """Runs a command and exits with its code."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(__doc__)
        return
    command, rest = arguments[0], arguments[1:]
    if command in {"--version", "-V", "version"}:
        print(f"mtlface {__version__}")
    elif command == "completion" and len(rest) == 1 and rest[0] in SCRIPTS:
        print(SCRIPTS[rest[0]], end="")
    elif command == "complete-words":
        print("\n".join(candidates(rest)))
    elif command in COMMANDS:
        from runpy import run_module

        sys.argv = [f"mtlface {command}", *rest]
        run_module(f"mtlface.{command}", run_name="__main__", alter_sys=True)
    else:
        known = [*COMMANDS, "completion bash", "completion zsh", "completion fish", "--version"]
        meant = did_you_mean(" ".join(arguments[:2]) if command == "completion" else command, known)
        print(
            f"error: mtlface has no command '{command}'; expected one of {', '.join(known)}."
            f"{meant}",
            file=sys.stderr,
        )
        sys.exit(USER_ERROR)


def candidates(words: Sequence[str]) -> list[str]:
    """What the word that is being typed may become.

    Args:
        words: Those after `mtlface`, the last of which is not finished.
    """
    if len(words) < 2:
        start = words[0] if words else ""
        return [word for word in (*COMMANDS, "completion") if word.startswith(start)]
    command, typed = words[0], words[-1]
    if command == "completion":
        return [shell for shell in SCRIPTS if shell.startswith(typed)]
    if command == "train":
        return _of_hydra(words[1:])
    if command not in COMMANDS:
        return []
    options = import_module(f"mtlface.{command}").Options
    return [f"{field.name}=" for field in fields(options) if field.name.startswith(typed)]


def _of_hydra(words: Sequence[str]) -> list[str]:
    """Groups, options and keys, as Hydra knows them."""
    import contextlib
    import io

    import hydra

    from mtlface.door import config_folder

    os.environ["COMP_LINE"] = " ".join(["train", *words])
    sys.argv = ["train", "--shell-completion", "query=bash"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(
            lambda _: None
        )()
    return out.getvalue().split()


if __name__ == "__main__":
    main()
