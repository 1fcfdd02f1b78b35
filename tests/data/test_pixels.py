import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from PIL import Image

from mtlface.data import store_build
from mtlface.data.decode import decode_resized
from mtlface.data.pixels import BadImage, open_store
from mtlface.errors import MtlfaceError

SIZE = (12, 10)


def save(path, seed=0, size=(20, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)


@pytest.fixture
def root(tmp_path):
    for i in range(7):
        save(tmp_path / "data" / "faces" / f"{i}.jpg", i, (20 + i, 30))
    return tmp_path / "data"


@pytest.fixture
def images(root):
    return [f"faces/{i}.jpg" for i in range(7)]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def open_quietly(images, root, cache, size=SIZE, workers=2):
    return open_store(images, root, size, cache, workers, progress=False)


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


# --- what a store holds ------------------------------------------------------------------------


def test_rows_are_the_decoded_pictures_in_order(images, root, cache):
    store = open_quietly(images, root, cache)
    assert store.pixels.shape == (7, *SIZE, 3)
    assert store.sizes.dtype == np.int32
    for row, name in enumerate(images):
        pixels, on_disk = decode_resized((root / name).read_bytes(), SIZE)
        assert (store.pixels[row] == pixels).all()
        assert tuple(store.sizes[row]) == on_disk == (20 + row, 30)
    assert store.bytes == 7 * 12 * 10 * 3
    assert store.bad == ()


def test_pixels_are_read_only(images, root, cache):
    store = open_quietly(images, root, cache)
    with pytest.raises(ValueError, match="read-only"):
        store.pixels[0] = 0
    with pytest.raises(FrozenInstanceError):
        store.bad = ()


def test_bad_pictures_are_black_and_named(images, root, cache):
    (root / images[1]).write_bytes(b"")
    (root / images[3]).write_bytes((root / images[3]).read_bytes()[:-100])
    (root / images[5]).unlink()
    (root / "faces" / "folder.jpg").mkdir()
    store = open_quietly([*images, "faces/folder.jpg"], root, cache)
    reopened = open_quietly([*images, "faces/folder.jpg"], root, cache)
    assert [bad.row for bad in store.bad] == [1, 3, 5, 7]
    assert store.bad[0] == BadImage(1, images[1], "the file is empty")
    assert "truncated" in store.bad[1].reason
    assert store.bad[2].reason == "missing"
    assert store.bad[3].reason == "not a file"
    assert not store.pixels[[1, 3, 5, 7]].any()
    assert not store.sizes[[1, 3, 5, 7]].any()
    assert store.pixels[[0, 2, 4, 6]].any(axis=(1, 2, 3)).all()
    assert reopened.bad == store.bad


def test_a_pipe_is_not_waited_for(root, cache):
    os.mkfifo(root / "pipe.jpg")
    assert open_quietly(["pipe.jpg"], root, cache).bad[0].reason == "not a file"


@pytest.mark.parametrize("name", ["with a space.jpg", "年齢/été 😀.jpg", "#%&?.jpg", "a\nb.jpg"])
def test_any_file_name_will_do(root, cache, name):
    save(root / name, 3)
    store = open_quietly([name], root, cache)
    assert store.bad == ()
    assert store.pixels.any()


@pytest.mark.parametrize("name", ["nul\0.jpg", "half\ud800.jpg", "x" * 300, "", ".", "0/1.jpg"])
def test_impossible_names_are_bad_pictures(images, root, cache, name):
    store = open_quietly([images[0], name], root, cache)
    assert [(bad.row, bad.image) for bad in store.bad] == [(1, name)]
    assert open_quietly([images[0], name], root, cache).bad == store.bad


# --- inside the root ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.jpg", "faces/../../secret.jpg", "..", "/secret.jpg"])
def test_a_name_that_leaves_the_root_is_an_error(images, root, cache, name):
    save(root.parent / "secret.jpg")
    name = str(root.parent / "secret.jpg") if name == "/secret.jpg" else name
    with pytest.raises(MtlfaceError, match=r"row 1.*outside the data folder"):
        open_quietly([images[0], name], root, cache)
    assert not cache.exists()


def test_links_stay_inside_the_root(images, root, cache):
    save(root.parent / "other" / "secret.jpg")
    (root / "file.jpg").symlink_to(root.parent / "other" / "secret.jpg")
    (root / "folder").symlink_to(root.parent / "other")
    (root / "dangling.jpg").symlink_to(root.parent / "nothing.jpg")
    (root / "fine.jpg").symlink_to(root / images[0])
    for name in ["file.jpg", "folder/secret.jpg", "dangling.jpg"]:
        with pytest.raises(MtlfaceError, match="outside"):
            open_quietly([name], root, cache)
    store = open_quietly(["fine.jpg", images[0]], root, cache)
    assert (store.pixels[0] == store.pixels[1]).all()


def test_the_root_itself_may_be_a_link(images, root, cache):
    link = root.parent / "link"
    link.symlink_to(root)
    assert open_quietly(images, link, cache).bad == ()


@pytest.mark.parametrize(("names", "size"), [([], SIZE), (["a.jpg"], (0, 8))])
def test_nothing_to_store_is_an_error(root, cache, names, size):
    with pytest.raises(MtlfaceError, match="needs pictures and a size"):
        open_quietly(names, root, cache, size)


def test_a_missing_root_is_an_error(root, cache):
    with pytest.raises(MtlfaceError, match=r"was not found.*data\.root"):
        open_quietly(["a.jpg"], root / "nowhere", cache)


# --- built once, and again when something changed ----------------------------------------------


def test_the_second_call_opens_what_the_first_built(images, root, cache, monkeypatch):
    first = open_quietly(images, root, cache)
    monkeypatch.setattr("mtlface.data.pixels.build", None)  # a call would fail
    second = open_quietly(images, root, cache)
    assert first.build_s > 0
    assert second.build_s is None
    assert (second.pixels == first.pixels).all()
    assert second.digest == first.digest


def test_a_finished_store_opens_from_a_read_only_cache(images, root, cache):
    digest = open_quietly(images, root, cache).digest
    listing = entries(cache)
    cache.chmod(0o555)
    try:
        assert open_quietly(images, root, cache).digest == digest
    finally:
        cache.chmod(0o755)
    assert entries(cache) == listing


def test_several_sizes_lie_side_by_side(images, root, cache):
    a, b = (open_quietly(images, root, cache, size) for size in [SIZE, (8, 8)])
    assert a.folder != b.folder
    assert a.folder.exists()
    assert a.digest != b.digest


def test_changed_replaced_and_reordered_files_make_a_new_store(images, root, cache):
    old = open_quietly(images, root, cache)
    assert open_quietly(images[::-1], root, cache).folder != old.folder
    picture = root / images[0]
    before = picture.stat()
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    touched = open_quietly(images, root, cache)
    assert touched.folder != old.folder
    assert touched.digest == old.digest
    picture.unlink()
    gone = open_quietly(images, root, cache)
    assert [bad.reason for bad in gone.bad] == ["missing"]
    save(picture, 99)
    back = open_quietly(images, root, cache)
    assert back.bad == ()
    assert back.digest != old.digest


def test_the_digest_does_not_depend_on_place_or_threads(images, root, cache):
    moved = root.parent / "elsewhere"
    shutil.copytree(root, moved)
    here = open_quietly(images, root, cache, workers=1)
    there = open_quietly(images, moved, cache.parent / "cache2", workers=3)
    assert there.digest == here.digest
    save(moved / images[2], 77, (22, 30))
    assert open_quietly(images, moved, cache).digest != here.digest


# --- damaged and unfinished stores -------------------------------------------------------------


def tear(name, keep):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return damage


def edit_index(**changes):
    def damage(folder):
        index = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(index | changes))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        tear("pixels.npy", 0.9),
        tear("pixels.npy", 0),
        tear("sizes.npy", 0.5),
        tear("index.json", 0.5),
        lambda folder: (folder / "pixels.npy").unlink(),
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "pixels.npy").open("ab").write(b"more"),
        edit_index(count=8),
        edit_index(bad=[[99, "x.jpg", "why"]]),
        edit_index(bad=7),
    ],
)
def test_a_damaged_store_is_built_again(images, root, cache, damage, caplog):
    whole = open_quietly(images, root, cache)
    pixels = whole.pixels.copy()  # the map of a torn file cannot be read
    damage(whole.folder)
    again = open_quietly(images, root, cache)
    assert again.build_s is not None
    assert again.digest == whole.digest
    assert (again.pixels == pixels).all()
    assert "damaged" in caplog.text


def test_a_store_whose_pixels_were_overwritten_is_built_again(images, root, cache, caplog):
    whole = open_quietly(images, root, cache)
    pixels, folder = whole.pixels.copy(), whole.folder
    del whole
    noise = np.lib.format.open_memmap(folder / "pixels.npy", mode="r+")
    noise[3] ^= 1
    noise.flush()
    again = open_quietly(images, root, cache)
    assert (again.pixels == pixels).all()
    assert "1 of 7 rows that were checked, the first of faces/3.jpg" in caplog.text


@pytest.mark.parametrize("name", ["sizes.npy", "checks.npy"])
def test_changed_sizes_and_check_sums_are_noticed(images, root, cache, name, caplog):
    whole = open_quietly(images, root, cache)
    array = np.load(whole.folder / name)
    array[2] += 1
    np.save(whole.folder / name, array)
    again = open_quietly(images, root, cache)
    assert again.build_s is not None and again.digest == whole.digest
    assert "damaged" in caplog.text


@pytest.mark.parametrize("name", ["pixels.npy", "sizes.npy", "checks.npy"])
def test_a_pickle_in_a_store_is_not_run(images, root, cache, name, tmp_path):
    folder = open_quietly(images, root, cache).folder
    mark = tmp_path / "was run"

    class Pickled:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    np.save(folder / name, np.array([Pickled()], dtype=object), allow_pickle=True)
    assert open_quietly(images, root, cache).build_s is not None
    assert not mark.exists()


def test_an_image_of_the_same_size_and_time_is_noticed_by_its_content(images, root, cache, caplog):
    old = open_quietly(images, root, cache)
    path = root / images[2]
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new = open_quietly(images, root, cache)
    assert "faces/2.jpg was replaced" in caplog.text
    assert new.folder == old.folder and new.build_s is not None
    assert (new.pixels[2] == decode_resized(bytes(content), SIZE)[0]).all()


def test_of_a_large_store_only_a_share_is_checked(images, root, cache, monkeypatch):
    open_quietly(images, root, cache)
    monkeypatch.setattr("mtlface.data.pixels.CHECKED_BYTES", 3 * SIZE[0] * SIZE[1] * 3)
    monkeypatch.setattr("mtlface.data.pixels.CHECKED_FILES", 2)
    counted = []
    crc = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: counted.append(len(data)) or crc(data))
    open_quietly(images, root, cache)
    assert len(counted) == 3 + 2


def test_leftovers_of_dead_builders_are_removed(images, root, cache):
    cache.mkdir()
    for name in [".12x10-abc.1-ff.part", ".64x64-def.2-00.part"]:
        (cache / name).mkdir()
        (cache / name / "pixels.npy").write_bytes(b"half")
    open_quietly(images, root, cache)
    assert not [name for name in entries(cache) if name.endswith(".part")]


def test_an_interrupted_build_leaves_nothing(images, root, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_build, "content_digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_quietly(images, root, cache)
    monkeypatch.undo()
    assert [name for name in entries(cache) if not name.endswith(".lock")] == []
    assert open_quietly(images, root, cache).bad == ()


SLOW_BUILDER = """
import sys, time
from pathlib import Path
from mtlface.data import store_build
from mtlface.data.pixels import open_store

decode = store_build.decode_resized
def slowly(data, size):
    print("decoding", flush=True)
    time.sleep(float(sys.argv[3]))
    return decode(data, size)

store_build.decode_resized = slowly
images = [f"faces/{i}.jpg" for i in range(7)]
store = open_store(images, Path(sys.argv[1]), (12, 10), Path(sys.argv[2]), 1, progress=False)
print(store.digest, store.build_s is not None, flush=True)
"""


def slow_builder(root, cache, seconds_a_picture):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILDER, root, cache, str(seconds_a_picture)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for _ in range(3):
        assert process.stdout.readline() == "decoding\n"  # it is at work, and holds the lock
    return process


def test_a_build_killed_midway_does_no_harm(images, root, cache):
    process = slow_builder(root, cache, 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [name for name in entries(cache) if name.endswith(".part")]
    store = open_quietly(images, root, cache)
    assert store.build_s is not None
    assert store.digest == open_quietly(images, root, cache.parent / "fresh").digest
    assert not [name for name in entries(cache) if name.endswith(".part")]


def test_of_two_processes_one_builds_and_the_other_waits(images, root, cache, caplog):
    process = slow_builder(root, cache, 0.3)
    with caplog.at_level(logging.WARNING):
        store = open_quietly(images, root, cache)
    output = process.communicate(timeout=60)[0].splitlines()[-1]
    assert output == f"{store.digest} True"
    assert store.build_s is None
    assert "another process builds" in caplog.text


# --- machines that refuse ----------------------------------------------------------------------


def test_too_little_room_is_known_before_the_build(images, root, cache, monkeypatch):
    usage = shutil.disk_usage(root)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MtlfaceError, match=r"free.*cache folder"):
        open_quietly(images, root, cache)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_disk_that_fills_up_is_one_clear_error(images, root, cache, monkeypatch):
    write = store_build._write
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(store_build, "_write", lambda _, pixels, offset: write(full, pixels, 0))
    with pytest.raises(MtlfaceError, match=r"No space left on device.*cache folder"):
        open_quietly(images, root, cache)
    os.close(full)
    assert [name for name in entries(cache) if not name.endswith(".lock")] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_one_clear_error(images, root, cache):
    cache.mkdir(mode=0o555)
    with pytest.raises(MtlfaceError, match=r"Permission denied.*may write"):
        open_quietly(images, root, cache)


def test_a_cache_that_is_a_file_is_one_clear_error(images, root, cache):
    cache.write_text("not a folder")
    with pytest.raises(MtlfaceError, match="cannot be written"):
        open_quietly(images, root, cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_picture_is_an_error_not_a_bad_picture(images, root, cache):
    (root / images[2]).chmod(0)
    with pytest.raises(MtlfaceError, match=r"2\.jpg \(row 2\) cannot be read: Permission denied"):
        open_quietly(images, root, cache)


def test_a_picture_that_changes_during_the_build_is_an_error(images, root, cache, monkeypatch):
    def list_then_grow(*arguments):
        files = store_files.list_files(*arguments)
        with (root / images[4]).open("ab") as file:
            file.write(b"more")
        return files

    from mtlface.data import store_files

    monkeypatch.setattr("mtlface.data.pixels.list_files", list_then_grow)
    with pytest.raises(MtlfaceError, match=r"4\.jpg \(row 4\) changed while"):
        open_quietly(images, root, cache)


# --- on the way to workers ---------------------------------------------------------------------


def test_a_store_travels_as_its_path(images, root, cache):
    store = open_quietly(images, root, cache, (64, 64))
    parcel = pickle.dumps(store)
    assert len(parcel) < 1000
    copy = pickle.loads(parcel)
    assert (copy.pixels == store.pixels).all()
    assert copy.digest == store.digest


def test_progress_goes_to_stderr(images, root, cache, capsys):
    open_store(images, root, SIZE, cache, 1, progress=True)
    captured = capsys.readouterr()
    assert "packing pictures at 10x12 px" in captured.err
    assert "7/7" in captured.err
    assert captured.out == ""


@pytest.mark.slow
def test_opening_scales(tmp_path, cache):
    root = tmp_path / "many"
    root.mkdir()
    names = [f"{i:06d}.jpg" for i in range(20_000)]
    for name in names:
        (root / name).touch()
    open_quietly(names, root, cache, (1, 1))
    started = time.perf_counter()
    store = open_quietly(names, root, cache, (1, 1))
    assert len(store.bad) == 20_000
    assert time.perf_counter() - started < 2
