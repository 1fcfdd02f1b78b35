"""Every command and every block of code in the docs does what it says, run as a user would.

A command that nothing here knows how to run fails: say in `ways_of_docs.HOW` how it is run.
"""

import subprocess

import pytest
from commands_of_docs import DOORS, SHELL, Place, blocks, of_line, of_page
from user_at_home import Home
from ways_of_docs import DOCUMENTED, PLACEHOLDER, finished_run, run, takes_long


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


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "command", [c for c in DOCUMENTED if takes_long(c)], ids=lambda command: str(command.place)
)
def test_long_commands_run_to_their_end(home, command):
    """With every arm of a sweep, their launcher, and all parts of an export."""
    run(home, command.words, long=True)


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
