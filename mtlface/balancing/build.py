"""Building torchjd's objects from a config that does not know the number of tasks."""

import copy
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mtlface.errors import MtlfaceError

# Constructors ask for the number of losses under one of these names.
_SIZES = ("n_tasks", "shape")


def build(
    factory: Callable[..., nn.Module], n_tasks: int, present: Tensor | None = None
) -> nn.Module:
    """Calls a torchjd constructor with the number of tasks, if it asks for one.

    Args:
        factory: The constructor, usually a `functools.partial` that Hydra made from a config with
            ``_partial_: true``. Its arguments are copied, so that objects built from it share no
            state.
        n_tasks: Number of tasks T.
        present: ``(T,)`` bool. If given, the object is built for these tasks only: arguments
            that are tensors with one value a task are cut to them.

    Raises:
        MtlfaceError: The constructor lacks an optional package or refuses its arguments, or an
            object came instead of a constructor.
    """
    if isinstance(factory, nn.Module):
        raise MtlfaceError(
            f"balancing: expected a constructor, found the finished object {factory}. It is built "
            "once the number of tasks is known: add `_partial_: true` beside its `_target_`."
        )
    args: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    function = factory
    if isinstance(factory, functools.partial):
        function, args, keywords = factory.func, factory.args, copy.deepcopy(factory.keywords)
    if present is not None:
        keywords = {name: _cut(value, present) for name, value in keywords.items()}
    size = n_tasks if present is None else int(present.sum())
    asked = set(_SIZES) & set(inspect.signature(function).parameters)
    name = getattr(function, "__qualname__", str(function))
    try:
        return function(*args, **{**keywords, **dict.fromkeys(asked, size)})
    except ImportError as error:
        hint = re.sub(r"torchjd\[\w+\]", "mtlface[balancing]", str(error))
        raise MtlfaceError(f"balancing: {hint}") from error
    except (TypeError, ValueError) as error:
        raise MtlfaceError(
            f"balancing: {name} cannot be built for {size} tasks: {error}"
        ) from error


def _cut(value: Any, present: Tensor) -> Any:
    if isinstance(value, Tensor) and value.shape == present.shape:
        return value[present]
    return value
