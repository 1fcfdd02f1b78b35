"""A real detector on real and rendered photos: each face once, nothing else, at any resolution."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mtlface.inference.centerface
import mtlface.predict
from mtlface.data.sources import DEMO_FOLDER
from mtlface.errors import MtlfaceError
from mtlface.inference import detector_files
from mtlface.inference.annotate import annotated, caption
from mtlface.inference.detect import choose_detector
from mtlface.inference.predictor import Predictor
from mtlface.training.run import run

FILE = detector_files.cache_folder() / detector_files.CENTERFACE.file
needs_centerface = pytest.mark.skipif(
    not FILE.is_file(), reason="the model file of CenterFace is not in the cache: make weights"
)


@pytest.fixture(scope="module")
def centerface():
    return choose_detector("centerface")


@pytest.fixture(scope="module")
def portraits():
    with zipfile.ZipFile(DEMO_FOLDER / "celeba.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:12]
        return [np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names]


@pytest.fixture(scope="module")
def grids(portraits, tmp_path_factory):
    """Twelve people in one image, at four resolutions."""
    rows = [np.concatenate(portraits[k : k + 4], axis=1) for k in (0, 4, 8)]
    grid = Image.fromarray(np.concatenate(rows))
    folder = tmp_path_factory.mktemp("grids")
    for scale in (1, 1.5, 2, 3):
        size = (round(grid.width * scale), round(grid.height * scale))
        grid.resize(size, Image.Resampling.BICUBIC).save(folder / f"{scale}.png")
    return folder


@pytest.fixture(scope="module")
def of_faces(composed, tmp_path_factory):
    """A run whose points are those of a face: it starts at the mean one."""
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "celeba" / "seed=0"
    words = ["tasks.landmarks.loss_size=[178,218]", "tasks.landmarks.start_at_mean=true"]
    run(composed("experiment=tiny", *words), folder, words)
    return folder


@needs_centerface
def test_the_astronaut_has_one_face_and_things_have_none(centerface):
    data = pytest.importorskip("skimage.data")
    (face,) = centerface(data.astronaut())
    x, y, width, height = face.box
    assert x < 203 < 247 < x + width and y < 102 < y + height and face.score > 0.8
    # The eyes' centres as a person clicks them.
    np.testing.assert_allclose(face.eyes, [[204, 103], [247, 105]], atol=4)
    for name in ("coffee", "chelsea", "rocket"):
        assert centerface(getattr(data, name)()) == [], name


@needs_centerface
def test_a_portrait_has_one_face_with_its_eyes(centerface, portraits):
    found = [centerface(portrait) for portrait in portraits]
    assert [len(each) for each in found] == [1] * len(portraits)
    # Rendered in CelebA's frame, give or take the pose.
    eyes = np.median([each[0].eyes for each in found], axis=0)
    np.testing.assert_allclose(eyes, [(69.5, 111.5), (107.6, 111.5)], atol=6)


@needs_centerface
def test_predict_finds_everybody_once_and_at_the_same_place_at_any_resolution(
    of_faces, grids, tmp_path
):
    words = [f"checkpoint={of_faces}", f"images={grids}", f"output={tmp_path / 'p.csv'}"]
    words += ["crop=detect", "detector=centerface", "annotate=true", "device=cpu"]
    assert mtlface.predict.main(words) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    columns = [c for c in table if c.endswith(("_x", "_y")) and not c.startswith("box")]
    points = {}
    for name, faces in table.groupby("image"):
        scale = float(name.split("/")[-1].removesuffix(".png"))
        assert sorted(faces["face"]) == list(range(1, 13))
        assert faces["face_score"].between(0.5, 1).all()
        # Largest first, which nearly equal faces need not keep: matched by where they are.
        found = (faces[columns].to_numpy().reshape(12, -1, 2) + 0.5) / scale - 0.5
        tile = found.mean(axis=1) // (178, 218)
        points[scale] = found[np.lexsort(tile.T)]
        assert len({*map(tuple, tile)}) == 12
    between = np.linalg.norm(points[1.0][:, 0] - points[1.0][:, 1], axis=-1)
    for scale in (1.5, 2.0, 3.0):
        off = np.linalg.norm(points[scale] - points[1.0], axis=-1)
        assert (off <= 0.05 * between[:, None]).all(), scale
    assert len(list((tmp_path / "annotated").iterdir())) == 4


@needs_centerface
def test_a_higher_score_finds_fewer_faces(grids, predictor):
    image = grids / "1.png"
    few = predictor.predict(image, crop="detect", detector="centerface", min_score=0.9)
    many = predictor.predict(image, crop="detect", detector="centerface")
    assert len(few) < len(many) == 12 and few["face_score"].min() >= 0.9


@needs_centerface
def test_a_predictor_keeps_its_crop_and_loads_its_detector_once(network, grids, monkeypatch):
    loaded = []
    own = mtlface.inference.centerface.CenterFace.__init__

    def counted(self, *arguments):
        loaded.append(self)
        own(self, *arguments)

    monkeypatch.setattr(mtlface.inference.centerface.CenterFace, "__init__", counted)
    predictor = Predictor(network, crop="detect", detector="centerface")
    for _ in range(2):
        assert len(predictor.predict(grids / "1.png")) == 12
        assert len(predictor.predict(grids / "1.png", min_score=0.6)) == 12
        assert len(predictor.predict(grids / "1.png", crop="none")) == 1
    assert len(loaded) == 2, "one for each score"


def test_a_caption_tells_the_probability_of_the_class_that_it_shows(predictor):
    tasks = predictor.network.module.tasks.values()
    female = {"gender": "female", "gender_probability": 0.03}
    male = {"gender": "male", "gender_probability": 0.97}
    assert caption(female, tasks) == "gender female 0.97"
    assert caption(male, tasks) == "gender male 0.97"


def test_faces_are_numbered_where_there_are_several(predictor, monkeypatch):
    lines = []
    monkeypatch.setattr(
        "mtlface.inference.annotate._with_lines", lambda image, said: lines.extend(said) or image
    )
    tasks = predictor.network.module.tasks.values()
    row = {"gender": "male", "gender_probability": 0.97, "box_x": 1.0, "box_y": 2.0}
    rows = [row | {"face": k, "box_width": 9.0, "box_height": 9.0} for k in (1, 2)]
    annotated(np.zeros((50, 50, 3), np.uint8), rows, tasks)
    assert lines == ["1: gender male 0.97", "2: gender male 0.97"]


def test_a_detector_that_is_not_there_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFACE_CACHE", str(tmp_path))
    with pytest.raises(MtlfaceError, match=r"no such file.*Did you mean 'yunet'"):
        choose_detector("yunett")
    with pytest.raises(MtlfaceError, match=r"centerface needs the model file.*make weights"):
        choose_detector("centerface")
    with pytest.raises(MtlfaceError, match="between 0 and 1"):
        choose_detector("centerface", 7)

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(MtlfaceError, match=r"download failed: no network.*detector=centerface"):
        choose_detector()


def test_a_model_file_that_is_another_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLFACE_CACHE", str(tmp_path))
    (tmp_path / "detectors").mkdir()
    (tmp_path / "detectors" / "centerface.onnx").write_bytes(b"something else")
    with pytest.raises(MtlfaceError, match="not the published centerface model: its SHA-256"):
        choose_detector()


def test_a_detector_that_is_not_asked_for_is_an_error(network):
    with pytest.raises(MtlfaceError, match="for crop=detect; found crop=center"):
        Predictor(network, crop="center", min_score=0.5)
