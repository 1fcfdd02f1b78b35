"""FaceCom's annotations and the hackathon's folders become the same table."""

import json
from collections import Counter
from importlib.resources import files
from zipfile import ZipFile

import pytest
from face_folders import facecom, hackathon, jpeg, put
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlface.data.facecom import FaceCom
from mtlface.errors import MtlfaceError


def read(root, seed=0, **options):
    return FaceCom(**options).read(root, seed)


def reasons(table):
    return [o.reason for o in table.omitted]


def entry(image="a.jpg", **labels):
    return {"filename": image, **labels}


def people(count, pictures):
    return [entry(f"{p}_{i}.jpg", person_id=p) for p in range(count) for i in range(pictures)]


@pytest.mark.parametrize("image", ["filename", "image", "Filename", "file_name"])
@pytest.mark.parametrize("person", ["person_id", "identity", "Identity"])
@pytest.mark.parametrize(("gender", "code"), [("Male", 1), ("MALE", 1), ("female", 0), ("F", 0)])
def test_spellings_mean_the_same(tmp_path, image, person, gender, code):
    table = read(facecom(tmp_path, [{image: "a.jpg", "gender": gender, person: 12}]))
    first = table.frame.iloc[0]
    assert (first["image"], first["gender"], first["identity"]) == ("images/a.jpg", code, 0)
    assert table.labels["identity"].classes == ("12",)


@pytest.mark.parametrize("written", ["a.jpg", "images/a.jpg", "./images/a.jpg", "images\\a.jpg"])
def test_images_lie_in_images(tmp_path, written):
    table = read(facecom(tmp_path, [entry(written)]))
    assert list(table.frame["image"]) == ["images/a.jpg"]


def test_a_list_inside_an_object_and_a_byte_order_mark_are_read(tmp_path):
    facecom(tmp_path, [])
    put(
        tmp_path / "annotations.json",
        b"\xef\xbb\xbf" + json.dumps({"annotations": [entry()]}).encode(),
    )
    assert len(read(tmp_path)) == 1


def test_absent_labels_are_missing(tmp_path):
    labels = {"gender": None, "person_id": "", "condition": float("nan")}
    for number, labelled in enumerate(({}, labels)):
        table = read(facecom(tmp_path / str(number), [entry(**labelled)]))
        row = table.frame[["gender", "identity", "person", "condition"]].iloc[0]
        assert row.tolist() == [-1, -1, -1, -1]
        assert table.omitted == ()


def test_one_person_spelt_as_number_and_text_is_one(tmp_path):
    entries = [entry(f"{i}.jpg", person_id=p) for i, p in enumerate([7, "7", 7.0, " 7 "])]
    assert read(facecom(tmp_path, entries)).labels["person"].classes == ("7",)


def test_conditions_have_one_name_and_clear_comes_first(tmp_path):
    written = ["Foggy", "low light", "clean", "noisy", "lowlight", "hail"]
    entries = [entry(f"{i}.jpg", condition=c) for i, c in enumerate(written)]
    table = read(facecom(tmp_path, entries))
    label = table.labels["condition"]
    assert label.classes == ("clear", "fog", "hail", "low_light", "noise") and label.group
    assert [label.classes[i] for i in table.frame["condition"]] == [
        "fog", "low_light", "clear", "noise", "low_light", "hail",
    ]  # fmt: skip


def test_splits_of_the_file_are_kept(tmp_path):
    entries = [entry(f"{s}.jpg", split=s) for s in ("Train", "valid", "testing")]
    table = read(facecom(tmp_path, entries))
    assert dict(zip(table.frame["image"], table.frame["split"], strict=True)) == {
        "images/Train.jpg": "train", "images/valid.jpg": "val", "images/testing.jpg": "test",
    }  # fmt: skip


def test_an_entry_without_a_split_among_others_is_left_out(tmp_path):
    table = read(facecom(tmp_path, [entry("1.jpg", split="train"), entry("2.jpg")]))
    assert len(table) == 1 and "no split" in reasons(table)[0]


def test_without_splits_everyone_in_val_and_test_is_also_in_train(tmp_path):
    table = read(facecom(tmp_path, people(20, 10)))
    assert table.counts == {"train": 140, "val": 30, "test": 30}
    assert (table.frame["identity"] >= 0).all()
    per_person = Counter(table.frame[table.frame["split"] == "train"]["person"])
    assert set(per_person.values()) <= {6, 7, 8}
    assert table.fingerprint() == read(tmp_path).fingerprint()
    assert table.fingerprint() != read(tmp_path, seed=1).fingerprint()


def test_a_missing_validation_split_is_drawn_from_train_only(tmp_path):
    entries = [e | {"split": "train" if i % 4 else "test"} for i, e in enumerate(people(10, 8))]
    table = read(facecom(tmp_path, entries))
    written = {f"images/{e['filename']}": e["split"] for e in entries}
    for image, split in zip(table.frame["image"], table.frame["split"], strict=True):
        assert written[image] == ("test" if split == "test" else "train")
    assert table.counts["val"] > 0


def test_a_person_only_in_test_has_no_identity_and_is_named(tmp_path):
    entries = [
        entry("1.jpg", person_id="anna", split="train"),
        entry("2.jpg", person_id="anna", split="val"),
        entry("3.jpg", person_id="bert", split="test"),
    ]
    table = read(facecom(tmp_path, entries))
    assert list(table.frame["identity"]) == [0, 0, -1]
    assert list(table.frame["person"]) == [0, 0, 1]
    assert table.labels["identity"].classes == ("anna",)
    assert "bert" in table.remarks[0] and "1 people" in table.remarks[0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (entry("../a.jpg"), "outside"),
        (entry("/etc/passwd.jpg"), "outside"),
        (entry("x/../../a.jpg"), "outside"),
        (entry("a\0.jpg"), "outside"),
        ({"gender": "male"}, "no image"),
        (entry("b.jpg", gender=1), "expected male or female"),
        (entry("b.jpg", gender="robot"), "expected male or female"),
        (entry("b.jpg", split="later"), "expected train, val or test"),
        (entry("b.jpg", person_id=["x"]), "expected text"),
        (entry("b.jpg", person_id=True), "expected text"),
        ({"filename": "b.jpg", "image": "c.jpg"}, "given twice"),
        (entry("b.jpg", identity="x", person_id="y"), "given twice"),
        (entry("ok.jpg", gender="male"), "same entry again"),
        (entry("b\ud800.jpg"), "no text"),
        ("b.jpg", "not an object"),
        (None, "not an object"),
    ],
)
def test_an_unclear_entry_is_left_out_by_number(tmp_path, bad, said):
    table = read(facecom(tmp_path, [entry("ok.jpg", gender="male"), bad]))
    assert list(table.frame["image"]) == ["images/ok.jpg"]
    assert len(table.omitted) == 1
    assert said in reasons(table)[0] and reasons(table)[0].startswith("entry 2")


def test_a_key_given_twice_in_one_object_is_noticed(tmp_path):
    facecom(tmp_path, [])
    text = '[{"image": "a.jpg"}, {"image": "b.jpg", "gender": "male", "gender": "female"}]'
    put(tmp_path / "annotations.json", text)
    table = read(tmp_path)
    assert len(table) == 1 and "gender is given twice" in reasons(table)[0]


def test_entries_that_contradict_each_other_all_go(tmp_path):
    entries = [entry("b.jpg", gender=g) for g in ("male", "female", "male")] + [entry("ok.jpg")]
    table = read(facecom(tmp_path, entries))
    assert len(table) == 1 and len(table.omitted) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"image": "a.jpg"},\n', "line 2"),
        ("", "expected JSON"),
        ("[]", "no entries"),
        ('{"image": "a.jpg"}', "an object"),
        ("7", "expected a list"),
        ("[" * 100_000, "no usable JSON|expected JSON"),
        ("[" + "9" * 5000 + "]", "no usable JSON"),
        ("\0", "zero bytes"),
    ],
)
def test_a_damaged_annotation_file_is_one_clear_error(tmp_path, text, said):
    put(facecom(tmp_path, []) / "annotations.json", text)
    with pytest.raises(MtlfaceError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("nested", [".", "Comys_Hackathon5", "Comys_Hackathon5/Comys_Hackathon5"])
def test_the_hackathon_folders_have_partial_labels(tmp_path, nested):
    hackathon(tmp_path / nested)
    table = read(tmp_path)
    assert len(table) == 12 + 6 * 2 * 8
    task_a = table.frame["image"].str.contains("Task_A/")
    assert (table.frame[task_a]["gender"] >= 0).all() and (
        table.frame[task_a]["person"] == -1
    ).all()
    assert (table.frame[~task_a]["gender"] == -1).all() and (
        table.frame[~task_a]["person"] >= 0
    ).all()
    assert Counter(table.frame["gender"]) == {1: 8, 0: 4, -1: 96}
    assert all((tmp_path / image).is_file() for image in table.frame["image"])


def test_hackathon_validation_becomes_test_with_unknown_people(tmp_path):
    table = read(hackathon(tmp_path))
    folder = table.frame["image"].str.split("/").str[1]
    assert ((folder == "val") == (table.frame["split"] == "test")).all()
    new = table.frame[(table.frame["split"] == "test") & (table.frame["person"] >= 0)]
    assert len(new) == 16 and (new["identity"] == -1).all()
    assert len(table.labels["identity"].classes) == 5
    assert len(table.labels["person"].classes) == 6
    assert table.omitted == ()


@pytest.mark.parametrize("seed", range(5))
def test_hackathon_distortions_stay_with_their_clear_picture(tmp_path, seed):
    table = read(hackathon(tmp_path), seed, ratios=[0.6, 0.2, 0.2])
    frame = table.frame[table.frame["image"].str.contains("Task_B/train")]
    source = (
        frame["image"].str.extract(r"train/(\w+)/(?:distortion/)?(one|two)").agg("/".join, axis=1)
    )
    assert (frame.groupby(source)["split"].nunique() == 1).all()
    assert frame.groupby("person")["split"].apply(lambda s: "train" in set(s)).all()
    assert set(frame["split"]) == {"train", "val"}


def test_hackathon_conditions_come_from_the_file_names(tmp_path):
    table = read(hackathon(tmp_path))
    label = table.labels["condition"]
    assert label.classes == (
        "clear", "blur", "fog", "low_light", "noise", "rain", "resized", "sunny",
    )  # fmt: skip
    task_b = table.frame[table.frame["person"] >= 0]
    assert Counter(task_b["condition"]) == dict.fromkeys(range(8), 12)
    assert (table.frame[table.frame["person"] == -1]["condition"] == -1).all()


def test_a_strange_gender_folder_is_left_out_by_name(tmp_path):
    put(hackathon(tmp_path) / "Task_A" / "train" / "unsure" / "x.jpg", jpeg(0))
    assert [o.file for o in read(tmp_path).omitted] == ["Task_A/train/unsure"]


def test_one_task_alone_is_enough(tmp_path):
    put(tmp_path / "Task_A" / "train" / "Male" / "x.jpg", jpeg(0))
    assert list(read(tmp_path).frame["gender"]) == [1]


def test_nothing_known_lists_what_was_looked_for(tmp_path):
    put(tmp_path / "labels.xml", "")
    with pytest.raises(MtlfaceError, match=r"annotations\.json.*Task_A.*labels\.xml"):
        read(tmp_path)


def test_empty_folders_have_no_usable_picture(tmp_path):
    (tmp_path / "Task_B" / "train").mkdir(parents=True)
    with pytest.raises(MtlfaceError, match="no usable picture"):
        read(tmp_path)


def test_the_demo_set_reads_whole(tmp_path):
    with ZipFile(str(files("mtlface.data") / "demo" / "facecom.zip")) as archive:
        archive.extractall(tmp_path)
    table = read(tmp_path)
    assert table.counts == {"train": 700, "val": 150, "test": 150}
    assert len(table.labels["identity"].classes) == 50
    assert len(table.labels["condition"].classes) == 7
    assert Counter(table.frame["gender"]) == {1: 480, 0: 520} and table.omitted == ()


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    splits=st.sampled_from([("",), ("train",), ("train", "val"), ("train", "test")]),
    seed=st.integers(0, 100),
)
def test_no_person_is_known_from_outside_training(tmp_path_factory, counts, splits, seed):
    entries = [
        entry(f"{p}_{i}.jpg", person_id=f"p{p}", split=splits[i % len(splits)])
        for p, count in enumerate(counts)
        for i in range(count)
    ]
    table = read(facecom(tmp_path_factory.mktemp("facecom"), entries), seed)
    assert len(table) == sum(counts)
    known = set(table.frame[table.frame["split"] == "train"]["person"])
    for row in table.frame.itertuples():
        assert (row.identity >= 0) == (row.person in known)
    names = table.labels["person"].classes
    assert all(
        names[person] == image.split("/")[1].split("_")[0].replace("", "p", 1)
        for person, image in zip(table.frame["person"], table.frame["image"], strict=True)
    )


def moved(root, rename):
    """The hackathon's folders with each `distortion/` image where `rename` says."""
    hackathon(root)
    for folder in sorted(root.rglob("distortion")):
        for path in sorted(folder.iterdir()):
            put(rename(folder, path.name), path.read_bytes())
            path.unlink()
        folder.rmdir()
    return root


def told(table):
    """What a table says of its images, whatever folders they are in."""
    columns = table.frame[["split", "gender", "person", "identity", "condition"]]
    return sorted(map(tuple, columns.to_numpy().tolist()))


@pytest.mark.parametrize(
    "rename",
    [
        lambda folder, name: folder.with_name("distorted") / name,
        lambda folder, name: folder.with_name("Distortion") / name,
        lambda folder, name: folder.with_name("Distorted_Images") / name,
        lambda folder, name: (
            folder.parents[2] / "distorted" / folder.parent.name / name  # one for all, by person
        ),
        lambda folder, name: folder.parents[1] / "Distorted" / folder.parent.name / name,
    ],
)
def test_the_distorted_images_are_found_however_their_folder_is_called(tmp_path, rename):
    expected = read(hackathon(tmp_path / "reference"))
    found = read(moved(tmp_path / "other", rename))
    assert told(found) == told(expected) and found.omitted == ()


def test_one_folder_for_all_goes_by_the_clear_images_names(tmp_path):
    for person in ("000_frontal", "001_frontal"):
        put(tmp_path / "Task_B" / "train" / person / f"{person}.jpg", jpeg(0))
        for weather in ("foggy", "rainy"):
            put(tmp_path / "Task_B" / "distorted" / f"{person}_{weather}.jpg", jpeg(1))
    stray = put(tmp_path / "Task_B" / "distorted" / "nobody_foggy.jpg", jpeg(2))
    table = read(tmp_path)
    assert Counter(table.frame["person"]) == {0: 3, 1: 3}
    assert [o.file for o in table.omitted] == [stray.relative_to(tmp_path).as_posix()]


@pytest.mark.parametrize("names", [("TaskA", "TaskB"), ("task_A", "task_B"), ("TASK-A", "task b")])
def test_the_tasks_are_found_however_they_are_spelt(tmp_path, names):
    expected = read(hackathon(tmp_path / "reference"))
    other = hackathon(tmp_path / "other")
    for task, name in zip(("Task_A", "Task_B"), names, strict=True):
        (other / task).rename(other / name)
    found = read(other)
    assert told(found) == told(expected) and found.omitted == ()


def test_a_task_that_is_there_twice_is_an_error(tmp_path):
    root = hackathon(tmp_path)
    (root / "TaskA").mkdir()
    with pytest.raises(MtlfaceError, match="TaskA"):
        read(root)


@pytest.mark.parametrize(
    "place",
    [
        "Task_A/extra/male", "Task_A/train", "Task_A/train/male/more", "Task_B/old/000_frontal",
        "Task_B/train", "Task_B/train/000_frontal/weather",
        "Task_B/train/000_frontal/distortion/more",
    ],
)  # fmt: skip
def test_a_folder_that_is_found_and_not_read_is_named(tmp_path, place):
    put(hackathon(tmp_path) / place / "more.jpg", jpeg(9))
    table = read(tmp_path)
    assert len(table) == 12 + 6 * 2 * 8
    assert len(table.omitted) == 1 and place.startswith(table.omitted[0].file)


def test_annotated_images_with_another_ending_are_taken_by_stem(tmp_path):
    root = facecom(tmp_path, [entry("a.png", gender="male"), entry("gone.jpg")])
    table = read(root)
    assert list(table.frame["image"]) == ["images/a.jpg", "images/gone.jpg"]
    assert "images/a.jpg for images/a.png" in table.remarks[0]


def test_copies_of_one_image_of_nobody_known_are_told_by_their_original(tmp_path):
    names = ["a.jpg", "a_foggy.jpg", "b.jpg", "c.jpg", "c_rainy.jpg"]
    known = [{"person_id": 7} if name.startswith("c") else {} for name in names]
    table = read(facecom(tmp_path, [entry(n, **k) for n, k in zip(names, known, strict=True)]))
    label = table.labels["original"]
    named = dict(zip(table.frame["image"], label.names(table.frame), strict=True))
    clear = named["images/a.jpg"]
    assert clear and named["images/a_foggy.jpg"] == clear
    assert not any(named[f"images/{name}"] for name in names[2:])
    assert "original" not in read(facecom(tmp_path / "b", [entry(person_id=1)])).labels
