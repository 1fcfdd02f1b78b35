"""The state of torchjd's objects as tensors and plain data, whatever their class keeps.

torchjd keeps state in plain attributes, in buffers that are born at the first call, in numpy
arrays, in an Adam of its own and in a cvxpy problem; ``state_dict()`` sees few of these. Here every
attribute that can be written as tensors and plain data is state. What cannot (a solver's problem)
is rebuilt by the object itself.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_TYPE = "__type__"
_NOT_STATE = object()
_INTERNALS = frozenset(vars(nn.Module()))


def snapshot(module: nn.Module, tensors: bool = True) -> dict[str, Any]:
    """Returns the state of a module and its submodules.

    Args:
        module: Any module.
        tensors: Whether parameters and buffers are part of it; False where ``state_dict()``
            already holds them.

    Returns:
        Submodule path → attribute → tensors and plain data. It loads with
        ``torch.load(weights_only=True)``.
    """
    state: dict[str, Any] = {}
    for path, sub in module.named_modules():
        found = {k: v for k, v in vars(sub).items() if k not in _INTERNALS}
        if tensors:
            found |= sub._buffers | sub._parameters
        encoded = {name: _encode(value) for name, value in found.items()}
        state[path] = {name: value for name, value in encoded.items() if value is not _NOT_STATE}
    return state


def restore(module: nn.Module, state: dict[str, Any]) -> None:
    """Puts a `snapshot` back into an object built like the one it was taken from."""
    modules = dict(module.named_modules())
    for path, attributes in state.items():
        sub = modules[path]
        for name, value in attributes.items():
            if name in sub._parameters:
                with torch.no_grad():
                    sub.get_parameter(name).copy_(value)
            else:
                # nn.Module itself puts tensors whose name is a buffer's among the buffers.
                setattr(sub, name, _decode(value, sub))


def place(module: nn.Module, device: torch.device) -> None:
    """Moves every tensor of a module to a device, in plain attributes too."""
    module.to(device)
    for sub in module.modules():
        for name, value in list(vars(sub).items()):
            if name not in _INTERNALS:
                moved = _moved(value, device)
                if moved is not value:
                    setattr(sub, name, moved)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, torch.device):
        return device
    if isinstance(value, torch.optim.Optimizer):
        value.load_state_dict(value.state_dict())  # casts its state to the parameters' device
        return value
    if type(value) in (list, tuple):
        moved = [_moved(item, device) for item in value]
        same = all(a is b for a, b in zip(moved, value, strict=True))
        return value if same else type(value)(moved)
    return value


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {_TYPE: "ndarray", "value": torch.from_numpy(value.copy())}
    if isinstance(value, np.generic):
        return _encode(value.item())
    if isinstance(value, torch.dtype):
        return {_TYPE: "dtype", "value": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {_TYPE: "device", "value": str(value)}
    if isinstance(value, torch.optim.Optimizer):
        return {_TYPE: "optimizer", "name": type(value).__name__, "value": value.state_dict()}
    if type(value) in (list, tuple):
        items = [_encode(item) for item in value]
        if any(item is _NOT_STATE for item in items):
            return _NOT_STATE
        return {_TYPE: type(value).__name__, "value": items}
    return _NOT_STATE


def _decode(value: Any, owner: nn.Module) -> Any:
    if not isinstance(value, dict):
        return value.clone() if isinstance(value, Tensor) else value
    kind, inner = value[_TYPE], value["value"]
    if kind == "ndarray":
        return inner.cpu().numpy().copy()
    if kind == "dtype":
        return getattr(torch, inner)
    if kind == "device":
        return torch.device(inner)
    if kind == "optimizer":
        # torchjd's own optimizers learn the parameters of the object that holds them.
        optimizer = getattr(torch.optim, value["name"])(owner.parameters(recurse=False))
        optimizer.load_state_dict(inner)
        return optimizer
    items = [_decode(item, owner) for item in inner]
    return tuple(items) if kind == "tuple" else items
