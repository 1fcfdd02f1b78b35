"""Training from Python: the notebook of the docs runs, and a run shows itself."""

import ast
import json
from pathlib import Path

import pytest

import mtlface
from mtlface.errors import MtlfaceError
from mtlface.notebook import Run, _word

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
SMOKE = {"profile": "smoke", "backbone": "cnn3", "trainer": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MTLFACE_CACHE", str(cache))
        yield folder


def shown(cell, names):
    """Runs a cell, and gives the value of its last line as a notebook shows it."""
    body = ast.parse(cell).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_notebook_of_the_docs_runs(place):
    names, values = {}, []
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            values.append(shown("".join(cell["source"]), names))
            assert not cell["outputs"], "outputs of a notebook get old: keep it without"
    run, metrics, predictions, history, other, figures = values
    page = run._repr_html_()
    assert "celeba_landmarks_gender" in page and "accuracy" in page and "nme" in page
    assert 0 <= metrics.loc[("gender", "accuracy"), "value"] <= 1
    assert metrics["constant predictor"].notna().any()
    assert {"image", "gender", "gender_true"} <= set(predictions.columns)
    assert len(history) == 1
    assert set(other.index.get_level_values("task")) == {"gender"}
    assert isinstance(figures, list)
    assert (place / "outputs" / "celeba_landmarks_gender").is_dir()


def test_a_finished_run_is_not_trained_again_and_predicts(place, pictures_of_smoke):
    run = mtlface.train("celeba_gender", **SMOKE)
    before = (run.folder / "result.json").stat().st_mtime_ns
    again = mtlface.train("celeba_gender", **SMOKE)
    assert again.folder == run.folder
    assert (run.folder / "result.json").stat().st_mtime_ns == before
    assert len(run.predictor("cpu").predict(pictures_of_smoke)) == len(pictures_of_smoke)


@pytest.fixture
def pictures_of_smoke(faces):
    return sorted(faces.rglob("*.jpg"))[:2]


def test_mistakes_are_one_clear_error(place, tmp_path):
    with pytest.raises(MtlfaceError, match="Did you mean 'celeba_gender'"):
        mtlface.train("celeba_gendr")
    with pytest.raises(MtlfaceError, match="many of them"):
        mtlface.train(sweep="celeba_landmarks_gender", profile="smoke")
    with pytest.raises(MtlfaceError, match=r"has no result\.json"):
        _ = Run(tmp_path).result


def test_values_are_written_as_the_command_line_writes_them():
    found = [_word(v) for v in (None, True, 3, 0.1, [1, "a"], {"train": 5}, "a b", "x=y", "")]
    assert found == ["null", "true", "3", "0.1", "[1,a]", "{train: 5}", "'a b'", "'x=y'", "''"]
