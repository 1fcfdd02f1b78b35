"""The pretend device above autograd: it answers `.device`, `.to`, factories and the like."""

from __future__ import annotations

import torch
from pretend_kernels import has_storage
from pretend_places import CPU, CUDA, DEVICE, HOST, PINNED
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

# Factories that copy what Python holds.
COPYING = {"tensor", "as_tensor", "asarray", "from_numpy", "new_tensor"}
FACTORIES = {
    "zeros", "ones", "empty", "full", "empty_strided", "arange", "eye", "tensor", "as_tensor",
    "rand", "randn", "randint", "randperm",
}  # fmt: skip
# Factories that put their result where their first argument is.
LIKE = {f"new_{name}" for name in ("tensor", "zeros", "ones", "full", "empty")} | {
    f"{name}_like" for name in ("zeros", "ones", "full", "empty", "rand", "randn")
}


class Functions(TorchFunctionMode):
    """Above autograd: what code can ask a tensor, and where it can send one."""

    def __init__(self, places, log):
        super().__init__()
        self.places, self.log = places, log
        self.answers = {
            Tensor.device.__get__: lambda t: CUDA if places.on_device(t) else t.device,
            Tensor.is_cuda.__get__: places.on_device,
            Tensor.is_cpu.__get__: lambda t: not places.on_device(t),
            Tensor.get_device: lambda t: 0 if places.on_device(t) else -1,
            Tensor.is_pinned: lambda t, *_: places.of(t) == PINNED,
            Tensor.pin_memory: self._pin,
            Tensor.cpu: lambda t, *_: self._move(t, HOST, non_blocking=False),
        }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func in self.answers:
            return self.answers[func](*args)
        if func is Tensor.cuda:
            return self._move(args[0], DEVICE, kwargs.get("non_blocking", False))
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        if name in ("numpy", "__array__") and self.places.on_device(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        if func is Tensor.tolist and self.places.on_device(args[0]):
            self.log.wait("copies from the device", "tolist")
        return self._call(func, name, args, kwargs)

    def _call(self, func, name, args, kwargs):
        """Any other function, of which some make tensors."""
        place = None
        if kwargs.get("device") is not None:
            place = DEVICE if is_cuda(kwargs["device"]) else HOST
            if place == DEVICE:
                kwargs["device"] = CPU
        if name not in ("device", "_parse_to") and any(map(is_cuda, args)):
            place = DEVICE
            args = tuple(CPU if is_cuda(a) else a for a in args)
        pinned = kwargs.pop("pin_memory", False)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        like = name in LIKE and place is None and self.places.on_device(first)
        from_host = first is None or name == "new_tensor" or not self.places.on_device(first)
        if name in COPYING and (like or (place == DEVICE and from_host)):
            self.log.wait("copies to the device", name)
        self.log.factories += name in FACTORIES
        try:
            result = func(*args, **kwargs)
        finally:
            self.log.factories -= name in FACTORIES
        if like:
            place = DEVICE
        elif pinned and place != DEVICE:
            place = PINNED
        for leaf in tree_leaves(result) if place else ():
            if isinstance(leaf, Tensor) and has_storage(leaf):
                self.places.put(leaf, place)
        return result

    def _pin(self, tensor, *_):
        if self.places.on_device(tensor):
            raise RuntimeError("only dense CPU tensors can be pinned")
        pinned = tensor.clone()
        self.places.put(pinned, PINNED)
        return pinned

    def _to(self, tensor, *args, non_blocking=False, **kwargs):
        device, rest = kwargs.pop("device", None), []
        for argument in args:
            if isinstance(argument, torch.device | str):
                device = argument
            elif isinstance(argument, Tensor):
                device = CUDA if self.places.on_device(argument) else CPU
                rest.append(argument.dtype)
            elif isinstance(argument, bool):
                non_blocking = argument
            elif argument is not None:
                rest.append(argument)
        if device is not None:
            tensor = self._move(tensor, DEVICE if is_cuda(device) else HOST, non_blocking)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        return tensor.to(*rest, **kwargs) if rest or kwargs else tensor

    def _move(self, tensor, place, non_blocking):
        here = self.places.of(tensor)
        if (here == DEVICE) == (place == DEVICE):
            return tensor
        if place == HOST:
            # Without a wait the values would be read before they are there.
            self.log.wait("reads too early" if non_blocking else "copies from the device", "to")
        elif not (non_blocking and here == PINNED):
            self.log.wait("copies to the device", "to")
        moved = tensor.clone() if tensor.requires_grad or place == HOST else tensor.detach().clone()
        self.places.put(moved, place)
        return moved


def is_cuda(argument):
    if isinstance(argument, torch.device):
        return argument.type == "cuda"
    return isinstance(argument, str) and argument.partition(":")[0] == "cuda"
