"""UTKFace's names and the competition's label files become the same table."""

from collections import Counter
from importlib.resources import files
from zipfile import ZipFile

import numpy as np
import pytest
from face_folders import competition, jpeg, put, utk_name, utkface
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.agegender import AgeGender
from mtlface.data.splits import stratified_split
from mtlface.errors import MtlfaceError

# The malformed names of the published archive.
MISSING_FIELD = (
    "39_1_20170116174525125.jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
)
MENDABLE = ("55_0_0_20170116232725357jpg.chip.jpg", "24_0_1_20170116220224657 .jpg.chip.jpg")


def read(root, seed=0, **options):
    return AgeGender(**options).read(root, seed)


def row(table, name):
    return table.frame[table.frame["image"].str.endswith(name)].iloc[0]


def reasons(table):
    return [f"{o.file}: {o.reason}" for o in table.omitted]


def faces(n):
    return [utk_name(i % 117, i % 2, i % 5, i) for i in range(n)]


def test_utkface_zero_is_male_and_becomes_one(tmp_path):
    table = read(utkface(tmp_path, [utk_name(30, 0, 3), utk_name(8, 1, 4)]))
    man, girl = (
        row(table, "30_0_3_20170109000000000.jpg.chip.jpg"),
        row(table, "8_1_4_" + "20170109000000000.jpg.chip.jpg"),
    )
    assert (man["age"], man["gender"], man["race"], man["age_group"]) == (30, 1, 3, 3)
    assert (girl["age"], girl["gender"], girl["race"], girl["age_group"]) == (8, 0, 4, 0)
    assert table.labels["race"].classes[3] == "Indian" and table.labels["race"].group
    assert table.labels["gender"].classes == ("female", "male")


def test_labels_are_known_before_reading(tmp_path):
    table = read(utkface(tmp_path, faces(3)))
    assert AgeGender().labels().to_dict() == table.labels.to_dict()


def test_only_one_copy_of_the_pictures_is_read(tmp_path):
    for folder in ("UTKFace", "utkface_aligned_cropped/UTKFace", "crop_part1"):
        utkface(tmp_path, faces(10), folder)
    utkface(tmp_path, faces(10), "utkface_aligned_cropped/crop_part1")
    table = read(tmp_path)
    assert len(table) == 10
    assert set(table.frame["image"].str.split("/").str[0]) == {"UTKFace"}


@pytest.mark.parametrize(
    "folder", ["utkface_aligned_cropped/UTKFace", "crop_part1", ".", "archive/UTKFace"]
)
def test_the_pictures_are_found_where_else_they_lie(tmp_path, folder):
    table = read(utkface(tmp_path, faces(4), folder))
    assert len(table) == 4 and all((tmp_path / image).is_file() for image in table.frame["image"])


def test_badly_spelt_names_are_read(tmp_path):
    table = read(utkface(tmp_path, list(MENDABLE)))
    assert row(table, MENDABLE[0])[["age", "gender", "race"]].tolist() == [55, 1, 0]
    assert row(table, MENDABLE[1])[["age", "gender", "race"]].tolist() == [24, 1, 1]
    assert table.omitted == ()


def test_the_parts_in_the_wild_are_thirds_of_one_set(tmp_path):
    for i, name in enumerate(faces(9)):
        put(tmp_path / f"part{i // 3 + 1}" / name, jpeg(i))
    table = read(tmp_path)
    assert len(table) == 9 and table.remarks == () and table.omitted == ()
    assert set(table.frame["image"].str.split("/").str[0]) == {"part1", "part2", "part3"}


def test_a_part_that_is_not_there_is_named(tmp_path):
    utkface(tmp_path, faces(3), "part1")
    assert "part2, part3" in read(tmp_path).remarks[0]


def test_faces_beside_those_that_are_read_are_named(tmp_path):
    for folder in ("UTKFace", "crop_part1", "part1", "UTKFace/more"):
        utkface(tmp_path, faces(3), folder)
    table = read(tmp_path)
    assert len(table) == 3 and sorted(o.file for o in table.omitted) == ["UTKFace/more", "part1"]


def test_a_missing_field_leaves_only_what_is_clear(tmp_path):
    clear = "53_3_20170109150557335.jpg"
    table = read(utkface(tmp_path, [*MISSING_FIELD, clear]))
    for name in MISSING_FIELD:
        assert row(table, name)[["gender", "race"]].tolist() == [-1, -1]
    assert row(table, MISSING_FIELD[0])["age"] == 39
    assert row(table, clear)[["age", "gender", "race"]].tolist() == [53, -1, 3]
    assert len([r for r in reasons(table) if "missing from the name" in r]) == 4


def test_an_empty_field_is_a_missing_label(tmp_path):
    table = read(utkface(tmp_path, ["53__0_20170116184028385.jpg.chip.jpg"]))
    assert table.frame[["age", "gender", "race"]].iloc[0].tolist() == [53, -1, 0]
    assert ["gender is not readable" in reason for reason in reasons(table)] == [True]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("117_0_0_20170109000000000.jpg", "age"),
        ("30_2_0_20170109000000000.jpg", "gender"),
        ("30_0_5_20170109000000000.jpg", "race"),
        ("-3_0_0_20170109000000000.jpg", "name"),
        ("portrait.jpg", "name"),
        ("x_y_z_20170109000000000.jpg", "name"),
        ("1_0_0_2017010900000000\udce9.jpg", "name"),
    ],
)
def test_an_impossible_name_is_left_out_by_name(tmp_path, name, said):
    table = read(utkface(tmp_path, [*faces(3), name]))
    assert len(table) == 3
    assert len(table.omitted) == 1 and said in table.omitted[0].reason
    assert table.omitted[0].file == "UTKFace/" + name.encode(errors="backslashreplace").decode()


def test_hidden_files_and_other_files_are_no_pictures(tmp_path):
    utkface(tmp_path, [*faces(3), "._" + faces(1)[0], "Thumbs.db", ".DS_Store"])
    table = read(tmp_path)
    assert len(table) == 3 and table.omitted == ()


@pytest.mark.parametrize("seed", range(5))
def test_byte_identical_pictures_share_a_split_and_are_counted(tmp_path, seed):
    utkface(tmp_path, faces(40))
    copies = [f"{age}_0_0_2018010900000000{age}.jpg" for age in range(1, 10)]
    for name in copies:
        put(tmp_path / "UTKFace" / name, jpeg(200))
    table = read(tmp_path, seed, ratios=[0.4, 0.3, 0.3])
    assert table.frame[table.frame["image"].str.contains("_2018")]["split"].nunique() == 1
    assert table.remarks[0].startswith("8 pictures are byte-identical") and table.omitted == ()


def test_empty_files_are_no_copies_of_each_other(tmp_path):
    for name in faces(4):
        put(tmp_path / "UTKFace" / name, b"")
    assert read(tmp_path).omitted == ()


def test_the_split_is_seeded_and_stratified(tmp_path):
    table = read(utkface(tmp_path, [utk_name(i % 80, i // 80 % 2, 0, i) for i in range(1600)]))
    assert table.counts == {"train": 1280, "val": 160, "test": 160}
    kinds = Counter(zip(table.frame["gender"], table.frame["age_group"], strict=True))
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        part = table.frame[table.frame["split"] == split]
        found = Counter(zip(part["gender"], part["age_group"], strict=True))
        assert all(abs(found[kind] - share * n) <= 1 for kind, n in kinds.items())
    assert table.fingerprint() == read(tmp_path).fingerprint()
    assert table.fingerprint() != read(tmp_path, seed=1).fingerprint()


@pytest.mark.parametrize(
    "ratios", [[0.8, 0.2], [0.5, 0.6, 0.1], [0, 0.5, 0.5], [1.2, -0.1, -0.1], "abc"]
)
def test_ratios_that_are_none_are_refused_at_once(ratios):
    with pytest.raises(MtlfaceError, match=r"data\.ratios"):
        AgeGender(ratios=ratios)


@settings(max_examples=50, deadline=None)
@given(
    units=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=60),
    ratios=st.tuples(st.floats(0.2, 0.8), st.floats(0, 0.2)),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_group_is_torn_and_each_stratum_gets_its_share(units, ratios, seed):
    strata = np.repeat([stratum for stratum, _ in units], [size for _, size in units])
    groups = np.repeat(np.arange(len(units)), [size for _, size in units])
    shares = (1 - sum(ratios), *ratios)
    split = stratified_split(strata, shares, seed, groups)
    assert all(len(set(split[groups == group])) == 1 for group in groups)
    for stratum in set(strata):
        inside = split[strata == stratum]
        for name, share in zip(("train", "val", "test"), shares, strict=True):
            assert abs((inside == name).sum() - share * len(inside)) <= 8  # two groups at each end


TRAIN = "id,full_path,gender,age\n0,{0}train/00000.jpg,1,25\n1,{0}train/00001.jpg,0,61\n"
TEST = "id,full_path\n0,{0}test/00000.jpg\n1,{0}test/00001.jpg\n"


@pytest.mark.parametrize(
    "prefix",
    ["face_dataset/", "", "/kaggle/input/sep-25/face_dataset/", "C:\\data\\face_dataset\\"],
)
def test_competition_paths_are_found_whatever_they_start_with(tmp_path, prefix):
    table = read(competition(tmp_path, TRAIN.format(prefix), TEST.format(prefix)))
    assert list(table.frame["image"]) == [
        f"face_dataset/{split}/0000{i}.jpg" for split in ("test", "train") for i in range(2)
    ]
    man = row(table, "train/00000.jpg")
    assert (man["gender"], man["age"], man["race"], man["id"]) == (1, 25, -1, "0")


def test_competition_test_pictures_have_no_labels(tmp_path):
    table = read(competition(tmp_path, TRAIN.format(""), TEST.format("")))
    test = table.frame[table.frame["split"] == "test"]
    assert len(test) == 2
    assert test["age"].isna().all() and (test[["gender", "age_group"]] == -1).all(axis=None)


def test_competition_training_pictures_are_split_into_train_and_val(tmp_path):
    rows = "".join(f"{i},train/{i:05d}.jpg,{i % 2},{i % 90}\n" for i in range(900))
    table = read(competition(tmp_path, "id,full_path,gender,age\n" + rows, TEST.format("")))
    assert table.counts == {"train": 800, "val": 100, "test": 2}


@pytest.mark.parametrize(
    ("gender", "age", "expected"),
    [
        ("1", "25", (1, 25)),
        ("0", "0", (0, 0)),
        ("Male", "25.5", (1, 25.5)),
        ("", "116", (-1, 116)),
        (" female ", "", (0, None)),
        ("nan", "NaN", (-1, None)),
    ],
)
def test_competition_labels(tmp_path, gender, age, expected):
    rows = f"id,full_path,gender,age\n7,train/00000.jpg,{gender},{age}\n8,train/00001.jpg,1,9\n"
    found = row(read(competition(tmp_path, rows)), "00000.jpg")
    assert found["gender"] == expected[0]
    assert np.isnan(found["age"]) if expected[1] is None else found["age"] == expected[1]


@pytest.mark.parametrize(
    "age",
    [
        "3-9",
        "9-Mar",
        "Oct-19",
        "more than 70",
        "70+",
        ">70",
        "20 to 29",
        '"(25, 32)"',
        "60 or more",
    ],
)
def test_an_age_that_is_a_range_does_not_cost_the_row_its_gender(tmp_path, age):
    rows = (
        f"file,age,gender,race\ntrain/00000.jpg,{age},Male,White\ntrain/00001.jpg,9,Female,Black\n"
    )
    table = read(competition(tmp_path, rows))
    found = row(table, "00000.jpg")
    assert found["gender"] == 1 and np.isnan(found["age"]) and table.omitted == ()
    assert "1 ages in train.csv are ranges" in table.remarks[0]


def test_a_label_file_without_others_is_split_in_three(tmp_path):
    rows = "".join(f"{i},train/{i:05d}.jpg,{i % 2},{i % 90}\n" for i in range(900))
    table = read(competition(tmp_path, "id,full_path,gender,age\n" + rows))
    assert table.counts == {"train": 720, "val": 90, "test": 90}


def test_a_label_file_for_validation_is_the_validation_split(tmp_path):
    rows = "".join(f"train/{i}.jpg,Male,{i % 90}\n" for i in range(180))
    put(tmp_path / "fairface_label_train.csv", "file,gender,age\n" + rows)
    put(tmp_path / "fairface_label_val.csv", "file,gender,age\nval/1.jpg,Female,3-9\n")
    table = read(tmp_path)
    assert table.counts == {"train": 160, "val": 1, "test": 20}
    assert row(table, "val/1.jpg")["gender"] == 0


def test_a_nameless_column_and_missing_genders_are_no_trouble(tmp_path):
    """IMDB-WIKI's processed CSV: `,age,gender,path,…`, genders empty, impossible ages."""
    ages, genders = (25, 43, -3, 1900), ("male", "female", "")
    lines = [f"{i},{ages[i % 4]},{genders[i % 3]},crop/{i:02d}/n_{i}.jpg,1.5," for i in range(36)]
    put(tmp_path / "train.csv", "\n".join([",age,gender,path,face_score1,face_score2", *lines]))
    table = read(tmp_path)
    assert len(table) == 18 and len(table.omitted) == 18
    assert Counter(table.frame["gender"]) == {1: 6, 0: 6, -1: 6}
    assert all(n > 0 for n in table.counts.values())


def test_images_with_another_ending_than_the_label_file_says_are_taken_by_stem(tmp_path):
    table = read(competition(tmp_path, TRAIN.format("").replace(".jpg", ".png")))
    assert all((tmp_path / image).is_file() for image in table.frame["image"])
    assert "2 images have another ending" in table.remarks[0]


def test_competition_minus_one_one_codes(tmp_path):
    rows = "full_path,gender,age\ntrain/00000.jpg,1,5\ntrain/00001.jpg,-1,6\ntrain/00002.jpg,-1,7\n"
    table = read(competition(tmp_path, rows))
    assert list(table.frame["gender"]) == [1, 0, 0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7,train/00003.jpg,1,117", "age is 117"),
        ("7,train/00003.jpg,1,-1", "age is -1"),
        ("7,train/00003.jpg,1,old", "age is old"),
        ("7,train/00003.jpg,1," + "9" * 400, "age is 999"),
        ("7,train/00003.jpg,3,20", "gender is 3"),
        ("7,train/00003.jpg,other,20", "gender is other"),
        ("7,train/00003.jpg", "expected 4 fields"),
        ("7,,1,20", "no path"),
        ("7,../train/00003.jpg,1,20", "outside"),
        ("7,/etc/00003.jpg,1,20", "outside"),
        ("7,train/00003.jpg,1,20\n8,train/00003.jpg,0,20", "different values"),
    ],
)
def test_a_bad_competition_row_is_left_out_by_name(tmp_path, line, said):
    table = read(competition(tmp_path, TRAIN.format("") + line + "\n"))
    assert len(table) == 2
    assert any(said in o.reason and o.file == "train.csv" and o.row >= 4 for o in table.omitted)


def test_a_picture_in_train_and_test_is_an_error(tmp_path):
    with pytest.raises(MtlfaceError, match=r"train/00000\.jpg"):
        read(competition(tmp_path, TRAIN.format(""), "id,full_path\n9,train/00000.jpg\n"))


def test_a_folder_of_holiday_pictures_is_no_layout(tmp_path):
    put(tmp_path / "beach.jpg", jpeg(0))
    with pytest.raises(MtlfaceError, match=r"UTKFace.*train\.csv.*beach\.jpg"):
        read(tmp_path)


def test_the_demo_set_reads_whole(tmp_path):
    with ZipFile(str(files("mtlface.data") / "demo" / "agegender.zip")) as archive:
        archive.extractall(tmp_path)
    table = read(tmp_path)
    assert table.counts == {"train": 800, "val": 100, "test": 100}
    assert Counter(table.frame["gender"]) == {1: 515, 0: 485}
    assert Counter(table.frame["race"]) == {0: 422, 1: 266, 2: 312}
    assert (table.frame["age"] < 10).sum() == 97 and table.omitted == ()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 130), st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=8
    )
)
def test_every_picture_is_read_or_left_out_by_name(tmp_path_factory, labels):
    names = [utk_name(*label, number) for number, label in enumerate(labels)]
    root = utkface(tmp_path_factory.mktemp("utk"), names)
    possible = [age <= 116 and gender <= 1 and race <= 4 for age, gender, race in labels]
    if not any(possible):
        with pytest.raises(MtlfaceError, match="no usable picture"):
            read(root)
        return
    table = read(root)
    kept = {f"UTKFace/{name}" for name, fits in zip(names, possible, strict=True) if fits}
    assert set(table.frame["image"]) == kept
    assert {o.file for o in table.omitted} == {f"UTKFace/{name}" for name in names} - kept
