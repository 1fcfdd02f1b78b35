"""The doors after training: what they print, what they write, what they say to wrong words."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    run(composed("experiment=tiny_gender"), folder, [])
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
        (["device=meta"], "device=meta is not to be had"),
        (["format=parquet"], r"ends in \.csv, but format=parquet writes \.parquet"),
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


def test_no_picture_and_no_list_is_written_over(trained, faces, own_faces, capsys):
    picture, listed = next(own_faces.rglob("*.jpg")), own_faces / "l.csv"
    listed.write_text(f"image\n{picture}\n")
    for images, message in ((picture, r"ends in \.jpg"), (listed, "the list of the pictures")):
        before = images.read_bytes()
        with pytest.raises(MtlfaceError, match=message):
            mtlface.predict.main([f"checkpoint={trained}", f"images={images}", f"output={images}"])
        assert images.read_bytes() == before


def test_the_exit_code_says_that_nothing_was_predicted(trained, faces, tmp_path, capsys):
    good, bad = next(faces.rglob("*.jpg")), tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    words = [f"checkpoint={trained}", f"output={tmp_path}"]
    assert mtlface.predict.main([*words, f"images={bad}"]) == 1
    assert "1 of them without a prediction" in capsys.readouterr().out
    assert mtlface.predict.main([*words, f"images={bad},{good}"]) == 0


@pytest.mark.parametrize("crop", ["none", "center"])
def test_pictures_of_every_kind_are_predicted_and_drawn(trained, faces, tmp_path, crop, capsys):
    folder, output = tmp_path / "kinds", tmp_path / "p.csv"
    folder.mkdir()
    with Image.open(sorted(faces.rglob("*.jpg"))[1]) as face:
        turned = Image.Exif()
        turned[0x0112] = 6  # to be turned by 90 degrees to the right
        face.save(folder / "plain.png")
        face.rotate(90, expand=True).save(folder / "turned.png", exif=turned)
        face.convert("CMYK").save(folder / "cmyk.jpg", quality=100)
        Image.fromarray(np.asarray(face.convert("L"), np.uint16) * 257).save(folder / "deep.png")
        for mode in ("L", "LA", "RGBA", "P", "1"):
            face.convert(mode).save(folder / f"mode_{mode}.png")
    Image.new("RGB", (1, 1)).save(folder / "small.png")
    Image.new("RGB", (3000, 1)).save(folder / "thin.png")
    words = [f"checkpoint={trained}", f"images={folder}", f"output={output}", f"crop={crop}"]
    assert mtlface.predict.main([*words, "annotate=true"]) == 0
    table = pd.read_csv(output)
    assert len(table) == 11 and table["error"].isna().all()
    assert len(list((tmp_path / "annotated").iterdir())) == 11
    by_name = {Path(row.image).stem: row.gender_probability for row in table.itertuples()}
    for same in ("turned", "mode_RGBA"):
        assert by_name[same] == pytest.approx(by_name["plain"], abs=1e-5)
    assert by_name["deep"] == pytest.approx(by_name["mode_L"], abs=0.01)


def test_pictures_that_cannot_be_drawn_are_named_and_not_the_table(trained, faces, tmp_path):
    (tmp_path / "annotated").write_text("a file in the way")
    words = [f"checkpoint={trained}", f"images={faces}", f"output={tmp_path / 'p.csv'}"]
    with pytest.raises(MtlfaceError, match=r"Pictures cannot be written to .*annotated"):
        mtlface.predict.main([*words, "annotate=true"])


def test_evaluate_finds_out_about_its_output_before_it_measures(trained, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = [f"checkpoint={trained}", f"output={tmp_path / 'file'}"]
    with pytest.raises(MtlfaceError, match="evaluation cannot be written"):
        mtlface.evaluate.main(words)
    assert not capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("images", "said"),
    [("/nowhere", "error: images=/nowhere"), ("~nobody-of-that-name/x", "error: A path begins")],
)
def test_a_users_mistake_is_one_line(images, said):
    command = [sys.executable, "-m", "mtlface.predict", "checkpoint=x", f"images={images}"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert ended.returncode == 2
    assert ended.stderr.startswith(said) and ended.stderr.count("\n") == 1
