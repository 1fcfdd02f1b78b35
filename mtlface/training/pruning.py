"""Stops trials of a search that do worse than the others did, at the end of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from mtlface.training.journal import open_study
from mtlface.training.pruned import Pruned
from mtlface.training.selection import Monitor


class Prune(Callback):
    """Tells the search each epoch's monitor, and stops below the median of the trials before.

    The median rule is Optuna's `MedianPruner`: a trial ends whose best value so far is below the
    median of what the others had at this epoch. A last epoch is never the reason: it is paid for.

    Args:
        monitor: What the search goes by.
        trial: The config's section `trial`: which search this is a trial of, its number, and
            `prune` with the trials and epochs that are let through first.
    """

    def __init__(self, monitor: Monitor, trial: Mapping[str, Any]) -> None:
        self.monitor, self.trial = monitor, trial

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells and asks.

        Raises:
            Pruned: The trial is to end here.
        """
        hopeless = False
        if trainer.is_global_zero:
            hopeless = self._tell(trainer) and trainer.current_epoch + 1 < (trainer.max_epochs or 0)
        if trainer.strategy.broadcast(hopeless):  # all ranks end, or none
            raise Pruned

    def _tell(self, trainer: Trainer) -> bool:
        from optuna.pruners import MedianPruner

        rule = self.trial["prune"]
        pruner = MedianPruner(rule["after_trials"], rule["after_epochs"])
        study = open_study(self.trial["journal"], self.trial["study"])
        value = float(trainer.callback_metrics[self.monitor.name])
        number, epoch = self.trial["number"], trainer.current_epoch
        # By its own methods: a `Trial` object would draw settings again.
        storage, known = study._storage, study.get_trials(deepcopy=False)[number]
        better = value if self.monitor.mode == "max" else -value
        storage.set_trial_intermediate_value(known._trial_id, epoch, better)
        return bool(pruner.prune(study, study.get_trials(deepcopy=False)[number]))
