"""What a shell can do to a command: closed streams, limits, pipes and odd files in its way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtlface.training.result import read_result

TRAIN = (sys.executable, "-m", "mtlface.train", "experiment=celeba_gender", "profile=smoke")
SETTINGS = ("backbone=cnn3", "trainer=cpu", "trainer.enable_progress_bar=false")


@pytest.fixture
def command(faces, cache, tmp_path):
    """Runs a training command in a shell: exit code and what it wrote to stderr."""

    def run(*words, before="", after=""):
        settings = [f"data.root={faces}", f"data.cache={cache}", f"outputs={tmp_path / 'out'}"]
        given = " ".join(f"'{word}'" for word in (*TRAIN, *SETTINGS, *settings, *words))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            ["bash", "-c", f"{before} {given} {after}"],
            capture_output=True, text=True, timeout=240, env=environment, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    return run


def results(folder):
    return [path for path in folder.rglob("result.json") if read_result(path) is not None]


@pytest.mark.parametrize("closed", [pytest.param("2>&-", marks=pytest.mark.slow), ">&- 2>&- <&-"])
def test_closed_streams_do_not_end_a_run(command, tmp_path, closed):
    code, _ = command(after=closed)
    assert code == 0
    assert len(results(tmp_path / "out")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ulimit")
def test_a_limit_of_file_sizes_is_one_clear_line_and_the_run_goes_on_without_it(command, tmp_path):
    code, said = command(before="ulimit -f 60;")
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1
    assert "larger than files may be here" in lines[0] and "ulimit -f unlimited" in lines[0]
    assert "Traceback" not in said
    assert command()[0] == 0
    assert len(results(tmp_path / "out")) == 1


def test_a_folder_in_the_place_of_the_result_is_said_before_training(command, tmp_path):
    folder = tmp_path / "out" / "celeba_gender" / "celeba_gender,backbone=cnn3" / "celeba"
    (folder / "seed=0" / "result.json").mkdir(parents=True)
    code, said = command()
    assert code == 2 and "result.json is a folder" in said
    assert said.count("error: ") == 1 and "Traceback" not in said


@pytest.mark.slow
def test_best_weights_in_the_place_of_the_last_state_are_not_gone_on_from(command, tmp_path):
    assert command()[0] == 0
    (result,) = results(tmp_path / "out")
    checkpoints = result.parent / "checkpoints"
    (checkpoints / "last.ckpt").write_bytes((checkpoints / "best.ckpt").read_bytes())
    (checkpoints / "last-1.ckpt").unlink(missing_ok=True)
    result.unlink()
    code, said = command()
    assert code == 0, said
    assert "Traceback" not in said and len(results(tmp_path / "out")) == 1


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device file")
@pytest.mark.slow
def test_predict_on_a_folder_with_a_pipe_a_device_and_an_odd_name(command, tmp_path, faces):
    assert command()[0] == 0
    (result,) = results(tmp_path / "out")
    folder = tmp_path / "images"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    picture = next(faces.rglob("*.jpg")).read_bytes()
    (folder / "=1+1.jpg").write_bytes(picture)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(picture)
    done = subprocess.run(
        [sys.executable, "-m", "mtlface.predict", f"checkpoint={result.parent}", "device=cpu",
         f"images={folder}", f"output={tmp_path / 'p.csv'}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    rows = (tmp_path / "p.csv").read_text().splitlines()[1:]
    assert len(rows) == 4
    by_name = {row.split(",")[0].rpartition("/")[2]: row for row in rows}
    assert "male" in by_name["caf\\udce9.jpg"] and "male" in by_name["=1+1.jpg"]
    assert any("pipe" in name and "male" not in row for name, row in by_name.items())
