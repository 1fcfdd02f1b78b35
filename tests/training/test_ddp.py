"""Two processes of one run, on the CPU."""

import pandas as pd
import pytest
from forked_sweeps import command_line, door, run_folders

from mtlface.training.result import read_result

TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.precision=32-true"]
# 16 pictures make two batches of 6 and one of 4; the last of 3 pictures of validation has to be
# shared out with padding. The backbone cnn3 has no BatchNorm, which would see half the batch.
SIZES = [
    "data.batch_size=6",
    "data.limit={train:16,val:3,test:4}",
    "augment=basic",
    "seed=0,1",
    "-m",
]


def measured(result):
    """Without `balance/…`: gradients are watched on the first rank, over its share of a batch."""
    return {k: v for k, v in result["metrics"].items() if not k.startswith("balance/")}


@pytest.mark.slow
def test_two_processes_find_what_one_finds(faces, tmp_path):
    """In a sweep: a rank could take up all of it, and the second run find ranks of the first."""
    for name, arguments in {"one": SIZES, "two": [*SIZES, *TWO]}.items():
        line = command_line(faces, tmp_path / "cache", tmp_path / name, *arguments)
        line = line if name == "one" else [a for a in line if a != "trainer=cpu"]
        assert door(tmp_path / f"{name}.log", line) == 0, (tmp_path / f"{name}.log").read_text()

    one, two = run_folders(tmp_path / "one"), run_folders(tmp_path / "two")
    assert sorted(seed for _, seed in two) == ["seed=0", "seed=1"], "a rank has no folder"
    assert len(list((tmp_path / "two").rglob("result.json"))) == 2
    for (_, seed), folder in two.items():
        (other,) = (path for (_, s), path in one.items() if s == seed)
        found, expected = (read_result(path / "result.json") for path in (folder, other))
        assert measured(found) == pytest.approx(measured(expected), rel=1e-4, abs=1e-5)
        assert found["selection"]["epoch"] == expected["selection"]["epoch"]
        histories = [
            pd.read_csv(path / "metrics.csv").filter(regex="^(?!balance/)")
            for path in (folder, other)
        ]
        pd.testing.assert_frame_equal(*histories, rtol=1e-4, atol=1e-5)
        predicted = [pd.read_csv(path / "test_predictions.csv") for path in (folder, other)]
        assert predicted[0]["image"].tolist() == predicted[1]["image"].tolist()
        # The same pictures per second would be a lie of one rank about the work of both.
        assert found["budget"]["images"] == expected["budget"]["images"] == 3 * 16
