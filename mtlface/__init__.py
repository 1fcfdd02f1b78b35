"""mtlface: does one network with several heads beat several networks with one, on your faces?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlface import train as train
    from mtlface.inference.predictor import Predictor

__version__ = "0.1.0"


def load(
    checkpoint: str | Path, device: str = "auto", trusted: str | Sequence[str] = ()
) -> Predictor:
    """Opens a trained network for predictions.

    Example:
        >>> faces = mtlface.load("outputs/…/seed=0").predict(["one.jpg", "two.jpg"])

    Args:
        checkpoint: A `.ckpt` file, the run folder that has it, or the folder of a bundle that
            `mtlface.export` wrote.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:<n>`.
        trusted: Packages of others whose objects the checkpoint may name, such as a task; what you
            trained yourself on this machine needs none.

    Raises:
        MtlfaceError: There is no checkpoint, or it cannot be trusted or used; or the device is
            not there.
    """
    from mtlface.inference.network import open_network
    from mtlface.inference.predictor import Predictor

    packages = [trusted] if isinstance(trusted, str) else trusted
    return Predictor(open_network(checkpoint, device, packages))


def __getattr__(name: str) -> Any:
    # On first use: `import mtlface` must not wait for it.
    if name != "train":
        raise AttributeError(f"module 'mtlface' has no attribute '{name}'")
    from importlib import import_module

    return import_module("mtlface.train")
