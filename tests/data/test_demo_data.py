"""The shipped demo packs hold what their data card says."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from importlib.resources import files

import pytest
from PIL import Image

DEMO = files("mtlface.data") / "demo"
CARD = (DEMO / "DATA_CARD.md").read_text(encoding="utf-8")

# The header of list_attr_celeba.csv of the data set's Kaggle edition.
CELEBA_ATTRIBUTES = [
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
]
LANDMARKS = [
    "lefteye_x",
    "lefteye_y",
    "righteye_x",
    "righteye_y",
    "nose_x",
    "nose_y",
    "leftmouth_x",
    "leftmouth_y",
    "rightmouth_x",
    "rightmouth_y",
]


@pytest.fixture(scope="module", params=["celeba", "agegender", "facecom"])
def any_pack(request):
    with zipfile.ZipFile(io.BytesIO((DEMO / f"{request.param}.zip").read_bytes())) as archive:
        yield archive


def _read(pack: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO((DEMO / f"{pack}.zip").read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def celeba():
    return _read("celeba")


@pytest.fixture(scope="module")
def agegender():
    return _read("agegender")


@pytest.fixture(scope="module")
def facecom():
    return _read("facecom")


def _table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def _card_section(title: str) -> str:
    return CARD.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _jpegs(pack: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in pack.items() if name.endswith(".jpg")}


def _sizes(pack: dict[str, bytes]) -> Counter:
    pictures = (Image.open(io.BytesIO(content)) for content in _jpegs(pack).values())
    return Counter((picture.format, picture.mode, picture.size) for picture in pictures)


def test_no_file_of_a_pack_is_damaged(any_pack):
    assert any_pack.testzip() is None


def test_no_picture_of_a_pack_is_there_twice(any_pack):
    checksums = [entry.CRC for entry in any_pack.infolist() if entry.filename.endswith(".jpg")]
    assert len(set(checksums)) == len(checksums)


def test_celeba_holds_the_kaggle_files_and_nothing_else(celeba):
    tables = {
        "list_attr_celeba.csv",
        "list_landmarks_align_celeba.csv",
        "list_eval_partition.csv",
        "list_bbox_celeba.csv",
    }
    folder = "img_align_celeba/img_align_celeba"
    assert set(celeba) == tables | {f"{folder}/{number:06d}.jpg" for number in range(1, 2001)}


def test_celeba_pictures_have_the_aligned_size(celeba):
    assert _sizes(celeba) == {("JPEG", "RGB", (178, 218)): 2000}


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("list_attr_celeba.csv", CELEBA_ATTRIBUTES),
        ("list_landmarks_align_celeba.csv", LANDMARKS),
        ("list_eval_partition.csv", ["partition"]),
        ("list_bbox_celeba.csv", ["x_1", "y_1", "width", "height"]),
    ],
)
def test_celeba_tables_have_the_kaggle_columns_and_a_row_per_picture(celeba, table, columns):
    rows = _table(celeba[table])
    assert list(rows[0]) == ["image_id", *columns]
    assert [row["image_id"] for row in rows] == [f"{number:06d}.jpg" for number in range(1, 2001)]


def test_celeba_has_1400_train_300_val_and_300_test_pictures(celeba):
    partitions = [row["partition"] for row in _table(celeba["list_eval_partition.csv"])]
    assert partitions == ["0"] * 1400 + ["1"] * 300 + ["2"] * 300


def test_celeba_attributes_are_as_frequent_as_the_card_says(celeba):
    rows = _table(celeba["list_attr_celeba.csv"])
    section = _card_section("celeba.zip")
    stated = dict(re.findall(r"^\| (\w+) \| ([\d.]+%) \|", section, flags=re.MULTILINE))
    (not_rendered,) = re.findall(r"^Not rendered, -1 everywhere: (.+)\.$", section, re.MULTILINE)
    stated |= dict.fromkeys(not_rendered.split(", "), "0.0%")
    found = {
        name: f"{sum(row[name] == '1' for row in rows) / len(rows):.1%}"
        for name in CELEBA_ATTRIBUTES
    }
    assert found == stated
    assert {row[name] for row in rows for name in CELEBA_ATTRIBUTES} == {"1", "-1"}


def test_celeba_landmarks_lie_in_the_picture(celeba):
    for row in _table(celeba["list_landmarks_align_celeba.csv"]):
        assert all(0 <= int(row[name]) < 178 for name in LANDMARKS[0::2]), row
        assert all(0 <= int(row[name]) < 218 for name in LANDMARKS[1::2]), row


def test_celeba_left_is_the_left_of_the_picture(celeba):
    for row in _table(celeba["list_landmarks_align_celeba.csv"]):
        assert int(row["lefteye_x"]) < int(row["righteye_x"]), row
        assert int(row["leftmouth_x"]) < int(row["rightmouth_x"]), row
        assert int(row["lefteye_y"]) < int(row["leftmouth_y"]), row


def test_agegender_pictures_have_the_size_of_utkface(agegender):
    assert _sizes(agegender) == {("JPEG", "RGB", (200, 200)): 1000}
    assert len(agegender) == 1000


def test_agegender_names_are_utkface_names_with_the_counts_of_the_card(agegender):
    pattern = re.compile(r"UTKFace/(\d{1,3})_([01])_([0-4])_(\d{17})\.jpg")
    labels = [pattern.fullmatch(name).groups()[:3] for name in agegender]
    ages, genders, races = (Counter(values) for values in zip(*labels, strict=True))
    section = _card_section("agegender.zip")
    balance = f"Male {genders['0']}, female {genders['1']}; "
    balance += f"White {races['0']}, Black {races['1']}, Asian {races['2']}."
    assert balance in section
    assert set(races) == {"0", "1", "2"}
    decades = Counter()
    for age, count in ages.items():
        decades[int(age) // 10] += count
    row = " | ".join(str(decades[decade]) for decade in range(10))
    assert f"| Pictures | {row} |" in section
    assert sum(decades.values()) == 1000


def test_facecom_annotations_name_every_picture_once(facecom):
    records = json.loads(facecom["annotations.json"])
    assert {tuple(record) for record in records} == {
        ("image", "gender", "identity", "split", "condition")
    }
    assert sorted(f"images/{record['image']}" for record in records) == sorted(_jpegs(facecom))
    assert len(facecom) == 1001


def test_facecom_pictures_have_the_size_of_the_card(facecom):
    assert _sizes(facecom) == {("JPEG", "RGB", (178, 218)): 1000}


def test_facecom_has_50_people_with_14_train_3_val_and_3_test_pictures_each(facecom):
    records = json.loads(facecom["annotations.json"])
    splits = Counter((record["identity"], record["split"]) for record in records)
    people = {f"id{number:04d}" for number in range(1, 51)}
    shares = {"train": 14, "val": 3, "test": 3}
    assert splits == {(name, split): n for name in people for split, n in shares.items()}


def test_facecom_people_have_one_gender_with_the_counts_of_the_card(facecom):
    records = json.loads(facecom["annotations.json"])
    genders = Counter(gender for _, gender in {(r["identity"], r["gender"]) for r in records})
    counts = f"50 people ({genders['male']} men, {genders['female']} women)"
    assert counts in _card_section("facecom.zip")
    assert sum(genders.values()) == 50


def test_facecom_conditions_are_as_frequent_as_the_card_says(facecom):
    records = json.loads(facecom["annotations.json"])
    found = Counter((record["condition"], record["split"]) for record in records)
    section = _card_section("facecom.zip")
    stated = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", section, flags=re.MULTILINE)
    splits = ("train", "val", "test")
    assert found == {
        (row[0], split): int(count)
        for row in stated
        for split, count in zip(splits, row[1:], strict=True)
    }
