"""Damaged label files give a clean table or the one clear error: never a crash, never nonsense."""

import numpy as np
import pytest
from face_folders import celeba, celeba_txt, competition, facecom, hackathon, utk_name, utkface
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.agegender import AgeGender
from mtlface.data.celeba import CelebA
from mtlface.data.facecom import FaceCom
from mtlface.data.schema import Binary, Category, Multilabel, Number, Points
from mtlface.errors import MtlfaceError

TOKENS = [
    *(b"", b",", b";", b"\t", b" ", b"\n", b"\r\n", b"\r", b'"', b'""', b"'", b"\\", b"\0"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3\xa4", b"\xe2\x80\xa8", b"\x0b", b"\x1c"),
    *(b"NaN", b"nan", b"inf", b"-inf", b"None", b"null", b"true", b"NA", b"#", b"%s", b"{}"),
    *(b"-1", b"0", b"1", b"2", b"1e400", b"-0", b"0x10", b"1_000", b"1.5", b"9" * 20, b"9" * 5000),
    *(b"../", b"/", b"C:\\", b"~", b".jpg", b"000001.jpg", b"male", b"female", b"train", b"gender"),
    *(b"[", b"]", b"{", b"}", b":", b'"split": "val"', b"\\ud800", b"\\u0000", b"image_id"),
]


def mutated(data, rng):
    """One to four random edits: cut, repeat, move, replace, insert, flip."""
    for _ in range(rng.integers(1, 5)):
        a, b = sorted(rng.integers(0, len(data) + 1, 2))
        b = min(b, a + int(rng.choice([1, 3, 20, 400])))
        token = TOKENS[rng.integers(len(TOKENS))]
        kind = rng.integers(6)
        if kind == 0:
            data = data[:a] + data[b:]
        elif kind == 1:
            data = data[:b] + data[a:b] + data[b:]
        elif kind == 2:
            data = data[:a] + token + data[b:]
        elif kind == 3:
            data = data[:a] + token + data[a:]
        elif kind == 4:
            data = data[:a] + bytes(rng.integers(0, 256, b - a, dtype=np.uint8)) + data[b:]
        else:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            data = b"\n".join(lines)
    return data


def mutated_name(name, rng):
    edited = (
        mutated(name.encode(), rng).replace(b"\0", b"").replace(b"/", b"").decode(errors="ignore")
    )
    return edited[:80].strip(".") or "x"


def assert_clean(table):
    frame, labels = table.frame, table.labels
    assert len(frame) > 0 and frame["image"].is_unique
    assert set(frame["split"]) <= {"train", "val", "test"}
    for image in frame["image"]:
        assert image and not image.startswith(("/", "~")) and ".." not in image.split("/")
        image.encode()
    for label in labels.values():
        values = label.values(frame)
        assert len(values) == len(frame)
        if isinstance(label, Binary | Multilabel):
            assert np.isin(values, [-1, 0, 1]).all()
        elif isinstance(label, Category):
            assert ((values >= -1) & (values < len(label.classes))).all()
        elif isinstance(label, Number):
            assert (np.isnan(values) | ((values >= label.low) & (values <= label.high))).all()
        elif isinstance(label, Points):
            assert (np.isnan(values) | (values >= 0)).all()
    for omission in table.omitted:
        omission.reason.encode(), omission.file.encode()
    assert len(table.fingerprint()) == 16


def labels_by_picture(table):
    """What is known about each picture, by the name of each label that is not missing."""
    known = {}
    for name, label in table.labels.items():
        if isinstance(label, Binary | Number):
            for image, value in zip(table.frame["image"], label.values(table.frame), strict=True):
                if value == value and value != -1:
                    known[image, name] = float(value)
    return known


COMPETITION_TRAIN = "id,full_path,gender,age\n" + "".join(
    f"{i},face_dataset/train/{i:05d}.jpg,{i % 2},{20 + i}\n" for i in range(6)
)
COMPETITION_TEST = "id,full_path\n0,face_dataset/test/00000.jpg\n1,face_dataset/test/00001.jpg\n"
ENTRIES = [
    {"filename": f"{i}.jpg", "gender": ["Male", "female"][i % 2], "person_id": i // 2,
     "split": ["train", "val", "test"][i % 3], "condition": ["fog", "clear"][i % 2]}
    for i in range(8)
]  # fmt: skip

LAYOUTS = {
    "kaggle": (CelebA(), celeba, "*.csv"),
    "original": (CelebA(identity=True), celeba_txt, "*/*.txt"),
    "competition": (
        AgeGender(),
        lambda root: competition(root, COMPETITION_TRAIN, COMPETITION_TEST),
        "t*.csv",
    ),
    "annotations": (FaceCom(), lambda root: facecom(root, ENTRIES), "*.json"),
}


def check_label_files(layout, folder, seeds):
    reader, make, pattern = LAYOUTS[layout]
    root = make(folder / "faces")
    whole = {path: path.read_bytes() for path in sorted(root.glob(pattern))}
    outcomes = {"table": 0, "error": 0}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        path = list(whole)[rng.integers(len(whole))]
        path.write_bytes(mutated(whole[path], rng))
        try:
            assert_clean(reader.read(root, 0))
            outcomes["table"] += 1
        except MtlfaceError as error:
            assert len(str(error)) < 2000, seed
            outcomes["error"] += 1
        except BaseException as error:
            raise AssertionError(f"{layout}, seed {seed}: {error!r}") from error
        path.write_bytes(whole[path])
    return outcomes


def check_names(folder, seeds):
    root = utkface(folder / "faces", [utk_name(20 + i, i % 2, i % 5, i) for i in range(3)])
    old = root / "UTKFace" / utk_name(20, 0, 0, 0)
    for seed in seeds:
        new = old.with_name(mutated_name(old.name, np.random.default_rng(seed)))
        if new.exists() and new != old:
            continue
        old.rename(new)
        try:
            assert_clean(AgeGender().read(root, 0))
        except MtlfaceError:
            pass
        except BaseException as error:
            raise AssertionError(f"names, seed {seed}: {new.name!r}: {error!r}") from error
        new.rename(old)


def check_folders(folder, seeds):
    root = hackathon(folder / "faces")
    places = sorted(path for path in root.rglob("*") if path.name != "distortion")
    for seed in seeds:
        rng = np.random.default_rng(seed)
        old = places[rng.integers(len(places))]
        new = old.with_name(mutated_name(old.name, rng))
        if new.exists():
            continue
        old.rename(new)
        try:
            assert_clean(FaceCom().read(root, 0))
        except MtlfaceError:
            pass
        except BaseException as error:
            raise AssertionError(f"folders, seed {seed}: {new}: {error!r}") from error
        new.rename(old)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_few_damaged_label_files(tmp_path, layout):
    outcomes = check_label_files(layout, tmp_path, range(40))
    assert outcomes["table"] > 0 and outcomes["error"] > 0


def test_a_few_damaged_picture_names(tmp_path):
    check_names(tmp_path, range(40))


def test_a_few_damaged_folders(tmp_path):
    check_folders(tmp_path, range(30))


KEYS = ["filename", "image", "gender", "person_id", "identity", "split", "condition", "x"]
VALUES = st.one_of(
    st.sampled_from(
        ["a.jpg", "b.jpg", "../c.jpg", "male", "Female", "train", "val", "test", "fog"]
    ),
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES) | VALUES, max_size=6))
def test_annotations_of_any_content(tmp_path_factory, entries):
    root = facecom(tmp_path_factory.mktemp("any"), entries)
    try:
        table = FaceCom().read(root, 0)
    except MtlfaceError:
        return
    assert_clean(table)
    named = [omission for omission in table.omitted if omission.reason.startswith("entry")]
    assert len(table) + len(named) == len(entries)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ten_thousand_damaged_label_files(tmp_path, layout):
    check_label_files(layout, tmp_path, range(10_000))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", [check_names, check_folders])
def test_ten_thousand_damaged_names(tmp_path, check):
    check(tmp_path, range(10_000))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_that_is_lost_changes_no_other_label(tmp_path, layout):
    reader, make, pattern = LAYOUTS[layout]
    root = make(tmp_path)
    clean = labels_by_picture(reader.read(root, 0))
    for path in sorted(root.glob(pattern)):
        whole = path.read_bytes()
        lines = whole.split(b"\n")
        for gone in range(len(lines)):
            path.write_bytes(b"\n".join(lines[:gone] + lines[gone + 1 :]))
            try:
                known = labels_by_picture(reader.read(root, 0))
            except MtlfaceError:
                continue
            assert known.items() <= clean.items(), f"{path.name} without line {gone + 1}"
        path.write_bytes(whole)
