"""Where a search writes down its trials: Optuna's journal, a file that processes share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study


def open_study(journal: str | Path, name: str) -> Study:
    """The study of this name, new where the journal has none; more of its value is better.

    Args:
        journal: The journal's file, in a folder that exists.
        name: What the study is called.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )


def mend(journal: Path) -> None:
    """Cuts off a last line that a machine which went down left half written.

    Optuna would take the journal for broken. Nobody else may be writing.
    """
    if journal.is_file():
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with journal.open("r+b") as file:
                file.truncate(whole)
