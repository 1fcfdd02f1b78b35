"""Writes docs/configs.md from the YAML files: `python tools/config_reference.py`."""

from pathlib import Path

from mtlface.menu import groups, options

ROOT = Path(__file__).resolve().parents[1]
TITLE = """# Every config group

Made by `python tools/config_reference.py` from the first comment of each file in `conf/`; a test
holds that it is current. On the command line a choice is `group=option`, a single value
`key=value`; `--cfg job` prints what a command composes to.
"""


def reference(conf: Path) -> str:
    """The page: a table for each group."""
    parts = [TITLE]
    for group in groups(conf):
        rows = [f"| `{name}` | {text} |" for name, text in options(conf, group).items()]
        table = ["| Option | When to choose it |", "|---|---|", *rows]
        parts.append("\n".join([f"## `{group}`", "", *table, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "docs" / "configs.md").write_text(reference(ROOT / "conf"), encoding="utf-8")
