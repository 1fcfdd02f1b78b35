"""A user's mistake stays itself when Hydra builds the object that notices it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import InstantiationException

from mtlface.errors import MtlfaceError


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raises the `MtlfaceError` that Hydra's `InstantiationException` was made of, if it was one.

    Raises:
        MtlfaceError: A constructor refused its settings.
    """
    try:
        yield
    except InstantiationException as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, MtlfaceError):
            raise cause from None
        raise
