"""Any change to a file of a run gives a report, or one clear error: never a stack trace."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mtlface.compare import main as compare
from mtlface.errors import MtlfaceError

FILES = ("result.json", "test_predictions.csv", "metrics.csv")
VALUES = (
    None, True, -1, 0, 1e308, -1e308, 2**62, "", "x", "nan", "-inf", "=1+1", "é" * 40, [], [1, "a"],
    {}, {"a": 1}, [[]], {"celeba": 5}, {"test": "many"}, 0.5, "0", "None", "\u202egnp.exe",
)  # fmt: skip
CELLS = ("", "nan", "inf", "-1", "1e400", "x", "=cmd()", '"', "a,b", "é", "\x00", "0.5", "male")


@pytest.fixture(scope="module")
def arms(arms_writer, tmp_path_factory):
    return arms_writer(tmp_path_factory.mktemp("arms"), seeds=range(3))


def places(node, path=()):
    """Every place of a JSON value."""
    yield path
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from places(value, (*path, key))


def changed_json(text, rng):
    content = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        path = [p for p in places(content) if p]
        *parents, last = path[rng.integers(len(path))]
        node = content
        for key in parents:
            node = node[key]
        if rng.random() < 0.2:
            del node[last]
        else:
            node[last] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(content)


def changed_csv(text, rng):
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.integers(1, 5)):
        # A header as often as any other row.
        row = rows[0] if rng.random() < 0.3 else rows[rng.integers(len(rows))]
        if rng.random() < 0.2 and len(row) > 1:
            del row[rng.integers(len(row))]
        else:
            row[rng.integers(len(row))] = CELLS[rng.integers(len(CELLS))]
    if rng.random() < 0.2:
        del rows[rng.integers(len(rows))]
    if rng.random() < 0.1:
        rows.append(rows[-1])
    return "\n".join(",".join(row) for row in rows) + "\n"


def changed_bytes(content, rng):
    data = bytearray(content)
    kind = rng.integers(3)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    for _ in range(rng.integers(1, 8)):
        at = int(rng.integers(len(data)))
        if kind == 1:
            data[at] ^= 1 << int(rng.integers(8))
        else:
            data[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 9), dtype=np.uint8))
    return bytes(data)


def draw(arms, folder, seed):
    """Changes one file of a copy of the runs, and compares them."""
    rng = np.random.default_rng(seed)
    shutil.copytree(arms, folder)
    files = sorted(path for name in FILES for path in folder.rglob(name))
    path = files[rng.integers(len(files))]
    before = path.read_bytes()
    if rng.random() < 0.3:
        path.write_bytes(changed_bytes(before, rng))
    else:
        change = changed_json if path.suffix == ".json" else changed_csv
        path.write_text(change(before.decode(), rng))
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            assert compare([f"runs={folder}", "figures=false"]) == 0
    except MtlfaceError as error:
        assert len(str(error)) < 2000
    except BaseException as error:
        raise AssertionError(f"draw {seed} changed {path}: {error!r}") from error
    assert "\x1b]" not in said.getvalue() and "\u202e" not in said.getvalue()
    shutil.rmtree(folder)
    return Path(path).name


def test_a_few_changes(arms, tmp_path):
    assert {draw(arms, tmp_path / "runs", seed) for seed in range(25)} == set(FILES)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_changes(arms, tmp_path):
    for seed in range(100, 2100):
        draw(arms, tmp_path / "runs", seed)
