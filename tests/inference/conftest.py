"""One tiny network for all tests of this room: 24 faces, 32×32 px, a second of training."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from mtlface.inference.network import Network, open_network
from mtlface.inference.predictor import Predictor
from mtlface.training.run import run


@pytest.fixture(scope="session")
def trained(composed: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "tiny" / "celeba" / "seed=0"
    run(composed("experiment=tiny"), folder, [])
    return folder


@pytest.fixture
def network(trained: Path) -> Network:
    return open_network(trained, "cpu")


@pytest.fixture
def predictor(network: Network) -> Predictor:
    return Predictor(network)


@pytest.fixture(scope="session")
def pictures(faces: Path) -> list[Path]:
    return sorted((faces / "img_align_celeba" / "img_align_celeba").glob("*.jpg"))
