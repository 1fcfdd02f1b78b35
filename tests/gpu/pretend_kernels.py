"""The pretend device below autograd: it marks results, counts kernels and refuses mixtures."""

from __future__ import annotations

import torch
from pretend_places import DEVICE, HOST, UNDECIDED, MixedDevicesError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _aten(names):
    return {f"aten.{name}" for name in names.split()}


# Operations for whose result the host waits: torch.cuda.set_sync_debug_mode complains of them.
WAITING = _aten(
    "_local_scalar_dense nonzero masked_select _unique2 unique_dim unique_consecutive "
    "unique_dim_consecutive bincount equal is_nonzero repeat_interleave _linalg_eigh "
    "_linalg_solve_ex _linalg_svd linalg_cholesky_ex linalg_inv_ex linalg_lstsq histc "
    "_linalg_det linalg_lu_factor_ex masked_scatter"
)
INDEXING = _aten("index _unsafe_index index_put_ index_put _index_put_impl_")
# Operations that take tensors of both devices.
MIXING = INDEXING | _aten(
    "_to_copy copy_ _pin_memory set_ lift_fresh _has_compatible_shallow_copy_type "
    "_has_same_storage_numel"
)
# Operations without a kernel; views have none either.
KERNELLESS = _aten(
    "empty empty_strided empty_like new_empty new_empty_strided lift_fresh detach "
    "_unsafe_view alias set_ resize_"
)
FACTORIES = _aten("zeros ones empty full empty_strided arange eye scalar_tensor")


class Kernels(TorchDispatchMode):
    """Below autograd: every operation, in forward and backward passes and in optimizers."""

    def __init__(self, places, log):
        super().__init__()
        self.places, self.log = places, log

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket._qualified_op_name.replace("::", ".")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = any(map(self.places.on_device, tensors))
        if on_device:
            self._check(name, tensors)
            self._note_waits(name, args, kwargs)
            profiled = name.startswith(("profiler", "prim.device"))
            if not (func.is_view or name in KERNELLESS or profiled):
                self.log.launches[name] += 1
        result = func(*args, **kwargs)
        if name == "aten.scalar_tensor" or (name in FACTORIES and not self.log.factories):
            self.places.put(result, UNDECIDED)
        to_host = name == "aten.copy_" and not self.places.on_device(args[0])
        if on_device and name != "aten._local_scalar_dense" and not to_host:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and has_storage(leaf):
                    self.places.put(leaf, DEVICE)
        return result

    def _check(self, name, tensors):
        if name in MIXING:
            return
        for tensor in tensors:
            if self.places.of(tensor) == UNDECIDED and tensor.dim() > 0:
                self.places.put(tensor, DEVICE)
        # CUDA takes scalars of the host as arguments of its kernels.
        if any(t.dim() > 0 and not self.places.on_device(t) for t in tensors):
            found = [(tuple(t.shape), self.places.of(t)) for t in tensors]
            raise MixedDevicesError(f"{name} got tensors of both devices: {found}")

    def _note_waits(self, name, args, kwargs):
        if name in WAITING:
            self.log.wait("waits for a result", name)
        elif name == "aten.where":
            places = [self.places.of(a) for a in args if isinstance(a, Tensor)]
            if any(place not in (DEVICE, UNDECIDED) for place in places):
                self.log.wait("copies a scalar to the device", name)
        elif name in INDEXING:
            self._note_indexing(name, args)
        elif name == "aten.copy_":
            self._note_copy(*args[:2], args[2] if len(args) > 2 else kwargs.get("non_blocking"))

    def _note_indexing(self, name, args):
        if not self.places.on_device(args[0]):
            raise MixedDevicesError(f"{name}: a tensor of the host is indexed by the device's")
        for index in (i for i in args[1] if isinstance(i, Tensor)):
            if index.dtype in (torch.bool, torch.uint8):
                scalar = "put" in name and args[2].numel() == 1
                # Filling with a scalar of the host is one masked kernel.
                if not (scalar and not self.places.on_device(args[2])):
                    self.log.wait("waits for a mask", name)
            if not self.places.on_device(index):
                self.log.wait("copies an index to the device", name)

    def _note_copy(self, target, source, non_blocking):
        to, of = self.places.of(target), self.places.of(source)
        if to == UNDECIDED:
            to = DEVICE if of == DEVICE else HOST
            self.places.put(target, to)
        if to == DEVICE and of != DEVICE and not (non_blocking and of == "pinned"):
            self.log.wait("copies to the device", "aten.copy_")
        if to != DEVICE and of == DEVICE:
            self.log.wait("copies from the device", "aten.copy_")


def has_storage(tensor):
    try:
        tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):  # sparse and functional tensors
        return False
    return True
