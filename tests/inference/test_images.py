import os
from pathlib import Path

import pandas as pd
import pytest

from mtlface.data.csv_cells import as_cells
from mtlface.data.decode import MAX_FILE_BYTES
from mtlface.errors import MtlfaceError
from mtlface.inference.images import list_images
from mtlface.inference.prepare import prepare


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "notes.md", "x[1].jpg"):
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "p"


def short(listed, folder):
    return [path.removeprefix(f"{folder}/") for path in listed.paths]


def test_a_folder_is_its_pictures_by_name_and_nothing_else(folder):
    assert short(list_images(str(folder)), folder) == ["a.PNG", "b.jpg", "deep/c.webp", "x[1].jpg"]


def test_a_pattern_a_file_and_commas(folder):
    assert short(list_images(f"{folder}/*.jpg"), folder) == ["b.jpg", "x[1].jpg"]
    assert short(list_images(f"{folder}/**/*.webp"), folder) == ["deep/c.webp"]
    assert short(list_images(f"{folder}/x[1].jpg"), folder) == ["x[1].jpg"]
    both = list_images(f"{folder}/b.jpg,{folder}/a.PNG")
    assert short(both, folder) == ["b.jpg", "a.PNG"] and both.ids == ["b", "a"]


def test_a_list_keeps_its_order_its_names_and_its_ids(folder):
    (folder / "l.txt").write_text("b.jpg\n\ngone.jpg\na.PNG\n")
    listed = list_images(str(folder / "l.txt"))
    assert listed.names == ["b.jpg", "gone.jpg", "a.PNG"]
    assert short(listed, folder) == ["b.jpg", "gone.jpg", "a.PNG"]
    (folder / "face_dataset" / "test").mkdir(parents=True)
    (folder / "face_dataset" / "test" / "00007.jpg").touch()
    (folder / "test.csv").write_text("id,full_path\n7,test/00007.jpg\n")
    listed = list_images(str(folder / "test.csv"))
    assert listed.ids == ["7"]
    assert short(listed, folder) == ["face_dataset/test/00007.jpg"]


def test_a_list_may_have_comments_spaces_repetitions_and_impossible_names(folder):
    (folder / "l.txt").write_text(f"# mine\n  b.jpg \nb.jpg\n./#1.jpg\n{'x' * 5000}\na\0.jpg\n")
    listed = list_images(str(folder / "l.txt"))
    assert listed.names == ["b.jpg", "b.jpg", "./#1.jpg", "x" * 5000, r"a\x00.jpg"]
    assert short(listed, folder)[:2] == ["b.jpg", "b.jpg"]


def test_a_folder_with_the_name_of_a_picture_is_none(folder):
    (folder / "d.jpg").mkdir()
    assert "d.jpg" not in short(list_images(str(folder)), folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.txt", "ä.jpg".encode("latin-1")),
        ("wide.txt", "a.jpg".encode("utf-16")),
        ("empty.csv", b""),
        ("ragged.csv", b"image,b\n1,2\n3,4,5,6\n"),
        ("binary.csv", bytes(range(256))),
    ],
)
def test_a_list_that_is_none_is_one_clear_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MtlfaceError, match=f"The list .*{name} cannot be read") as raised:
        list_images(str(tmp_path / name))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_one_short_line(text):
    with pytest.raises(MtlfaceError, match="nothing of that name") as raised:
        list_images(text)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gone.jpg", "nothing of that name"),
        ("*.tiff", "matches no file"),
        (".", "without a picture"),
        ("empty.txt", "without a picture"),
        ("wrong.csv", "has the columns a, b"),
    ],
)
def test_nothing_to_predict_is_one_clear_error(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MtlfaceError, match=message):
        list_images(text)


def test_pipes_and_devices_are_rows_with_an_error_and_none_waits(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    with (tmp_path / "c.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    listed = list_images(str(tmp_path))
    found = [
        prepare(*pair, (8, 8), None).error for pair in zip(listed.names, listed.paths, strict=True)
    ]
    assert found == ["not a file", "not a file", "a file of 536,870,913 bytes is no picture"]
    with pytest.raises(MtlfaceError, match="is a pipe, a device or a broken link"):
        list_images(str(tmp_path / "a.jpg"))


def test_names_are_text_that_no_terminal_and_no_spreadsheet_takes_for_a_command(
    tmp_path, monkeypatch
):
    for name in (b"=1+1.jpg", b"\xff.jpg", b"a\x1b[2J.jpg"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert list_images("*.jpg").names == ["./=1+1.jpg", r"a\x1b[2J.jpg", r"\udcff.jpg"]
    table = pd.DataFrame({"who": ["=cmd()", "a\x1bb", None], "age": [-1.5, 2.0, 3.0]})
    assert as_cells(table).to_csv(index=False) == "who,age\n'=cmd(),-1.5\na\\x1bb,2.0\n,3.0\n"
