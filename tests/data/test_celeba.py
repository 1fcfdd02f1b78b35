"""CelebA is read as its authors meant it, from every layout it goes around in."""

import time
from importlib.resources import files
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from face_folders import FACE, LANDMARKS, celeba, celeba_attributes, celeba_txt, jpeg, put
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.celeba import ATTRIBUTES, CelebA
from mtlface.errors import MtlfaceError

ATTR, POINTS, SPLIT = (
    "list_attr_celeba.csv",
    "list_landmarks_align_celeba.csv",
    "list_eval_partition.csv",
)


def edit(path, old, new, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def reasons(table):
    return [f"{o.file}:{o.row} {o.reason}" for o in table.omitted]


def same(one, other):
    pd.testing.assert_frame_equal(one.frame, other.frame)


def test_values_are_those_of_the_files(tmp_path):
    table = CelebA().read(celeba(tmp_path), seed=0)
    assert table.frame["image"][0] == "img_align_celeba/img_align_celeba/000001.jpg"
    assert (tmp_path / table.frame["image"][5]).is_file()
    assert list(table.frame["split"]) == ["train", "val", "test"] * 2
    np.testing.assert_array_equal(
        table.labels["attributes"].values(table.frame), celeba_attributes(6)
    )
    points = table.labels["landmarks"].values(table.frame)
    np.testing.assert_array_equal(points[0], np.reshape(FACE, (5, 2)))
    eyes = points[0, 1] - points[0, 0]
    assert np.hypot(*eyes) == pytest.approx(37.2, abs=0.05)
    assert table.omitted == ()


def test_gender_is_one_for_male(tmp_path):
    table = CelebA().read(celeba(tmp_path), seed=0)
    male = celeba_attributes(6)[:, ATTRIBUTES.index("Male")]
    np.testing.assert_array_equal(table.labels["gender"].values(table.frame), male)
    assert table.labels["gender"].classes == ("female", "male")


def test_each_attribute_is_a_label_of_its_own(tmp_path):
    table = CelebA(attributes=["Smiling"]).read(celeba(tmp_path), seed=0)
    assert table.labels["attributes"].names == ("Smiling",)
    glasses = celeba_attributes(6)[:, ATTRIBUTES.index("Eyeglasses")]
    np.testing.assert_array_equal(table.labels["Eyeglasses"].values(table.frame), glasses)


def test_attribute_names_are_the_40_of_the_published_header():
    with ZipFile(str(files("mtlface.data") / "demo" / "celeba.zip")) as archive:
        header = archive.read(ATTR).decode().splitlines()[0]
    assert header.split(",")[1:] == list(ATTRIBUTES)


def test_labels_are_known_before_reading(tmp_path):
    reader = CelebA(points=["left_eye", "right_eye", "nose"], attributes=["Young", "Bald"])
    assert reader.labels().to_dict() == reader.read(celeba(tmp_path), 0).labels.to_dict()


def test_a_flip_exchanges_eyes_and_mouth_corners():
    assert CelebA().labels()["landmarks"].mirrored == (1, 0, 2, 4, 3)
    three = CelebA(points=["nose", "right_eye", "left_eye"]).labels()["landmarks"]
    assert three.mirrored == (0, 2, 1)


def test_points_come_in_the_order_asked_for(tmp_path):
    table = CelebA(points=["nose", "right_eye", "left_eye"]).read(celeba(tmp_path), 0)
    first = table.labels["landmarks"].values(table.frame)[0]
    np.testing.assert_array_equal(first, [FACE[4:6], FACE[2:4], FACE[:2]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": ["left_eye", "right_eyes"]}, "Did you mean 'right_eye'"),
        ({"attributes": ["Smilling"]}, "Did you mean 'Smiling'"),
        ({"attributes": ["Young", "Young"]}, "twice"),
        ({"points": ["left_eye", "nose"]}, "right_eye"),
    ],
)
def test_wrong_choices_are_named_at_once(options, words):
    with pytest.raises(MtlfaceError, match=words):
        CelebA(**options)


@pytest.mark.parametrize("pictures", ["img_align_celeba/img_align_celeba", "img_align_celeba", "."])
def test_pictures_are_found_doubly_nested_nested_and_flat(tmp_path, pictures):
    table = CelebA().read(celeba(tmp_path, pictures=pictures), 0)
    assert all((tmp_path / image).is_file() for image in table.frame["image"])


def test_a_folder_around_the_data_set_is_looked_into(tmp_path):
    celeba(tmp_path / "archive" / "celeba")
    table = CelebA().read(tmp_path, 0)
    assert all((tmp_path / image).is_file() for image in table.frame["image"])


def test_the_data_set_twice_in_one_folder_is_an_error(tmp_path):
    celeba(tmp_path / "old"), celeba(tmp_path / "new")
    with pytest.raises(MtlfaceError, match="new, old"):
        CelebA().read(tmp_path, 0)


def test_the_original_txt_layout_gives_the_same_labels(tmp_path):
    kaggle = CelebA().read(celeba(tmp_path / "kaggle"), 0)
    original = CelebA().read(celeba_txt(tmp_path / "txt"), 0)
    assert original.omitted == ()
    pd.testing.assert_frame_equal(
        original.frame.drop(columns="image"), kaggle.frame.drop(columns="image")
    )
    assert original.frame["image"][0] == "Img/img_align_celeba/000001.jpg"


def test_identities_outside_training_are_missing_but_still_persons(tmp_path):
    table = CelebA(identity=True).read(celeba_txt(tmp_path), 0)
    assert table.labels["person"].classes == ("2880", "2881")
    put(
        tmp_path / "Anno" / "identity_CelebA.txt",
        "\n".join(f"{i:06d}.jpg {i}" for i in range(1, 7)),
    )
    table = CelebA(identity=True).read(tmp_path, 0)
    assert table.labels["identity"].classes == ("1", "4")
    assert list(table.frame["identity"]) == [0, -1, -1, 1, -1, -1]
    assert sorted(table.frame["person"]) == list(range(6))


def test_asked_for_identities_without_their_file_say_so(tmp_path):
    with pytest.raises(MtlfaceError, match="identity_CelebA"):
        CelebA(identity=True).read(celeba(tmp_path), 0)


def test_landmark_file_is_not_needed_without_points(tmp_path):
    (celeba(tmp_path) / POINTS).unlink()
    assert "landmarks" not in CelebA(points=[]).read(tmp_path, 0).labels
    with pytest.raises(MtlfaceError, match=r"list_landmarks_align_celeba.*data\.points=\[\]"):
        CelebA().read(tmp_path, 0)


def test_a_foreign_folder_lists_what_was_looked_for_and_what_is_there(tmp_path):
    put(tmp_path / "holiday.png", b"")
    with pytest.raises(MtlfaceError, match=r"list_attr_celeba.*holiday\.png"):
        CelebA().read(tmp_path, 0)


@pytest.mark.parametrize("name", [ATTR, POINTS, SPLIT])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),  # byte order mark
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: text.replace("0000", '"0000').replace(".jpg", '.jpg"').encode(),
        lambda text: text.replace("image_id", "Image_ID").encode(),
        lambda text: "\n".join([(t := text.split())[0], *t[:0:-1]]).encode(),
        lambda text: "\n".join([*text.split(), text.split()[2]]).encode(),
    ],
)
def test_how_a_label_file_was_saved_does_not_matter(tmp_path, name, change):
    clean = CelebA().read(celeba(tmp_path), 0)
    put(tmp_path / name, change((tmp_path / name).read_text()))
    same(CelebA().read(tmp_path, 0), clean)


def test_a_repeated_row_is_counted(tmp_path):
    path = celeba(tmp_path) / SPLIT
    path.write_text(path.read_text() + "000002.jpg,1\n")
    assert reasons(CelebA().read(tmp_path, 0)) == [f"{SPLIT}:8 the same row again"]


def test_zero_one_codes_mean_the_same_as_minus_one_one(tmp_path):
    clean = CelebA().read(celeba(tmp_path), 0)
    edit(tmp_path / ATTR, ",-1", ",0")
    same(CelebA().read(tmp_path, 0), clean)


def test_a_code_of_the_other_kind_leaves_its_row_out(tmp_path):
    edit(celeba(tmp_path) / ATTR, "000002.jpg,-1", "000002.jpg,0")
    table = CelebA().read(tmp_path, 0)
    assert len(table) == 5 and "000002" not in "".join(table.frame["image"])
    assert "5_o_Clock_Shadow is 0" in reasons(table)[0] and ":3 " in reasons(table)[0]


def test_an_empty_cell_is_a_missing_label(tmp_path):
    edit(celeba(tmp_path) / ATTR, "000002.jpg,-1", "000002.jpg,")
    edit(tmp_path / POINTS, "000003.jpg,71,111", "000003.jpg,,NaN")
    table = CelebA().read(tmp_path, 0)
    assert table.labels["attributes"].values(table.frame)[1, 0] == -1
    assert np.isnan(table.labels["landmarks"].values(table.frame)[2, 0]).all()
    assert len(table) == 6


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (ATTR, "000002.jpg,-1", "000002.jpg,maybe", "maybe"),
        (ATTR, "000002.jpg,-1", "000002.jpg,inf", "inf"),
        (ATTR, "000002.jpg,-1", "000002.jpg", "fields"),
        (POINTS, "000002.jpg,70", "000002.jpg,-3", "a point is no pair of numbers from 0 on"),
        (POINTS, "000002.jpg,70", "000002.jpg,left", "point"),
        (SPLIT, "000002.jpg,1", "000002.jpg,3", "expected 0, 1 or 2"),
        (SPLIT, "000002.jpg,1", "000002.jpg,0.5", "expected 0, 1 or 2"),
        (SPLIT, "000002.jpg,1", "000002.jpg,", "expected 0, 1 or 2"),
        (SPLIT, "000002.jpg,1", "", "no row in list_eval_partition.csv"),
        (SPLIT, "000002.jpg,1", "000002.jpg,1\n000002.jpg,2", "different values"),
        (SPLIT, "000002.jpg,1", '"000002.jpg,1', "fields"),
    ],
)
def test_a_bad_row_is_left_out_by_name(tmp_path, name, old, new, said):
    edit(celeba(tmp_path) / name, old, new)
    table = CelebA().read(tmp_path, 0)
    kept = [f"00000{i}.jpg" for i in (1, 3, 4, 5, 6)]
    assert [image.split("/")[-1] for image in table.frame["image"]] == kept
    assert any(said in reason for reason in reasons(table))


@pytest.mark.parametrize(
    "name", ["../../secret.jpg", "/etc/passwd.jpg", "C:\\x.jpg", "a\\..\\b.jpg"]
)
def test_names_that_leave_the_folder_are_left_out(tmp_path, name):
    celeba(tmp_path)
    for file in (ATTR, POINTS, SPLIT):
        edit(tmp_path / file, "000002.jpg", name)
    table = CelebA().read(tmp_path, 0)
    assert len(table) == 5
    assert sum("outside the data's folder" in reason for reason in reasons(table)) == 3


def test_wrong_columns_name_the_file_the_expected_and_the_found(tmp_path):
    edit(celeba(tmp_path) / POINTS, "nose_x", "noes_x")
    with pytest.raises(MtlfaceError, match=rf"{POINTS}.*nose_x.*noes_x"):
        CelebA().read(tmp_path, 0)


def test_a_column_given_twice_is_an_error(tmp_path):
    edit(celeba(tmp_path) / SPLIT, "image_id,partition", "partition,partition")
    with pytest.raises(MtlfaceError, match="each once"):
        CelebA().read(tmp_path, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"image_id,partition\n", "no row"),
        (b"image_id,partition\n\xff\xfe\xfd,1\n", "UTF-8"),
        (b"image_id,partition\n000001.jpg,0\n\0\0\0\0", "line 3.*zero bytes"),
        (b"<html>404</html>", "columns"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, content, said):
    put(celeba(tmp_path) / SPLIT, content)
    with pytest.raises(MtlfaceError, match=said):
        CelebA().read(tmp_path, 0)


def test_a_txt_file_that_was_cut_off_is_noticed(tmp_path):
    path = celeba_txt(tmp_path) / "Anno" / "list_attr_celeba.txt"
    path.write_text("\n".join(path.read_text().split("\n")[:-2]))
    assert any("announces 6 rows, but it has 5" in r for r in reasons(CelebA().read(tmp_path, 0)))


@settings(max_examples=25, deadline=None)
@given(
    absent=st.dictionaries(st.sampled_from([ATTR, POINTS, SPLIT]), st.sets(st.integers(1, 5))),
    order=st.permutations(range(1, 7)),
)
def test_exactly_the_pictures_that_all_files_know_are_kept(tmp_path_factory, absent, order):
    root = celeba(tmp_path_factory.mktemp("celeba"))
    for name, missing in absent.items():
        header, *rows = (root / name).read_text().split()
        kept = [rows[i - 1] for i in order if i not in missing]
        put(root / name, "\n".join([header, *kept]))
    table = CelebA().read(root, 0)
    gone = set().union(*absent.values())
    expected = [f"{i:06d}.jpg" for i in range(1, 7) if i not in gone]
    assert [image.split("/")[-1] for image in table.frame["image"]] == expected
    rows = [int(name[:6]) - 1 for name in expected]
    np.testing.assert_array_equal(
        table.labels["attributes"].values(table.frame), celeba_attributes(6)[rows]
    )
    unknown_to_all = set.intersection(*(absent.get(name, set()) for name in (ATTR, POINTS, SPLIT)))
    named = {o.row for o in table.omitted}
    assert bool(named) == bool(gone - unknown_to_all)


def test_the_demo_set_reads_whole(tmp_path):
    with ZipFile(str(files("mtlface.data") / "demo" / "celeba.zip")) as archive:
        archive.extractall(tmp_path)
    table = CelebA().read(tmp_path, 0)
    assert table.counts == {"train": 1400, "val": 300, "test": 300}
    assert table.omitted == ()
    assert table.frame["gender"].mean() == pytest.approx(0.492, abs=0.001)


@pytest.mark.slow
def test_label_files_of_200_000_pictures_are_read_in_seconds(tmp_path):
    n = 200_000
    names = [f"{i:06d}.jpg" for i in range(n)]
    ones = np.random.default_rng(0).random((n, 40)) < 0.2
    for name, header, cells in (
        (ATTR, ",".join(ATTRIBUTES), np.where(ones, "1", "-1")),
        (POINTS, LANDMARKS, np.tile(np.array(FACE).astype(str), (n, 1))),
        (SPLIT, "partition", np.full((n, 1), "0")),
    ):
        rows = [f"{image},{','.join(row)}" for image, row in zip(names, cells, strict=True)]
        put(tmp_path / name, "\n".join([f"image_id,{header}", *rows]))
    put(tmp_path / names[0], jpeg(0))
    started = time.process_time()
    table = CelebA().read(tmp_path, 0)
    assert time.process_time() - started < 3
    assert len(table) == n


@pytest.mark.parametrize("ending", ["png", "JPG"])
def test_images_with_another_ending_than_the_label_files_say_are_taken_by_stem(tmp_path, ending):
    root = celeba(tmp_path)
    for path in (root / "img_align_celeba" / "img_align_celeba").iterdir():
        path.rename(path.with_suffix(f".{ending}"))
    table = CelebA().read(root, 0)
    assert all((root / image).is_file() for image in table.frame["image"])
    assert "6 images have another ending" in table.remarks[0] and table.omitted == ()


def test_two_images_of_one_stem_are_not_confused(tmp_path):
    root = celeba(tmp_path)
    first = root / "img_align_celeba" / "img_align_celeba" / "000001.jpg"
    put(first.with_suffix(".png"), jpeg(9))
    put(first.with_suffix(".bmp"), jpeg(9))
    assert CelebA().read(root, 0).remarks == ()
    first.unlink()
    assert CelebA().read(root, 0).frame["image"][0].endswith("000001.jpg")


@pytest.mark.parametrize("points", [[0] * 10, [80, 90, 80, 90, 77, 142, 73, 152, 108, 154]])
def test_points_in_one_place_are_left_out_by_name(tmp_path, points):
    root = celeba(tmp_path)
    row = ",".join(map(str, np.array(FACE) + 1))
    edit(root / POINTS, f"000002.jpg,{row}", f"000002.jpg,{','.join(map(str, points))}")
    table = CelebA().read(root, 0)
    assert len(table) == 5 and len(table.omitted) == 1
    assert "in one place" in reasons(table)[0] and table.omitted[0].row == 3
