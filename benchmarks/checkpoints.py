"""The share of an epoch that goes into checkpoints: S0's improved arm, trained as users train it.

What counts is the time that training waits for them, and the CPU time of the thread that writes
them, as on a machine with all cores busy that is taken from training as well.

python -m benchmarks.checkpoints
"""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from benchmarks import workload
from benchmarks.measure import headline, options, report, shown, spread
from mtlface.training import build
from mtlface.training.checkpoint_writer import CheckpointWriter

EPOCHS = 5  # the first one warms up


class TimedWriter(CheckpointWriter):
    """Counts the seconds that training waits in it, and the CPU seconds of its thread."""

    waited = written = 0.0

    @override
    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        started = time.perf_counter()
        super().save_checkpoint(*args, **kwargs)
        self.waited += time.perf_counter() - started

    @override
    def _save(self, best: Any, last: Any) -> None:
        started = time.thread_time()
        super()._save(best, last)
        self.written += time.thread_time() - started


class Shares(Callback):
    """Seconds of checkpoints ÷ seconds, of each epoch but the first."""

    def __init__(self, writer: TimedWriter) -> None:
        self.writer = writer
        self.found: list[float] = []
        self._mark: tuple[float, float] | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """From one epoch's first step to the next one's."""
        if batch_idx:
            return
        now, spent = time.perf_counter(), self.writer.waited + self.writer.written
        if self._mark is not None:
            self.found.append((spent - self._mark[1]) / (now - self._mark[0]))
        self._mark = now, spent


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=EPOCHS).parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = workload.here()
    epochs = 3 if chosen.quick else chosen.repeats + 2
    cfg = workload.configured(
        "experiment=celeba_landmarks_gender_improved",
        "profile=demo",
        "monitor=loss",  # the constant predictor is no part of this
        "trainer.enable_progress_bar=false",
        f"trainer.max_epochs={epochs}",
        *(["data.limit={train: 32, val: 16, test: 16}"] if chosen.quick else []),
    )
    module, datamodule = workload.built(cfg)
    with tempfile.TemporaryDirectory() as folder:
        writer = TimedWriter(build.RunFolder(Path(folder)))
        build.CheckpointWriter = lambda _: writer  # type: ignore[assignment,misc]
        trainer = build.build_trainer(cfg, Path(folder), module.monitor, start_step=0)
        trainer.callbacks.append(shares := Shares(writer))  # type: ignore[attr-defined]
        trainer.fit(module, datamodule)
        for logger in trainer.loggers:
            logger.close()  # type: ignore[attr-defined]
    percent = spread([100 * share for share in shares.found[1:]])
    title = "checkpoints' share of an epoch, S0's improved arm, demo, on a CPU"
    report(
        "checkpoints",
        {"percent of an epoch": percent, "protocol": {"epochs": epochs}},
        [[title, shown(percent, unit=" %")]],
        ["measure", "result (range)"],
        where,
        [headline(title, percent, " %", "≤ 2 %")],
        keep=not chosen.quick,
    )


if __name__ == "__main__":
    main()
