"""Every key of the config with values that nobody expects: one clear line each, and no stack trace.

The real command line runs, up to the first step: a value that is possible reaches the training,
where it is stopped; every other ends with exit code 2 and one line that says why.
"""

import contextlib
import io
import logging
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lightning import Trainer
from omegaconf import OmegaConf

from mtlface import train
from mtlface.errors import MtlfaceError
from mtlface.training.identity import flattened

REACHED = "the first step was reached"
BASES = (
    ["experiment=celeba_landmarks_gender", "backbone=cnn3"],
    ["experiment=celeba_gender", "backbone=resnet18", "balancing=uncertainty", "scheduler=plateau"],
    ["experiment=celeba_attributes", "backbone=cnn3", "balancing=pcgrad", "augment=strong"],
    ["experiment=celeba_landmarks_gender", "backbone=cnn4_bn", "scheduler=onecycle"],
    ["experiment=facecom_gender_identity", "backbone=cnn3", "data.root=null"],
    ["experiment=celeba_agegender_joint", "backbone=cnn3", "data.root=null"],
)
VALUES = (
    "-1", "0", "1", "2", "1.5", "-0.5", "1e20", "1e-400", "nan", "inf", "-inf", "null", "true",
    "false", "abc", "''", "[]", "{}", "[1,2]", "[a,b]", "[[1],[2]]", "[null]", "{a: 1}",
    "{train: 1}", "../x", "/dev/null", "~/x", "'=cmd()'", "'\x1b[31mred'", "é", "' '", "0x10",
    "1_000", "99999999999999999999", "-99999999999999999999", "9" * 400, "x" * 3000,
    "${nothing}", "${seed}", "'${oc.env:NOT_THERE}'", "range(3)", "1,2", "choice(1,2)", "{", "[",
    "a=b", "'a,b'", "auto", "train", "val/loss", "val/skill", "0.0001", "???",
)  # fmt: skip
# Paths that would be read or written elsewhere; they have tests of their own.
PLACES = {"data.root", "outputs"}


@pytest.fixture(scope="module")
def door(faces, cache, tmp_path_factory):
    """Runs the training command to its first step: the exit code and what it wrote to stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    here = tmp_path_factory.mktemp("fuzz")

    def stop(*_, **__):
        raise MtlfaceError(REACHED)

    def run(*words):
        settings = [f"outputs={here / 'out'}", f"data.root={faces}", f"data.cache={cache}"]
        settings += ["profile=smoke", "trainer=cpu", "trainer.enable_progress_bar=false"]
        argv, sys.argv = sys.argv, ["mtlface.train", *settings, *words]
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                train.main()
        except SystemExit as end:
            return end.code, said.getvalue()
        finally:
            sys.argv = argv
            GlobalHydra.instance().clear()
            root.handlers[:], root.level = handlers, level
        return 0, said.getvalue()

    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(here):
        patch.setattr(Trainer, "fit", stop)
        yield run


@pytest.fixture(scope="module")
def keys(composed):
    """Every key of each base's config, those of lists and sections too."""
    found = {}
    for number, base in enumerate(BASES):
        plain = OmegaConf.to_container(composed("profile=smoke", *base), resolve=False)
        flat = list(flattened({k: v for k, v in plain.items() if k != "hydra"}))
        sections = {key.rpartition(".")[0] for key in flat} - {""}
        found[number] = sorted({*flat, *sections} - PLACES)
    return found


def test_what_is_possible_reaches_the_training(door):
    for base in BASES:
        code, said = door(*base, "seed=3")
        assert code == 2 and said.endswith(f"error: {REACHED}\n")


def fuzz(draws):
    """A test that makes so many draws of a key, a value and how the two are written."""

    @settings(
        max_examples=draws, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        base=st.integers(0, len(BASES) - 1),
        place=st.floats(0, 1, exclude_max=True),
        value=st.sampled_from(VALUES),
        how=st.sampled_from(("{}={}", "{}={}", "{}={}", "+{}={}", "++{}={}", "~{}", "+{}.x={}")),
    )
    def test(door, keys, base, place, value, how):
        key = keys[base][int(place * len(keys[base]))]
        word = how.format(key, value)
        code, said = door(*BASES[base], word)
        shown = [line for line in said.splitlines() if line.startswith("error: ")]
        assert code == 2, (word[:200], code, said[:2000])
        assert len(shown) == 1 and "Traceback" not in said, (word[:200], said[:2000])
        assert "\x1b" not in said, word
        assert len(shown[0]) < 2000, (word[:200], shown[0][:500])

    return test


test_a_draw_of_bad_values = pytest.mark.timeout(900)(fuzz(40))
test_five_thousand_bad_values = pytest.mark.slow(pytest.mark.timeout(7200)(fuzz(5000)))
