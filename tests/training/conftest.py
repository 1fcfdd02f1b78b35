"""Runs that are killed, beside one that nothing disturbs."""

from pathlib import Path

import pytest
from forked_runs import log_of, train


@pytest.fixture(scope="module")
def data(faces: Path, cache: Path) -> list[str]:
    return [f"data.root={faces}", f"data.cache={cache}"]


@pytest.fixture(scope="module")
def whole(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder, data) == 0, log_of(folder)
    return folder
