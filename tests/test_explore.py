"""The page says what is in the data, and nothing in the data can run in it."""

import re

import numpy as np
import pandas as pd
import pytest

from mtlface.analysis.exploration_figures import correlations, figures
from mtlface.analysis.exploration_tables import label_table, omitted_table
from mtlface.analysis.labels import yes_no
from mtlface.data.schema import Binary, Category, Labels, Multilabel, Number, Points
from mtlface.data.table import FaceTable, Omission
from mtlface.errors import MtlfaceError
from mtlface.explore import main


@pytest.fixture(scope="module")
def page(faces, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    words = [f"data.root={faces}", f"data.cache={cache}", f"output={folder}", "pictures=5"]
    assert main(["data=celeba", *words]) == 0
    return folder, (folder / "index.html").read_text()


def test_the_page_holds_everything_in_one_file(page):
    folder, html = page
    drawn = {path.stem for path in folder.glob("*.png")}
    assert drawn == {
        "label_balance", "attribute_correlations", "attributes_by_landmarks", "samples",
    }  # fmt: skip
    others = [path.name for path in folder.iterdir() if path.suffix not in (".png", ".pdf")]
    assert others == ["index.html"]
    assert len(re.findall(r'src="data:image/', html)) == len(drawn)
    assert not re.findall(r'(?:src|href)="(?!data:)', html) and "<script" not in html
    assert 'name="viewport"' in html and "RENDERED DEMO FACES" not in html
    for number in ("16", "24", "female 12, male 12"):
        assert number in html


def test_correlations_are_pearsons_over_the_rows_that_both_have():
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(draw.normal(size=(60, 3)), columns=list("abc"))
    columns = pd.DataFrame(1000 + draw.normal(size=(60, 2)), columns=list("xy"))
    columns["x"] += rows["a"]
    rows = rows.mask(draw.random((60, 3)) < 0.2)
    columns = columns.mask(draw.random((60, 2)) < 0.2)
    rows["constant"] = 1.0
    expected = [[rows[r].corr(columns[c]) for c in columns] for r in "abc"]
    found = correlations(rows, columns)
    assert found[:3] == pytest.approx(np.array(expected), abs=1e-9)
    assert np.isnan(found[3]).all()


@pytest.fixture
def odd_table(tmp_path):
    labels = Labels(
        [
            Binary("gender", ("female", "male")),
            Binary("Smiling"),
            Multilabel("attributes", ("Male", "Smiling")),
            Number("age", 0, 116, "years"),
            Category("race", ("<script>alert(1)</script>", "other"), group=True),
            Points("landmarks", ("nose",), ()),
        ]
    )
    frame = pd.DataFrame(
        {
            "image": [f"{i}.jpg" for i in range(4)],
            "split": ["train", "train", "val", "test"],
            "gender": [1, 0, -1, 1], "Male": [1, 0, -1, 1], "Smiling": [0, 1, 1, -1],
            "age": [1.0, 20, np.nan, 60], "race": [0, 1, 1, -1],
            "nose_x": [1.0, 2, 3, np.nan], "nose_y": [4.0, 4, 4, np.nan],
        }
    )  # fmt: skip
    return FaceTable(frame, labels, tmp_path, (Omission("a<b>.csv", 3, "2 cells, expected 3"),))


def test_missing_labels_are_counted_and_twins_are_shown_once(odd_table):
    rows = {row[0]: row for row in label_table(odd_table).rows}
    assert rows["gender"][3] == "1 (25.0%)" and rows["attributes"][3] == "2 (50.0%)"
    assert rows["age"][2] == "1 to 60 years, median 20"
    assert "Smiling" not in rows
    assert list(yes_no(odd_table.labels, odd_table.frame)) == ["Male", "Smiling"]
    names = [shown.name for shown in figures(odd_table)]
    assert names == [
        "label_balance", "counts_race", "missing_labels", "age_histogram",
        "attribute_correlations", "attributes_by_landmarks",
    ]  # fmt: skip
    assert omitted_table(odd_table).rows == (("a<b>.csv", "3", "2 cells, expected 3"),)


def test_names_from_the_data_are_text_in_the_page(odd_table, tmp_path):
    from mtlface.analysis.exploration_report import write_exploration

    page = write_exploration(odd_table, "mine", "demo", tmp_path / "out", pictures=3, seed=0)
    html = page.read_text()
    assert "a&lt;b&gt;.csv" in html and "RENDERED DEMO FACES" in html and "<script" not in html
    assert not (tmp_path / "out" / "samples.png").exists()  # the pictures are not there


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data=celba"], "Did you mean 'celeba'"),
        (["data=celeba", "data.rot=/x"], "rot"),
        (["data=celeba", "data.root=/nowhere"], "/nowhere"),
        (["profile=demo"], "data= is missing"),
        (["date=celeba"], "Did you mean 'data'"),
    ],
)
def test_mistakes_are_one_clear_error(words, named):
    with pytest.raises(MtlfaceError, match=re.escape(named)):
        main(words)


def test_help_names_every_key(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for key in ("data=", "data.root=", "profile=", "pictures=", "seed=", "output=", "config_dir="):
        assert key in text
