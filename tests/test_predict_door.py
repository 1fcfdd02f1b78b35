"""The doors after training: what they print, what they write, what they say to wrong words."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

import mtlface.demo
import mtlface.evaluate
import mtlface.export
import mtlface.predict
from mtlface.arguments import parse
from mtlface.door import INTERRUPTED, guarded
from mtlface.errors import MtlfaceError
from mtlface.inference.predictor import Predictor
from mtlface.training.run import run

DOORS = [mtlface.predict, mtlface.evaluate, mtlface.export, mtlface.demo]


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny_gender" / "celeba" / "seed=0"
    run(composed("experiment=tiny_gender"), folder, "tiny_gender", [])
    return folder


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_help_names_every_key_and_fits_a_screen(door, capsys):
    for words in ([], ["--help"], ["checkpoint=x", "-h"]):
        assert door.main(words) == 0
        printed = capsys.readouterr().out
        for key in door.Options.__dataclass_fields__:
            assert f"  {key}=" in printed
        assert len(printed.splitlines()) < 30
        assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_wrong_word_is_one_clear_error(door):
    with pytest.raises(MtlfaceError, match="Did you mean 'checkpoint'"):
        door.main(["chekpoint=x"])
    with pytest.raises(MtlfaceError, match="checkpoint= is missing"):
        door.main(["debug=true"])
    with pytest.raises(MtlfaceError, match="cannot be read"):
        door.main(["checkpoint=x", "debug=perhaps"])


def test_a_pattern_needs_no_quotes_inside_the_quotes():
    options = parse("predict", mtlface.predict.Options, ["images=*.jpg", "checkpoint=1"], {})
    assert (options.images, options.checkpoint) == ("*.jpg", "1")


def test_predict_writes_rows_and_pictures(trained, faces, tmp_path, capsys):
    words = [f"checkpoint={trained}", f"images={faces}", f"output={tmp_path}", "annotate=true"]
    assert mtlface.predict.main([*words, "device=cpu"]) == 0
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table) == ["image", "gender", "gender_probability", "error"]
    assert len(table) == 24 and table["image"].is_monotonic_increasing
    assert "24 rows" in capsys.readouterr().out
    drawn = sorted((tmp_path / "annotated").iterdir())
    assert len(drawn) == 24 and drawn[0].name == "000001_000001.jpg"
    with Image.open(drawn[0]) as image:
        assert image.height > image.width


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["format=submission_agegender"], "does not predict age"),
        (["format=submission_agegender", "crop=detect"], "a row a picture"),
        (["format=excel"], "expected one of csv"),
        (["device=warp"], "device=warp"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    trained, faces, tmp_path, words, message
):
    output = tmp_path / "p.csv"
    with pytest.raises(MtlfaceError, match=message):
        mtlface.predict.main(
            [f"checkpoint={trained}", f"images={faces}", f"output={output}", *words]
        )
    assert not output.exists()


def test_interrupted_predictions_leave_nothing_and_promise_nothing(
    trained, faces, tmp_path, capsys, monkeypatch
):
    def interrupted(self, pictures):
        yield from parts(self, [next(pictures)])
        raise KeyboardInterrupt

    parts = Predictor.stream
    monkeypatch.setattr(Predictor, "stream", interrupted)
    words = [f"checkpoint={trained}", f"images={faces}", f"output={tmp_path / 'p.csv'}"]
    with pytest.raises(SystemExit) as stopped:
        guarded(lambda: mtlface.predict.main(words))
    assert stopped.value.code == INTERRUPTED
    printed = capsys.readouterr().err
    assert "starts anew" in printed and "goes on" not in printed
    assert not list(tmp_path.iterdir())


def test_a_users_mistake_is_one_line():
    command = [sys.executable, "-m", "mtlface.predict", "checkpoint=x", "images=/nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: images=/nowhere") and ended.stderr.count("\n") == 1
