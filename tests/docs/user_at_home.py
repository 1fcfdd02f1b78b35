"""A user with a folder of their own: what lies in it, and how their commands are run there.

`python -m` runs in this process, because a fresh one needs seconds to import torch.
"""

import contextlib
import io
import logging
import os
import runpy
import shutil
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from commands_of_docs import blocks
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mtlface.data.sources import resolve
from mtlface.door import config_folder


@dataclass(eq=False)
class Home:
    """The user's folder.

    Attributes:
        folder: Where the commands are run.
        cache: Where demo data and picture stores lie.
        printed: What was printed by each `python -m` line that ended well: none is run twice.
    """

    folder: Path
    cache: Path
    printed: dict[tuple[str, ...], str] = field(default_factory=dict)

    def furnish(self) -> None:
        """Pictures, a data set in a layout of its own, and every file that the docs say to save."""
        celeba = self.data("celeba")
        pictures = sorted(celeba.rglob("*.jpg"))[:40]
        for name, picture in zip(("a.jpg", "b.jpg"), pictures, strict=False):
            shutil.copy(picture, self.folder / name)
        (self.folder / "photos").mkdir()
        for picture in pictures[:4]:
            shutil.copy(picture, self.folder / "photos")
        own = self.folder / "my_faces"
        own.mkdir()
        for picture in pictures:
            shutil.copy(picture, own)
        splits = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
        rows = {"image": [p.name for p in pictures], "split": splits}
        rows |= {"gender": [k % 2 for k in range(40)], "age": range(20, 60)}
        pd.DataFrame(rows).to_csv(own / "labels.csv", index=False)
        for block in blocks():
            if block.saved_as and block.language in {"python", "yaml"}:
                path = self.folder / block.saved_as
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.code, encoding="utf-8")

    def data(self, name: str) -> Path:
        """The rendered faces in a data set's layout: the user's own copy of it."""
        demo = OmegaConf.load(config_folder() / "data" / f"{name}.yaml").demo
        return resolve(None, "demo", None, demo, self.cache)[0]

    def python_m(self, module: str, *arguments: str) -> str:
        """What `python -m module arguments` prints.

        Raises:
            AssertionError: It ends with another exit code than 0.
        """
        words = (module, *arguments)
        if words not in self.printed:
            code, said = self.try_python_m(*words)
            assert code == 0, f"exit code {code}\n{said}"
            self.printed[words] = said
        return self.printed[words]

    def try_python_m(self, module: str, *arguments: str) -> tuple[int, str]:
        """The exit code of `python -m module arguments`, and what it prints."""
        said, code = io.StringIO(), 0
        with self.there(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            sys.argv = [module, *arguments]
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as ended:
                code = ended.code or 0
        return code, said.getvalue()

    @contextlib.contextmanager
    def there(self):
        """In the user's folder, and afterwards everything as it was."""
        before, argv, root = Path.cwd(), sys.argv, logging.getLogger()
        handlers, level = root.handlers[:], root.level
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        signals = {number: signal.getsignal(number) for number in numbers}
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))  # as python -m does
        GlobalHydra.instance().clear()
        try:
            with warnings.catch_warnings():
                # runpy's: the tests have imported the module under its own name before.
                warnings.simplefilter("ignore", RuntimeWarning)
                yield
        finally:
            GlobalHydra.instance().clear()
            os.chdir(before)
            sys.path.remove(str(self.folder))
            sys.argv, root.handlers = argv, handlers
            root.setLevel(level)
            for number, handler in signals.items():
                signal.signal(number, handler)
