"""What the tests share: one thread, and a folder of 24 faces in CelebA's layout."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from omegaconf import DictConfig
from PIL import Image, ImageDraw

from mtlface.data.celeba import ATTRIBUTES, CelebA
from mtlface.data.pixels import PixelStore, open_store
from mtlface.data.table import FaceTable
from mtlface.door import config_folder

# A job started in the background ignores Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a shared machine.
settings.register_profile("mtlface", deadline=None)
settings.load_profile("mtlface")

# Several threads on a shared machine wait for each other, and add up in another order.
torch.set_num_threads(1)

SPLIT_SIZES = (16, 4, 4)  # train, val, test
WORKING = (32, 48)  # height, width: not square, so that a mixed-up axis shows


def write_faces(root: Path) -> Path:
    """Kaggle's layout of CelebA: `000001.jpg` …, bright for men, with dots where the points are."""
    draw = np.random.default_rng(7)
    pictures = root / "img_align_celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    points_header = "lefteye lefteye righteye righteye nose nose leftmouth leftmouth"
    header = [f"{p}_{'xy'[k % 2]}" for k, p in enumerate(points_header.split())]
    header += ["rightmouth_x", "rightmouth_y"]
    attributes = [f"image_id,{','.join(ATTRIBUTES)}"]
    points, parts = [f"image_id,{','.join(header)}"], ["image_id,partition"]
    splits = np.repeat([0, 1, 2], SPLIT_SIZES)
    for i, split in enumerate(splits):
        name = f"{i + 1:06d}.jpg"
        codes = draw.integers(0, 2, len(ATTRIBUTES)) * 2 - 1
        codes[ATTRIBUTES.index("Male")] = 1 if i % 2 else -1
        places = np.array([69, 109, 106, 113, 87, 142, 73, 162, 108, 164])
        places = (places.reshape(5, 2) + draw.integers(-20, 21, 2)).clip(0, 177)
        picture = Image.new("RGB", (178, 218), (200, 180, 160) if i % 2 else (70, 60, 90))
        pen = ImageDraw.Draw(picture)
        for x, y in places.tolist():
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(250, 20, 20))
        picture.save(pictures / name, quality=95)
        attributes.append(f"{name},{','.join(map(str, codes))}")
        points.append(f"{name},{','.join(map(str, places.flatten()))}")
        parts.append(f"{name},{split}")
    (root / "list_attr_celeba.csv").write_text("\n".join(attributes) + "\n")
    (root / "list_landmarks_align_celeba.csv").write_text("\n".join(points) + "\n")
    (root / "list_eval_partition.csv").write_text("\n".join(parts) + "\n")
    return root


@pytest.fixture(scope="session", autouse=True)
def config_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tests' user keeps the list of their own runs."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes; `write_faces` makes one to break."""
    return write_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def own_faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def table(faces: Path) -> FaceTable:
    return CelebA().read(faces, seed=0)


@pytest.fixture(scope="session")
def store(table: FaceTable, cache: Path) -> PixelStore:
    images = table.frame["image"].tolist()
    return open_store(images, table.root, WORKING, cache, progress=False)


@pytest.fixture(scope="session")
def composed(faces: Path, cache: Path) -> Callable[..., DictConfig]:
    """Composes the real configs, with those of `tests/conf`, on the tiny faces."""

    def of(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            settings = [
                f"hydra.searchpath=[file://{Path(__file__).parent / 'conf'}]",
                f"data.root={faces}",
                f"data.cache={cache}",
            ]
            return compose("train", [*settings, *overrides])

    return of
