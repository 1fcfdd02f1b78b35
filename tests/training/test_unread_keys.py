"""A key that nothing reads is one clear error; a single run ends with what to do next."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mtlface.errors import MtlfaceError
from mtlface.training.build import check_trainer
from mtlface.training.config_schema import check_values


@pytest.mark.parametrize("key", ["+callbacks.x=1", "+patiens=3", "+x=1"])
def test_a_key_at_the_top_that_nothing_reads(composed, key):
    name = key.lstrip("+").partition("=")[0].partition(".")[0]
    with pytest.raises(MtlfaceError, match=f"{name} is a key that nothing reads"):
        check_values(composed("experiment=tiny", key))


def test_a_value_of_ones_own_that_another_takes_may_stay(composed):
    check_values(composed("experiment=tiny", "+my_rate=0.01", "optimizer.lr=${my_rate}"))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("logger", "mtlface's own to set"),
        ("callbacks", "mtlface's own to set"),
        ("max_epoch", "Did you mean 'max_epochs'"),
        ("foo", "no setting of Lightning's Trainer"),
    ],
)
def test_a_setting_that_the_trainer_lacks(composed, key, message):
    cfg = composed("experiment=tiny", f"+trainer.{key}=1")
    with pytest.raises(MtlfaceError, match=message):
        check_trainer(cfg.trainer)


def test_a_single_run_ends_with_its_metrics_its_folder_and_the_next_command(faces, cache, tmp_path):
    small = (
        "task=[gender]", "backbone=cnn3", "figures=false", "data.image_size=[32,32]",
        "data.batch_size=8", "trainer=cpu", "trainer.max_epochs=1",
    )  # fmt: skip
    given = [f"data.root={faces}", f"data.cache={cache}", "outputs=~/runs", *small]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-m", "mtlface.train", *given],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    (result,) = tmp_path.glob("runs/**/result.json")  # ~ is the home folder
    folder = str(result.parent.relative_to(tmp_path))
    lines = found.stdout.splitlines()
    assert any("gender" in line and "accuracy" in line for line in lines)
    assert any("constant predictor" in line for line in lines)
    assert any(line.startswith(f"Run folder: {folder}") for line in lines)
    assert any(
        f"python -m mtlface.evaluate checkpoint={shlex.quote(folder)}" in line for line in lines
    )
