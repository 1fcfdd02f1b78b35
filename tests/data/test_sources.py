"""Where the data comes from, and what is said when it does not come."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import kagglehub
import pytest
from face_folders import put

from mtlface.data import sources
from mtlface.data.archive import unpack
from mtlface.data.sources import resolve
from mtlface.errors import MtlfaceError

HANDLE = "jessicali9530/celeba-dataset/versions/2"


def test_a_given_folder_wins_over_the_source(tmp_path):
    assert resolve(str(tmp_path), "demo", HANDLE, "celeba.zip", tmp_path) == (tmp_path, "folder")


def test_a_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "faces").mkdir()
    assert resolve("~/faces", "kaggle", HANDLE, None, tmp_path)[0] == tmp_path / "faces"


@pytest.mark.parametrize(("make_file", "found"), [(False, "nothing"), (True, "a file")])
def test_a_folder_that_is_none_says_what_belongs_there(tmp_path, make_file, found):
    if make_file:
        put(tmp_path / "faces", "")
    with pytest.raises(MtlfaceError, match=rf"train\.csv.*found {found} there"):
        resolve(tmp_path / "faces", "kaggle", HANDLE, None, tmp_path, layout="train.csv")


def test_the_demo_set_is_unpacked_once(tmp_path, monkeypatch):
    folder, kind = resolve(None, "demo", HANDLE, "celeba.zip", tmp_path)
    assert kind == "demo" and (folder / "list_attr_celeba.csv").is_file()
    monkeypatch.setattr(sources, "unpack", lambda *_: pytest.fail("unpacked again"))
    assert resolve(None, "demo", HANDLE, "celeba.zip", tmp_path) == (folder, "demo")


def test_another_demo_archive_gets_another_folder(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setattr(sources, "DEMO_FOLDER", tmp_path)
    found = []
    for content in ("old", "new"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a.txt", content)
        found.append(resolve(None, "demo", None, "x.zip", tmp_path / "cache")[0])
        assert (found[-1] / "a.txt").read_text() == content
    assert found[0] != found[1]


def test_processes_that_need_the_demo_at_once_unpack_it_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(sources, "unpack", lambda *a: (calls.append(a), unpack(*a)))
    with ThreadPoolExecutor(4) as pool:
        folders = list(
            pool.map(lambda _: resolve(None, "demo", None, "facecom.zip", tmp_path)[0], range(4))
        )
    assert len(set(folders)) == 1 and len(calls) == 1


def test_an_unpacking_that_was_killed_is_done_again(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from mtlface.data import archive, sources\n"
        "real, seen = archive._extract, []\n"
        "def extract(*a):\n    seen.append(1) or real(*a)\n    if len(seen) == 5: os._exit(9)\n"
        "archive._extract = extract\n"
        "sources.resolve(None, 'demo', None, 'facecom.zip', Path(sys.argv[1]))"
    )
    dead = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=False, env=os.environ
    )
    assert dead.returncode == 9
    folder, _ = resolve(None, "demo", None, "facecom.zip", tmp_path)
    assert len(list((folder / "images").iterdir())) == 1000
    assert {path.name for path in folder.parent.iterdir()} <= {folder.name, f"{folder.name}.lock"}


@pytest.mark.parametrize("demo", [None, "imagenet.zip"])
def test_an_unknown_demo_set_lists_those_there_are(tmp_path, demo):
    with pytest.raises(MtlfaceError, match=r"agegender\.zip, celeba\.zip, facecom\.zip"):
        resolve(None, "demo", None, demo, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    put(tmp_path / "cache", "")
    with pytest.raises(MtlfaceError, match=r"data\.cache"):
        resolve(None, "demo", None, "celeba.zip", tmp_path / "cache")


def test_a_data_set_that_is_not_on_kaggle_says_so(tmp_path):
    with pytest.raises(MtlfaceError, match=r"data\.root"):
        resolve(None, "kaggle", None, "facecom.zip", tmp_path)


def test_kaggles_cache_is_used_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    cached = tmp_path / "datasets" / "jessicali9530" / "celeba-dataset" / "versions" / "2"
    put(cached / "list_attr_celeba.csv", "")
    put(cached.parents[1] / "2.complete", "")  # what kagglehub leaves beside a whole download
    assert resolve(None, "kaggle", HANDLE, None, tmp_path) == (cached, "kaggle")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Name or service not known"),
        kagglehub.exceptions.UnauthenticatedError(),
        kagglehub.exceptions.DataCorruptionError("checksum\nsecond line"),
        ValueError("Invalid dataset handle"),
        OSError(28, "No space left on device"),
        KeyError(),
    ],
)
def test_a_failed_download_shows_three_ways_on(tmp_path, monkeypatch, error):
    def fail(handle):
        raise error

    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(MtlfaceError) as caught:
        resolve(None, "kaggle", HANDLE, "celeba.zip", tmp_path, layout="list_attr_celeba.csv")
    said = str(caught.value)
    for words in (HANDLE, "data.root", "profile=demo", "KAGGLEHUB_CACHE", type(error).__name__):
        assert words in said
    assert "\n" not in said and caught.value.__cause__ is error


def test_an_unknown_source_is_named(tmp_path):
    with pytest.raises(MtlfaceError, match="'web', expected 'kaggle' or 'demo'"):
        resolve(None, "web", HANDLE, "celeba.zip", tmp_path)
