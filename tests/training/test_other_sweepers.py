"""A sweeper that the user names is used: it gets each run's monitored value, or a clear refusal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = '''
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class TwoTries(Sweeper):
    """Tries two rates, the second one by the value of the first."""

    def setup(self, *, hydra_context, task_function, config):
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        rate, seen = 1e-3, []
        for number in range(2):
            job = [*arguments, f"optimizer.lr={rate}"]
            (found,) = self.launcher.launch([job], initial_job_idx=number)
            seen.append(found.return_value)
            rate = 1e-2
        print("VALUES", seen)


ConfigStore.instance().store(
    group="hydra/sweeper", name="two_tries",
    node={"_target_": "hydra_plugins.two_tries.TwoTries"}, provider="tests",
)
'''  # fmt: skip


@pytest.fixture
def command(tmp_path, faces, cache):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "two_tries.py").write_text(PLUGIN)
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(tmp_path)])

    def run(*words):
        given = [f"outputs={tmp_path / 'out'}", f"data.root={faces}", f"data.cache={cache}", *words]
        return subprocess.run(
            [sys.executable, "-m", "mtlface.train", *given],
            env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_it_gets_the_monitored_value_of_every_run(command, tmp_path):
    words = ("-m", "hydra/sweeper=two_tries", "task=[gender]", "backbone=cnn3", "figures=false")
    small = ("data.image_size=[32,32]", "data.batch_size=8", "trainer=cpu", "trainer.max_epochs=1")
    found = command(*words, *small, "group=tuned")
    assert found.returncode == 0, found.stderr
    results = [
        json.loads((tmp_path / "out" / "tuned" / "trials" / str(n) / "result.json").read_text())
        for n in range(2)
    ]
    assert [r["config"]["optimizer"]["lr"] for r in results] == [1e-3, 1e-2]
    values = [r["selection"]["value"] for r in results]
    assert f"VALUES {values}" in found.stdout


def test_beside_a_sweep_that_lists_its_runs_it_is_refused(command):
    found = command("sweep=transfer", "hydra/sweeper=two_tries")
    assert found.returncode == 2
    assert "chooses the runs itself, and sweep=transfer lists them" in found.stderr


def test_beside_a_search_it_is_refused(command):
    found = command("-m", "task=[gender]", "tune=default", "hydra/sweeper=two_tries")
    assert found.returncode == 2 and "and tune= both choose settings" in found.stderr
