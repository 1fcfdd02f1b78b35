"""Config folders of the user's own, as Hydra is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def search_path(own: Sequence[Path]) -> list[str]:
    """The override that lets Hydra find configs in these folders, too; none without folders."""
    return [f"hydra.searchpath=[{','.join(f'file://{path}' for path in own)}]"] if own else []
