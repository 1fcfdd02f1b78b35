"""A user's mistake stays itself when Hydra builds the object that notices it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import InstantiationException

from mtlface.errors import MtlfaceError, how_to_install
from mtlface.values import printable

UNKNOWN_SETTING = re.compile(
    r"(?P<what>\w+)(\.__init__)?\(\) got an unexpected keyword argument '(?P<name>\w+)'"
)
MISSING_SETTING = re.compile(
    r"(?P<what>\w+)(\.__init__)?\(\) missing \d+ required [\w-]+ arguments?: (?P<names>'[^)]*')"
)


@contextmanager
def unwrapped(section: str | None = None) -> Iterator[None]:
    """Raises a `MtlfaceError` for what a user can fix in an `InstantiationException` of Hydra's.

    Args:
        section: The section of the config that is built from its values alone: whatever its
            object refuses is a value of the user's.

    Raises:
        MtlfaceError: A constructor refused its settings, or a ``_target_`` cannot be imported.
    """
    try:
        yield
    except TypeError as error:  # of what Hydra builds in part, and we to the end
        if (reason := _misfit(str(error), None)) is not None:
            raise MtlfaceError(reason) from error
        raise
    except InstantiationException as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, MtlfaceError):
            raise cause from None
        key = re.search(r"full_key: (\S+)", str(error))
        if (reason := _misfit(str(cause), key[1] if key else section)) is not None:
            raise MtlfaceError(reason) from error
        if isinstance(cause, ImportError):
            raise _not_importable(str(error), cause) from error
        place = section or (key[1] if key else None)
        # A constructor gets what the config says and nothing else.
        of_values = isinstance(cause, TypeError | ValueError | LookupError | AttributeError)
        if section is not None or (of_values and place is not None):
            raise MtlfaceError(
                f"{place}: its settings are refused: {printable(str(cause or error))} Correct "
                f"the keys of {place} on the command line or in its file."
            ) from error
        raise


def _misfit(message: str, key: str | None) -> str | None:
    """What a user reads of Python's "Adam.__init__() got an unexpected keyword argument 'x'"."""
    if (refused := UNKNOWN_SETTING.search(message)) is not None:
        where = f"{key}.{refused['name']}" if key else refused["name"]
        return (
            f"{where}: {refused['what']} has no setting '{refused['name']}'. Correct the key or "
            "leave it out."
        )
    if (absent := MISSING_SETTING.search(message)) is not None:
        return (
            f"{key or 'The config'}: {absent['what']} needs {absent['names']}. Leave out what "
            "takes it away, or write it again."
        )
    return None


def _not_importable(message: str, cause: ImportError) -> MtlfaceError:
    """What a user reads of Hydra's "Error locating target 'x.Y', … full_key: a.b"."""
    target = re.search(r"target '([^']+)'", message)
    key = re.search(r"full_key: (\S+)", message)
    missing = cause.__cause__.name if isinstance(cause.__cause__, ModuleNotFoundError) else None
    mend = how_to_install(missing or "") or (
        " Check its spelling; a module of your own lies in the folder where you start the command."
    )
    return MtlfaceError(
        f"{key[1] if key else 'The config'} asks for {target[1] if target else 'a target'}, which "
        f"cannot be imported ({cause.__cause__ or cause}).{mend}"
    )
