"""The `key=value` words of the doors that are not Hydra's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from mtlface.errors import MtlfaceError, did_you_mean

Options = TypeVar("Options")
HELP = {"-h", "--help"}
CONFIG_DIR = {"--config-dir", "-cd"}


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether a door was opened without a word, or with --help."""
    return not arguments or bool(HELP & set(arguments))


def parse(
    door: str, kind: type[Options], arguments: Sequence[str], required: Mapping[str, str]
) -> Options:
    """Reads `key=value` words into a dataclass.

    A text is taken as it stands, so that `images=*.jpg` needs no quotes inside quotes; what is
    annotated with `Any` is read as YAML (`runs=[a,b]`), and `references.gender=x` fills a dict.

    Args:
        door: The module behind `python -m mtlface.`, for error messages.
        kind: A dataclass whose fields are the keys.
        arguments: The words.
        required: The keys that must be there, each with an example.

    Raises:
        MtlfaceError: A key is unknown, missing or lacks its name, or a value is of the wrong kind.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    hints, config = get_type_hints(kind), OmegaConf.structured(kind)
    for word in arguments:
        key, equals, text = word.partition("=")
        root = key.partition(".")[0]
        if not equals or root not in known:
            raise MtlfaceError(
                f"'{word}' is no key=value that {door} knows; expected one of {', '.join(known)}."
                f"{did_you_mean(root, known)} See --help."
            )
        if key == root and get_origin(hints[root]) is dict:
            raise MtlfaceError(
                f"{word}: expected a name after {key}, found none; write '{key}.<name>={text}'."
            )
        try:
            value = OmegaConf.from_dotlist([f"value={text}"]).value if hints[root] is Any else text
            OmegaConf.update(config, key, None if text == "null" else value)
        except (OmegaConfBaseException, ValueError) as error:
            raise MtlfaceError(f"{word} cannot be read: {str(error).splitlines()[0]}") from error
    for key, example in required.items():
        if not config[key]:
            raise MtlfaceError(f"{key}= is missing, for example {key}={example}. See --help.")
    found: Options = OmegaConf.to_object(config)  # type: ignore[assignment]
    return found


def names(text: str) -> list[str]:
    """The names in a text with commas between, in brackets or not."""
    text = text.strip()
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [name.strip() for name in inside.split(",") if name.strip()]


def with_config_dir(arguments: Sequence[str]) -> list[str]:
    """Spells `--config-dir FOLDER`, `--config-dir=FOLDER` and `-cd FOLDER` as `config_dir=FOLDER`.

    Raises:
        MtlfaceError: No folder follows.
    """
    words, found = [], []
    waiting = iter(arguments)
    for word in waiting:
        flag, equals, folder = word.partition("=")
        if flag in CONFIG_DIR:
            folder = folder if equals else next(waiting, "")
        elif flag != "config_dir":
            words.append(word)
            continue
        if not folder:
            raise MtlfaceError(f"{flag} names no folder, for example {flag}=my_conf.")
        found.append(folder.strip("[]"))
    return [*words, f"config_dir={','.join(found)}"] if found else words


def config_folders(text: str) -> list[Path]:
    """The folders that `config_dir=a,b` names.

    Raises:
        MtlfaceError: One is not there.
    """
    folders = [Path(folder).expanduser().absolute() for folder in names(text)]
    for folder in folders:
        if not folder.is_dir():
            raise MtlfaceError(f"config_dir={folder}: there is no such folder.")
    return folders


def one_of(key: str, value: str, known: Sequence[str]) -> str:
    """Returns a value that is one of the known ones.

    Raises:
        MtlfaceError: It is not.
    """
    if value not in known:
        raise MtlfaceError(
            f"{key}={value} is not known; expected one of {', '.join(known)}."
            f"{did_you_mean(value, [*known])}"
        )
    return value
