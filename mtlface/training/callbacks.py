"""What happens around the steps: seeds, checkpoints, history, freezing, alarms."""

from __future__ import annotations

import csv
import io
import logging
import math
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mtlface import preemption
from mtlface.atomic import write_text
from mtlface.errors import DivergedError
from mtlface.models import freeze, unfreeze
from mtlface.training.checkpoint_writer import CheckpointWriter
from mtlface.training.module import MultiTaskModule
from mtlface.training.schedule import rescale
from mtlface.training.seeds import derived_seed

log = logging.getLogger(__name__)


class EpochSeed(Callback):
    """Keys all randomness of an epoch (dropout, sampling in balancers) by (seed, epoch, rank).

    A resumed epoch then draws what it would have drawn without the interruption, with no state of
    any generator in the checkpoint.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds torch's generators."""
        torch.manual_seed(derived_seed(self.seed, trainer.current_epoch, trainer.global_rank))


class LastCheckpoint(Callback):
    """Saves `last.ckpt` between two epochs, when everything of the epoch is settled.

    Lightning's own last checkpoint is written before the epoch's learning rate step, which a
    resumed run would then miss.

    Args:
        writer: Keeps it, and writes it now and then; here it is told when the run ends.
    """

    def __init__(self, writer: CheckpointWriter) -> None:
        self.writer = writer
        self._first_epoch = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the epoch that the checkpoint which is there already was written for."""
        self._first_epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what a resumed run starts this epoch from."""
        if trainer.current_epoch == self._first_epoch:
            return
        progress = trainer.fit_loop.epoch_progress
        counts = (progress.current, progress.total)
        # Lightning would take the epoch for one that was under way, and its batches, which are
        # those of the epoch before, for done: it would skip the whole of it.
        for count in counts:
            count.ready -= 1
        try:
            trainer.save_checkpoint(self.writer.files.last, weights_only=False)
        finally:
            for count in counts:
                count.ready += 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what is kept."""
        self.writer.finish()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Writes what is kept: SIGTERM, Ctrl-C and errors cost a run no more than its epoch."""
        try:
            self.writer.write()
        except OSError as error:  # which may be what ends the run
            log.warning("The last checkpoint could not be written: %s", error)


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`, and still knows how good it is after the run folder was moved."""

    on_train_batch_end = Callback.on_train_batch_end  # epochs are compared, not steps

    def state_dict(self) -> dict[str, Any]:
        """Names without their folder: checkpoints travel, and folders have users' names in them."""

        def name(path: str) -> str:
            return Path(path).name if path else path

        found = super().state_dict()
        paths = {key: name(found[key]) for key in ("best_model_path", "kth_best_model_path")}
        best = {name(path): score for path, score in found["best_k_models"].items()}
        return {**found, **paths, "best_k_models": best, "dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint; Lightning would forget the best score of another folder."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath}
        )
        self.current_score = state_dict["current_score"]  # which Lightning leaves out


class StopAtStep(Callback):
    """Lets a wish to stop wait for the end of the step while training is on."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on Lightning looks for SIGTERM after every step."""
        preemption.wait_for_step(True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No more steps to wait for."""
        preemption.wait_for_step(False)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """No more steps to wait for."""
        preemption.wait_for_step(False)


class Finetuning(Callback):
    """Freezes the trunk for the first epochs, all of them, or none.

    Args:
        frozen_epochs: Epochs in which only heads learn; None for all.
        unfrozen_lr: The learning rate of the network once the trunk learns too, in the place of
            `optimizer.lr`; a schedule goes on, scaled to it. What a balancer learns itself keeps
            its own rate. None changes nothing.
        batchnorm_eval: Whether the frozen trunk's BatchNorm stays in eval mode.
    """

    def __init__(
        self,
        frozen_epochs: int | None,
        unfrozen_lr: float | None = None,
        batchnorm_eval: bool = True,
    ) -> None:
        self.frozen_epochs = frozen_epochs
        self.unfrozen_lr = unfrozen_lr
        self.batchnorm_eval = batchnorm_eval

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freezes or unfreezes by the epoch alone, so that a resumed run does the same."""
        assert isinstance(pl_module, MultiTaskModule)
        if self.frozen_epochs is None or trainer.current_epoch < self.frozen_epochs:
            for part in pl_module.trunks:
                freeze(part, self.batchnorm_eval)
            return
        for part in pl_module.trunks:
            unfreeze(part)
        if self.unfrozen_lr is not None and trainer.current_epoch == self.frozen_epochs:
            optimizer, epoch = trainer.optimizers[0], trainer.current_epoch + 1
            before = float(optimizer.defaults["lr"])
            if trainer.is_global_zero and before != self.unfrozen_lr:
                # Told, or a user who sets optimizer.lr where nothing is ever frozen would wonder.
                found = f"finetune.unfrozen_lr={self.unfrozen_lr:g} instead of {before:g}"
                log.info("The trunk learns from epoch %d on, at %s.", epoch, found)
            own = {id(parameter) for parameter in pl_module.balancer.parameters()}
            for group in optimizer.param_groups:
                if not any(id(parameter) in own for parameter in group["params"]):
                    rescale(group, before, self.unfrozen_lr)


class StopOnBadLoss(Callback):
    """Ends a run whose loss is no longer a number, naming the task and the step.

    Looking costs a wait for the device, so it looks every few steps; the step that it names is
    exact all the same.

    Args:
        every: Steps between two looks.
        writer: Writes the last good checkpoint, to be named.
    """

    def __init__(self, every: int, writer: CheckpointWriter) -> None:
        self.every, self.writer = every, writer

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Looks every few steps."""
        if trainer.global_step % self.every == 0:
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the end of the epoch."""
        self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, MultiTaskModule)
        found = pl_module.train_losses.bad()
        split = "training"
        if found is None:
            # The last step of an epoch can spoil the weights without a loss that shows it.
            found, split = pl_module.val_losses.bad(), "validation"
        if found is None:
            return
        name, step = found
        self.writer.write()
        files = self.writer.files
        good = [str(path) for path in (files.last, files.best) if path.exists()]
        raise DivergedError(
            f"The {split} loss of '{name}' is not finite since step {step} (epoch "
            f"{trainer.current_epoch}). Last good checkpoint: "
            f"{good[0] if good else 'none yet'}. Lower optimizer.lr, clip with "
            "trainer.gradient_clip_val=1, or weigh the task less."
        )


class TrainLosses(Callback):
    """Logs an epoch's mean training losses.

    A callback, because Lightning calls the module's own hook after all callbacks: `History` would
    see the losses of the epoch before.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs them."""
        assert isinstance(pl_module, MultiTaskModule)
        pl_module.log_dict(pl_module.train_losses.compute("train", trainer.strategy))


class History(Callback):
    """Keeps every epoch's metrics in `metrics.csv`.

    They are part of the checkpoint: a resumed run goes on where it was, without doubled rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.rows = state["rows"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the epoch's row."""
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch, **dict(sorted(found.items()))})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        columns = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: "" if math.isnan(v) else repr(v) for k, v in row.items()})
        write_text(self.path, text.getvalue())
