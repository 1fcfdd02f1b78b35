"""Weights from torchvision's servers or from a local file, with errors that say the way on."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from mtlface.errors import MtlfaceError
from mtlface.values import printable


@contextmanager
def downloading(name: str, weights: Any) -> Iterator[None]:
    """Turns whatever goes wrong while torchvision fetches `weights` into one error.

    Raises:
        MtlfaceError: There is no network, the server refuses, or the file is damaged.
    """
    try:
        yield
    except (OSError, HTTPException, RuntimeError, EOFError, UnpicklingError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        file = weights.url.rsplit("/", 1)[-1]
        raise MtlfaceError(
            f"The ImageNet weights of '{name}' could not be fetched from {weights.url} "
            f"({type(error).__name__}: {error}). Three ways on: give a local file with "
            f"pretrained=/path/to/weights.pth; or copy that file to {folder / file}, under exactly "
            f"this name, and start again; or train from random weights with pretrained=false."
        ) from error


def load_weights(trunk: nn.Module, path: Path, ignore: str | None = None) -> None:
    """Loads a local state dict into a trunk.

    A state dict that was saved from a whole `Backbone` fits as well. Parts of the file that the
    trunk has no module for, such as the classifier or auxiliary heads, are left out.

    Args:
        trunk: The network to fill, in place.
        path: A file that `torch.save` wrote, holding tensors only.
        ignore: Name of a layer that was cut from the trunk, whose weights the file may hold.

    Raises:
        MtlfaceError: The file is missing, is no state dict, or belongs to another network.
    """
    state = _read(path)
    expected = trunk.state_dict()
    parts = {key.split(".")[0] for key in expected}
    own = OrderedDict(
        (key, value)
        for key, value in ((key.removeprefix("trunk."), value) for key, value in state.items())
        if key.split(".")[0] in parts and not (ignore and key.startswith(f"{ignore}."))
    )
    if what := misfits(expected, own):
        raise MtlfaceError(
            f"The weights in {path} are not those of this backbone: {what}. Give the state dict of "
            f"the same model, or choose the backbone that the file was made for."
        )
    # Some networks of torchvision read the version of their layout from here.
    own._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
    trunk.load_state_dict(own, strict=False)


def misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """In which tensors a state dict is not that of a network, in words; empty where it is.

    Args:
        expected: The network's own state dict.
        found: The other one.
    """
    faults = {
        "missing from the file": [
            key
            for key in expected
            # Files from before torch 0.4.1 do not count batches.
            if key not in found and not key.endswith("num_batches_tracked")
        ],
        "unknown to the network": [printable(key) for key in found if key not in expected],
        "of another shape": [
            f"{key} (expected {tuple(expected[key].shape)}, found {tuple(found[key].shape)})"
            for key in expected
            if key in found and expected[key].shape != found[key].shape
        ],
        "of another type": [
            f"{key} (expected {expected[key].dtype}, found {found[key].dtype})"
            for key in expected
            if key in found and _kind(expected[key]) != _kind(found[key])
        ],
    }
    return "; ".join(
        f"{len(keys)} {fault}: {', '.join(keys[:3])}{', …' * (len(keys) > 3)}"
        for fault, keys in faults.items()
        if keys
    )


def _kind(tensor: Tensor) -> tuple[bool, bool, torch.layout]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.layout


def _read(path: Path) -> dict[str, Tensor]:
    path = path.expanduser()
    if not path.is_file():
        raise MtlfaceError(
            f"No weights at {path}: pretrained= takes the path of a file with a state dict, true "
            f"for torchvision's ImageNet weights, or false for random weights."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError, ValueError, KeyError) as error:
        raise MtlfaceError(
            f"The weights in {path} cannot be read: expected a file that torch.save wrote with "
            f"tensors only (a state dict), found {type(error).__name__} "
            f"({str(error).partition('.')[0]}). Save it again with "
            f"torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        found = (
            f"the entries {', '.join(map(str, list(state)[:3]))}"
            if isinstance(state, dict)
            else type(state).__name__
        )
        raise MtlfaceError(
            f"The weights in {path} are no state dict: expected tensors by parameter name, found "
            f"{found}. Save them with torch.save(model.state_dict(), path)."
        )
    return state
