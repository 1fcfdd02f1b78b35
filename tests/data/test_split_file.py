"""Splits of a file of one's own: what it names, in its splits, and nothing else."""

import json

import pandas as pd
import pytest

from mtlface.data.celeba import CelebA
from mtlface.data.source import Source
from mtlface.errors import MtlfaceError


def read(faces, tmp_path, split):
    source = Source("celeba", CelebA(), root=str(faces), split=split)
    return source.read(tmp_path, seed=0)[0]


def names(faces):
    return CelebA().read(faces, seed=0).frame["image"].tolist()


def test_a_csv_says_which_split_each_image_is_in(faces, tmp_path):
    rows = [
        (name.rpartition("/")[2], ("trn", "val", "tst")[i % 3])
        for i, name in enumerate(names(faces)[:12])
    ]
    path = tmp_path / "mine.csv"
    pd.DataFrame(rows, columns=["image", "split"]).to_csv(path, index=False)
    table = read(faces, tmp_path, str(path))
    assert table.counts == {"train": 4, "val": 4, "test": 4}
    assert table.frame["split"].tolist()[:3] == ["train", "val", "test"]
    assert len(table.omitted) == 12 and table.omitted[0].reason == "mine.csv does not name it"


def test_published_folders_become_splits_as_the_config_says(faces, tmp_path):
    """The form of Paplham and Franc: a JSON list with `img_path` and the number of a folder."""
    rows = [
        {"img_path": f"CelebA/part1/{name.rpartition('/')[2][:-4]}.png", "folder": i % 10}
        for i, name in enumerate(names(faces))
    ]
    path = tmp_path / "CelebA.json"
    path.write_text(json.dumps(rows))
    folders = {"file": str(path), "train": [0, 1, 2, 3, 4, 5], "val": [6, 7], "test": [8, 9]}
    table = read(faces, tmp_path, folders)
    expected = [("train", "val", "test")[(i % 10 > 5) + (i % 10 > 7)] for i in range(24)]
    assert table.frame["split"].tolist() == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("000001.jpg", "dev")], "row 1 has split 'dev'; expected one of train"),
        ([("other.jpg", "train")], "names none of the 24 images"),
        ([("a/000001.jpg", "train"), ("b/000001.jpg", "val")], "could both mean"),
    ],
)
def test_a_split_file_that_cannot_be_meant_is_one_error(faces, tmp_path, rows, message):
    path = tmp_path / "mine.csv"
    pd.DataFrame(rows, columns=["image", "split"]).to_csv(path, index=False)
    with pytest.raises(MtlfaceError, match=message):
        read(faces, tmp_path, str(path))


@pytest.mark.parametrize(
    "split", [3, {"file": "x"}, {"file": "x", "train": [0], "val": [0], "test": [1]}]
)
def test_a_split_is_a_file_and_what_its_rows_are_for(split):
    with pytest.raises(MtlfaceError, match=r"data\.split is .*Write data\.split="):
        Source("celeba", CelebA(), split=split)


def test_a_split_file_that_is_not_there_is_named(faces, tmp_path):
    with pytest.raises(MtlfaceError, match=r"nowhere\.csv cannot be read"):
        read(faces, tmp_path, "nowhere.csv")
