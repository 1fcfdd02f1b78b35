"""The renderer of the demo packs: same seed, same bytes, native layouts."""

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

TOOLS = Path(__file__).parents[2] / "tools"
DEMO = Path(__file__).parents[2] / "mtlface" / "data" / "demo"
MISSING = [name for name in ("anny", "scipy", "tqdm") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"{MISSING} missing; see tools/render_faces/README.md for the install"
    ),
]


def _command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "render_faces", *map(str, arguments)],
        cwd=TOOLS,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def _render(folder: Path, workers: int) -> Path:
    counts = ("--celeba", 4, "--agegender", 2, "--facecom", 20)
    done = _command("--out", folder, "--seed", 2024, "--workers", workers, *counts)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    return _render(tmp_path_factory.mktemp("first"), workers=2)


def _read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _jpegs(path: Path) -> dict[str, bytes]:
    return {name: content for name, content in _read(path).items() if name.endswith(".jpg")}


def test_same_seed_gives_same_bytes_with_any_number_of_workers(pack, tmp_path):
    again = _render(tmp_path, workers=1)
    names = ["DATA_CARD.md", "agegender.zip", "celeba.zip", "facecom.zip"]
    assert sorted(path.name for path in pack.iterdir()) == names
    for name in names:
        assert (pack / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize(
    ("layout", "size"),
    [("celeba", (178, 218)), ("agegender", (200, 200)), ("facecom", (178, 218))],
)
def test_pictures_have_the_size_of_their_layout(pack, layout, size):
    pictures = _jpegs(pack / f"{layout}.zip").values()
    assert {Image.open(io.BytesIO(content)).size for content in pictures} == {size}


def test_celeba_zip_has_the_kaggle_layout(pack):
    content = _read(pack / "celeba.zip")
    names = [f"{number:06d}.jpg" for number in range(1, 5)]
    assert sorted(_jpegs(pack / "celeba.zip")) == [
        f"img_align_celeba/img_align_celeba/{name}" for name in names
    ]
    tables = {name: table for name, table in content.items() if name.endswith(".csv")}
    widths = {
        "list_attr_celeba.csv": 41,
        "list_landmarks_align_celeba.csv": 11,
        "list_eval_partition.csv": 2,
        "list_bbox_celeba.csv": 5,
    }
    assert set(tables) == set(widths)
    for name, table in tables.items():
        header, *rows = csv.reader(io.StringIO(table.decode()))
        assert [row[0] for row in rows] == names
        assert {len(header), *map(len, rows)} == {widths[name]}


def test_agegender_zip_has_utkface_names(pack):
    names = list(_read(pack / "agegender.zip"))
    assert len(names) == 2
    assert all(re.fullmatch(r"UTKFace/\d+_[01]_[012]_\d{17}\.jpg", name) for name in names)


def test_facecom_zip_annotates_all_pictures_of_its_person(pack):
    records = json.loads(_read(pack / "facecom.zip")["annotations.json"])
    assert {f"images/{record['image']}" for record in records} == set(_jpegs(pack / "facecom.zip"))
    assert {record["identity"] for record in records} == {"id0001"}
    assert {record["split"] for record in records} == {"train", "val", "test"}


@pytest.mark.parametrize("layout", ["agegender", "facecom"])
def test_small_pack_shows_the_first_people_of_the_demo_pack(pack, layout):
    demo = _jpegs(DEMO / f"{layout}.zip")
    assert set(_jpegs(pack / f"{layout}.zip")) <= set(demo)


def test_half_a_person_is_refused_before_anything_is_rendered(tmp_path):
    done = _command("--out", tmp_path / "pack", "--facecom", 30)
    assert done.returncode == 2
    assert "expected a multiple of 20 that is 0 or more, found 30" in done.stderr
    assert not (tmp_path / "pack").exists()
