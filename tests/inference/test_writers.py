import pandas as pd
import pytest

from mtlface.errors import MtlfaceError
from mtlface.inference.submissions import submit_agegender, submit_facecom
from mtlface.inference.writers import FORMATS, table_writer

PARTS = [
    pd.DataFrame(
        {
            "image": ["a", "b"],
            "Smiling": pd.array([None, None], dtype="Int64"),
            "age": pd.array([float("nan"), 1.5], dtype="float32"),
            "error": [None, "torn"],
        }
    ),
    pd.DataFrame(
        {
            "image": ["c"],
            "Smiling": pd.array([1], dtype="Int64"),
            "age": pd.array([7.0], dtype="float32"),
            "error": [None],
        }
    ),
]


@pytest.mark.parametrize(("name", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_parts_become_one_table_with_one_type_a_column(tmp_path, name, read):
    path = tmp_path / "sub" / f"t.{name}"
    with table_writer(path, FORMATS[name], PARTS[0].iloc[:0]) as write:
        for part in PARTS:
            write(part)
    found = read(path)
    assert found["image"].tolist() == ["a", "b", "c"]
    assert found["error"].isna().tolist() == [True, False, True]
    assert found["age"].tolist()[1:] == [1.5, 7.0]
    if name == "csv":
        assert path.read_text().splitlines()[3] == "c,1,7.0,"


def test_a_table_that_breaks_off_leaves_the_old_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), table_writer(path, FORMATS["csv"], PARTS[0]) as write:
        write(PARTS[1])
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"] and path.read_text() == "old"


def test_submissions_have_the_columns_and_codes_of_their_competitions():
    part = pd.DataFrame(
        {"age": [30.5, None], "gender": ["male", None], "identity": ["ann", None], "error": None}
    )
    text = submit_agegender(part, ["7", "8"]).to_csv(index=False)
    assert text.splitlines() == ["id,age,gender", "7,30.5,1", "8,,"]
    assert list(submit_facecom(part, [])) == ["predicted_gender", "predicted_identity"]
    with pytest.raises(MtlfaceError, match="does not predict age"):
        submit_agegender(part.drop(columns="age"), ["7", "8"])
