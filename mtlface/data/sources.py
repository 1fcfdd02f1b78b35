"""Where a data set's folder comes from: a path, the rendered demo set, or Kaggle."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Literal

from filelock import FileLock

from mtlface.data.archive import unpack
from mtlface.errors import MtlfaceError

log = logging.getLogger(__name__)

DEMO_FOLDER = Path(__file__).parent / "demo"


def resolve(
    root: str | Path | None,
    source: Literal["kaggle", "demo"],
    kaggle: str | None,
    demo: str | None,
    cache: Path,
    layout: str = "a data set in its native layout",
) -> tuple[Path, str]:
    """Returns the folder of a data set, after getting it if need be.

    Args:
        root: The folder, if the user has the data; it wins over `source`.
        source: Where to get the data otherwise.
        kaggle: The kagglehub handle with its version, `owner/name/versions/N`, which needs no
            network once it is cached.
        demo: The zip in `mtlface/data/demo` with rendered faces in the same layout.
        cache: Where the demo set is unpacked, once.
        layout: What the reader looks for in the folder.

    Returns:
        The folder, and `folder`, `demo` or `kaggle`.

    Raises:
        MtlfaceError: The folder is not there, or the data cannot be had.
    """
    if root is not None:
        return _given(Path(root).expanduser(), layout), "folder"
    if source == "demo":
        return _demo(demo, cache), "demo"
    if source == "kaggle":
        return _kaggle(kaggle, layout), "kaggle"
    raise MtlfaceError(f"data.source is '{source}', expected 'kaggle' or 'demo'.")


def _given(root: Path, layout: str) -> Path:
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise MtlfaceError(
            f"data.root={root}: expected a folder with {layout}; found {found} there. "
            "Correct the path, or take profile=demo to start without data."
        )
    return root.resolve()


def _demo(demo: str | None, cache: Path) -> Path:
    archive = DEMO_FOLDER / (demo or "")
    if demo is None or not archive.is_file():
        there = ", ".join(sorted(path.name for path in DEMO_FOLDER.glob("*.zip"))) or "none"
        raise MtlfaceError(
            f"data.demo={demo} is no demo set of this installation; it has: {there}. "
            "Install mtlface again, or set data.root to a folder with data."
        )
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    folder = cache.expanduser().resolve() / "demo" / f"{archive.stem}-{digest}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            for unfinished in folder.parent.glob(f".{folder.name}.*"):  # of a process that died
                shutil.rmtree(unfinished)
            if not folder.is_dir():
                log.info("Unpacking the demo set %s into %s", demo, folder)
                unpack(archive, folder)
    except OSError as error:
        raise MtlfaceError(
            f"The demo set cannot be unpacked into {folder}: {error}. "
            "Set data.cache to a folder that can be written."
        ) from error
    return folder


def _kaggle(handle: str | None, layout: str) -> Path:
    if not handle:
        raise MtlfaceError(
            "This data set is not on Kaggle (data.kaggle=null). "
            f"Set data.root to a folder with {layout}, or take profile=demo."
        )
    try:
        import kagglehub  # slow to import, and needed for downloads only

        return Path(kagglehub.dataset_download(handle)).resolve()
    # Its failures range from sockets over HTTP and credentials to damaged zips and full disks.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MtlfaceError(
            f"{handle} cannot be had from Kaggle ({type(error).__name__}: {reason}). "
            f"Three ways on: set data.root to a folder with {layout}; take profile=demo, which "
            f"needs no network; or run kagglehub.dataset_download('{handle}') where there is a "
            "network, copy its cache here and set KAGGLEHUB_CACHE to it."
        ) from error
