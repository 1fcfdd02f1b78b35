"""A user's mistake is one clear line, exit code 2 and no stack trace, unless one is asked for."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from own_reader import write_own_reader

from mtlface import train
from mtlface.errors import MtlfaceError

ATTRIBUTES, POINTS = "list_attr_celeba.csv", "list_landmarks_align_celeba.csv"
PICTURES = Path("img_align_celeba/img_align_celeba")


@pytest.fixture
def door(monkeypatch, capsys, tmp_path, cache):
    """Runs the training door and returns its exit code and what it wrote to stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments):
        settings = [f"outputs={tmp_path / 'out'}", f"data.cache={cache}", "profile=smoke"]
        settings += ["trainer=cpu", "trainer.enable_progress_bar=false", "backbone=cnn3"]
        monkeypatch.setattr(sys, "argv", ["mtlface.train", *settings, *arguments])
        with pytest.raises(SystemExit) as stop:
            train.main()
        return stop.value.code, capsys.readouterr().err

    yield run
    GlobalHydra.instance().clear()
    root.handlers[:], root.level = handlers, level


def assert_one_clear_line(answer, *named):
    code, text = answer
    assert code == 2
    lines = [line for line in text.splitlines() if line.strip() and "packing" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: "), text
    assert "Traceback" not in text and "Exception" not in text
    for name in named:
        assert name in text


GENDER = "experiment=celeba_gender"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["experiment=celeba_gendr"], ["'celeba_gendr'", "Did you mean 'celeba_gender'?"]),
        ([GENDER, "data=celebra"], ["'celebra'", "Did you mean 'celeba'?"]),
        ([GENDER, "data.rot=/x"], ["data.rot", "root"]),
        ([GENDER, "data.root=/nowhere"], ["/nowhere", "found nothing there", "profile=demo"]),
        ([GENDER, "data.root='~nobody-of-that-name/faces'"], ["begins with ~", "in full"]),
        ([GENDER, "data.attributes=[Smilling]"], ["'Smilling'", "Did you mean 'Smiling'?"]),
        ([GENDER, "data.points=[nse]"], ["'nse'", "Did you mean 'nose'?"]),
        ([GENDER, "task=[age]"], ["'age'", "this data does not have", "gender"]),
        ([GENDER, "data.batch_size=0"], ["data.batch_size"]),
        (["trainer.max_epochs=1"], ["No task is chosen"]),
    ],
)
def test_a_wrong_setting(door, arguments, named):
    assert_one_clear_line(door(*arguments), *named)


def missing_file(root):
    (root / ATTRIBUTES).unlink()
    return ATTRIBUTES.removesuffix(".csv"), str(root)


def missing_points(root):
    (root / POINTS).unlink()
    return POINTS, "data.points=[]"


def missing_column(root):
    text = (root / ATTRIBUTES).read_text()
    (root / ATTRIBUTES).write_text(text.replace(",Male,", ",Mall,"))
    return ATTRIBUTES, "Male"


def no_pictures(root):
    for picture in (root / PICTURES).iterdir():
        picture.unlink()
    return (str(root),)


def only_corrupt_pictures(root):
    for picture in (root / PICTURES).iterdir():
        picture.write_bytes(b"no picture")
    return "24 of 24 images", "000001.jpg", "data.on_bad_image"


def no_test_split(root):
    path = root / "list_eval_partition.csv"
    path.write_text(path.read_text().replace(",2\n", ",1\n"))
    return ("test split",)


@pytest.mark.parametrize(
    "broken",
    [
        missing_file, missing_points, missing_column, no_pictures, only_corrupt_pictures,
        no_test_split,
    ],
)  # fmt: skip
def test_a_wrong_folder(door, own_faces, broken):
    named = broken(own_faces)
    assert_one_clear_line(door(GENDER, f"data.root={own_faces}"), *named)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (",train,0,", ",train,2,", ["column gender, row 1 (image 0.png), is 2", "1 (male)"]),
        (",train,0,", ",train,female,", ["column gender, row 1 (image 0.png), is 'female'"]),
        (",20\n", ",1900\n", ["column age, row 1 (image 0.png), is 1900", "0 to 116 years"]),
        (",20\n", ",-inf\n", ["column age, row 1 (image 0.png), is -inf"]),
        (",test,", ",testing,", ["column split, row 4 (image 3.png), is 'testing'"]),
        ("3.png", "0.png", ["the image 0.png more than once, in row 1 (train) and row 4 (test)"]),
    ],
)
def test_wrong_labels_of_ones_own_reader(door, tmp_path, monkeypatch, old, new, named):
    words = write_own_reader(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "faces" / "labels.csv"
    path.write_text(path.read_text().replace(old, new))
    assert_one_clear_line(door(*words, "task=[gender,age]", "name=own"), *named)


def test_two_points_that_the_data_lacks(door, own_faces):
    words = ["experiment=celeba_landmarks", f"data.root={own_faces}", "data.draw=null"]
    answer = door(*words, "tasks.landmarks.eyes=[left_eye,noze]")
    assert_one_clear_line(answer, "tasks.landmarks.eyes", "'nose'", "left_eye, right_eye, nose")


def test_a_trace_is_shown_on_request(door, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(MtlfaceError, match="/nowhere"):
        door(GENDER, "data.root=/nowhere")


def test_help_and_no_argument_at_all_show_the_menu(monkeypatch, capsys):
    for arguments in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["mtlface.train", *arguments])
        with pytest.raises(SystemExit) as stop:
            train.main()
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        assert "experiment=celeba_landmarks_gender" in shown and "smoke" in shown


def in_a_shell(tmp_path, *arguments, **environment):
    command = [sys.executable, "-m", "mtlface.train", *arguments, f"outputs={tmp_path}"]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def test_a_shell_sees_one_line_and_an_exit_code(tmp_path):
    done = in_a_shell(tmp_path, GENDER, "data.root=/nowhere")
    assert_one_clear_line((done.returncode, done.stderr), "/nowhere")
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_full_errors_bring_the_stack_trace_back(tmp_path):
    done = in_a_shell(tmp_path, GENDER, "data.root=/nowhere", HYDRA_FULL_ERROR="1")
    assert done.returncode not in (0, None)
    assert "Traceback" in done.stderr and "sources.py" in done.stderr
    assert "MtlfaceError: data.root=/nowhere" in done.stderr


def write_people(root, images):
    """A FaceCom folder with so many images of each person."""
    entries = []
    source = sorted(root.parent.glob("faces/**/*.jpg"))
    for person, count in enumerate(images):
        for number in range(count):
            name = f"{person}_{number}.jpg"
            (root / "images").mkdir(parents=True, exist_ok=True)
            (root / "images" / name).write_bytes(source[len(entries) % len(source)].read_bytes())
            entries.append({"filename": name, "person_id": person, "gender": "MF"[person % 2]})
    (root / "annotations.json").write_text(json.dumps(entries))
    return root


IDENTITY = ["experiment=facecom_gender_identity", "data.demo=null"]


def test_a_person_with_one_image_is_learnt_and_the_others_are_measured(door, own_faces, tmp_path):
    root = write_people(tmp_path / "people", [4, 4, 4, 4, 1])
    code, said = door(*IDENTITY, f"data.root={root}")
    assert code == 0, said
    (path,) = (tmp_path / "out").rglob("result.json")
    result = json.loads(path.read_text())
    assert 0 <= result["metrics"]["test/identity/top1"] <= 1
    assert len(next(of for of in result["labels"] if of["name"] == "identity")["classes"]) == 5


def test_people_with_one_image_each_are_one_clear_error(door, own_faces, tmp_path):
    root = write_people(tmp_path / "people", [1] * 8)
    assert_one_clear_line(door(*IDENTITY, f"data.root={root}"), "no usable image in its val split")
