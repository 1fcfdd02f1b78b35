"""One clock for `result.json`, TensorBoard and the console, which counts training alone."""

import json
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtlface.training import reports
from mtlface.training.module import MultiTaskModule
from mtlface.training.run import run

EPOCHS, PAUSE = 2, 0.6


class Heard:
    def __init__(self):
        self.progress = []

    def started(self, folder):
        pass

    def went_on(self, folder, progress):
        self.progress.append(progress)

    def ended(self, outcome):
        pass


@pytest.fixture(scope="module")
def slow_validation(composed, tmp_path_factory):
    """A run whose validation takes much longer than its training."""
    folder, heard = tmp_path_factory.mktemp("clock"), Heard()
    validated = MultiTaskModule.validation_step

    def slow(self, batch, batch_idx):
        time.sleep(PAUSE)
        return validated(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch, reports.heard_by(heard):
        patch.setattr(MultiTaskModule, "validation_step", slow)
        run(composed("experiment=tiny", f"trainer.max_epochs={EPOCHS}"), folder, [])
    return folder, json.loads((folder / "result.json").read_text())["budget"], heard


def test_images_per_second_are_those_of_training(slow_validation):
    _, budget, _ = slow_validation
    assert budget["images"] == EPOCHS * 16
    training_s = budget["images"] / budget["images_per_s"]
    assert 0 < training_s < budget["fit_s"] - EPOCHS * PAUSE


def test_tensorboard_shows_the_same_rate(slow_validation):
    folder, budget, _ = slow_validation
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    rates = [point.value for point in events.Scalars("run/pictures_per_s")]
    training_s = sum(16 / rate for rate in rates)
    assert budget["images"] / training_s == pytest.approx(budget["images_per_s"], rel=1e-4)


def test_the_console_counts_all_the_time_to_come(slow_validation):
    _, budget, heard = slow_validation
    (after_one,) = {p.seconds_left for p in heard.progress if p.epoch == 1.0}
    assert PAUSE < after_one < budget["fit_s"]
    assert heard.progress[-1].seconds_left == 0
