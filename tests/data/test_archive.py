"""A zip is unpacked whole or not at all, and never outside its folder."""

import stat
import zipfile

import pytest

from mtlface.data.archive import unpack
from mtlface.errors import MtlfaceError


def make(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def everything_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_files_folders_and_odd_names_arrive_as_they_were(tmp_path):
    contents = {"a/b c.jpg": b"1", "ä…'\n.csv": b"2" * 3_000_000, "a/empty": b""}
    unpack(make(tmp_path / "x.zip", [*contents.items(), ("folder/", b"")]), tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in contents} == contents
    assert (tmp_path / "out" / "folder").is_dir()
    assert everything_below(tmp_path)[-1] == "x.zip"


def symlink(name="link"):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:/evil", "C:evil", "a/..", symlink()],
    ids=str,
)
def test_nothing_is_written_for_an_archive_that_leads_outside(tmp_path, entry):
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make(tmp_path / "x.zip", [("good.txt", "fine"), (entry, "/etc/passwd")])
    with pytest.raises(MtlfaceError, match="was not unpacked"):
        unpack(archive, inner / "out")
    assert everything_below(tmp_path) == ["inner", "x.zip"]


def test_an_entry_that_comes_twice_is_refused(tmp_path):
    archive = make(tmp_path / "x.zip", [("a.txt", "1"), ("A.txt", "2")])
    with pytest.raises(MtlfaceError, match="occurs twice"):
        unpack(archive, tmp_path / "out")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    archive = make(tmp_path / "x.zip", [("zeros", bytes(10**7))], zipfile.ZIP_DEFLATED)
    with pytest.raises(MtlfaceError, match="10000000 bytes"):
        unpack(archive, tmp_path / "out")
    with pytest.raises(MtlfaceError, match="10000000 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=10**6, max_ratio=10**9)
    assert everything_below(tmp_path) == ["x.zip"]


def test_an_entry_that_lies_about_its_size_leaves_nothing_behind(tmp_path):
    path = make(tmp_path / "x.zip", [("zeros", bytes(10**6))], zipfile.ZIP_DEFLATED)
    path.write_bytes(path.read_bytes().replace((10**6).to_bytes(4, "little"), b"\x10\0\0\0"))
    with pytest.raises(MtlfaceError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert everything_below(tmp_path) == ["x.zip"]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_torn_download_is_one_clear_error(tmp_path, keep):
    path = make(tmp_path / "x.zip", [(f"{i}.txt", str(i) * 100) for i in range(50)])
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(MtlfaceError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert everything_below(tmp_path) == ["x.zip"]


def test_flipped_bytes_are_noticed(tmp_path):
    path = make(tmp_path / "x.zip", [("a.txt", "hello, world")])
    path.write_bytes(path.read_bytes().replace(b"hello", b"jello"))
    with pytest.raises(MtlfaceError, match="CRC"):
        unpack(path, tmp_path / "out")
    assert everything_below(tmp_path) == ["x.zip"]


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(MtlfaceError, match=r"x\.zip is missing"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
