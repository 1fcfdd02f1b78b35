"""A CUDA device to test with where there is none.

Within `pretend_cuda()` ordinary CPU tensors say that they lie on `cuda:0`. Values, control flow,
backward passes and solvers are real; operations that mix devices are refused, every wait of the
host for the device is logged with its line of code, and kernel launches are counted. The modes of
torch that do this hold for the thread that enters them.

It cannot see the speed of kernels, cuDNN's layouts, the lifetime of pinned buffers, NCCL, CUDA
autocast's own lists of operations, or Triton's code.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from unittest import mock

import torch
import torch.nn.utils.clip_grad
from pretend_functions import Functions
from pretend_kernels import Kernels
from pretend_places import CPU, Log, MixedDevicesError, Places

__all__ = ["MixedDevicesError", "pretend_cuda"]

GIBIBYTE = 1 << 30


class Event:
    """Marks a moment; here all that was asked for is done already."""

    def __init__(self, *_, **__):
        pass

    def record(self, *_):
        pass

    def query(self):
        return True

    def synchronize(self):
        pass


@contextlib.contextmanager
def pretend_cuda(free=80 * GIBIBYTE, reserved=0, bf16=True, gpus=1):
    """Yields the log of a device, one of `gpus`.

    It has `free` bytes, of which torch's own cache holds `reserved` ones back. Without `bf16` it
    has that in emulation only, as a T4 does.
    """
    places, log = Places(), Log()
    properties = SimpleNamespace(
        name="NVIDIA H100 (pretend)", total_memory=free, major=9, minor=0, multi_processor_count=132
    )
    cache = SimpleNamespace(bytes=reserved)
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: gpus,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: log.wait("synchronizes", "cuda"),
        "mem_get_info": lambda device=None: (free - cache.bytes, free),
        "empty_cache": lambda: setattr(cache, "bytes", 0),
        "memory_reserved": lambda device=None: cache.bytes,
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "get_device_name": lambda device=None: properties.name,
        "get_device_capability": lambda device=None: (properties.major, properties.minor),
        "get_device_properties": lambda device=None: properties,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "_lazy_init": lambda: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "get_rng_state_all": list,
        "is_bf16_supported": lambda including_emulation=True: bf16 or including_emulation,
        "is_current_stream_capturing": lambda: False,
        "device": contextlib.nullcontext,
        "Event": Event,
    }
    patches = [mock.patch.object(torch.cuda, name, answer) for name, answer in answers.items()]
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        if hasattr(torch.optim.Optimizer, name):  # torch 2.15 and 2.11
            patches.append(mock.patch.object(torch.optim.Optimizer, name, lambda self: None))
    patches += [
        mock.patch.object(torch.nn.utils.clip_grad, "_group_tensors_by_device_and_dtype", _grouped),
        mock.patch.object(torch.autocast, "__init__", _autocast),
    ]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        stack.enter_context(Functions(places, log))
        stack.enter_context(Kernels(places, log))
        yield log


_group = torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype
_init = torch.autocast.__init__


def _grouped(lists, with_indices=False):
    """torch's own, which looks at devices in C++, where there is only the host."""
    lists = [list(tensors) for tensors in lists]
    devices = {t.device for tensors in lists for t in tensors if t is not None}
    if len(devices) > 1:
        raise MixedDevicesError(f"clip_grad got tensors of {devices}")
    device = next(iter(devices), CPU)
    return {(device, key[1]): value for key, value in _group(lists, with_indices).items()}


def _autocast(self, device_type, dtype=None, enabled=True, cache_enabled=None):
    """The CPU's autocast in the place of CUDA's."""
    if device_type == "cuda":
        device_type, dtype = "cpu", dtype or torch.bfloat16
    _init(self, device_type, dtype, enabled, cache_enabled)
