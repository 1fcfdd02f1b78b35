"""The LightningModule: one backbone, one or more tasks, one balancer. Nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from mtlface.balancing import Balanced, Balancer
from mtlface.models import Backbone, Freezable, Unbranched, untracked_batchnorm
from mtlface.tasks import Score, Task
from mtlface.tasks.task import Batch
from mtlface.training.loss_meter import LossMeter
from mtlface.training.schedule import Schedule, as_scheduled
from mtlface.training.selection import SKILL, monitor_of
from mtlface.training.unwrapped import unwrapped

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]


class MultiTaskModule(LightningModule):
    """Learns every task from the features of one backbone.

    Single-task learning is this module with one task.

    Args:
        backbone: Images (B, 3, H, W) to the features that all tasks share, (B, …).
        tasks: What is learnt.
        balancer: Makes one loss of the tasks' losses.
        optimizer: Builds the optimizer from the parameters.
        schedule: How the learning rate changes, or None.
        monitor: What chooses the best epoch and drives a plateau schedule, by the name under which
            validation logs it.
        mode: `min` or `max`, to insist on its direction; by default its own.
        scores: Metrics across tasks, by name.
        branches: For each task a module from the shared features (B, …) and the images to the
            features (B, D) that its head reads; by default they are the same.

    Raises:
        MtlfaceError: The monitor is nothing that validation measures, or its direction is wrong.
    """

    def __init__(
        self,
        backbone: Backbone,
        tasks: Sequence[Task[Any]],
        balancer: Balancer,
        optimizer: OptimizerFactory,
        schedule: Schedule | None = None,
        monitor: str = SKILL,
        mode: str | None = None,
        scores: Mapping[str, Score] | None = None,
        branches: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        if branches is None:
            branches = {task.name: Unbranched() for task in tasks}
        self.branches: Mapping[str, nn.Module] = nn.ModuleDict(dict(branches))  # type: ignore[assignment]
        self.tasks: Mapping[str, Task[Any]] = nn.ModuleDict({t.name: t for t in tasks})  # type: ignore[assignment]
        self.balancer = balancer
        self.optimizer_factory, self.schedule = optimizer, schedule
        self.scores = dict(scores or {})
        self.loss_names = tuple(name for task in tasks for name in task.loss_names)
        self.train_losses = LossMeter(self.loss_names)
        self.val_losses = LossMeter(self.loss_names)
        self.val_metrics: Mapping[str, MetricCollection] = nn.ModuleDict(  # type: ignore[assignment]
            {task.name: task.metrics() for task in tasks}
        )
        # DDP would give every rank the first one's sums before each step.
        sums = [
            n for n, _ in self.named_buffers() if n.startswith(("train_losses.", "val_losses."))
        ]
        self._ddp_params_and_buffers_to_ignore = sums
        # Of the constant predictor on the validation split; NaN where it has no label.
        self.constant_losses: Tensor
        unknown = torch.full((len(self.loss_names),), torch.nan)
        self.register_buffer("constant_losses", unknown, persistent=False)
        self.monitor = monitor_of(monitor, mode, self.measured)
        self.last_balanced: Balanced | None = None
        self._all_present = torch.ones(len(self.loss_names), dtype=torch.bool)
        self._steps_before_batch = 0
        self._shared: list[nn.Parameter] | None = None
        self.checkpoint_extra: dict[str, Any] = {}

    @property
    def directions(self) -> dict[str, bool]:
        """For each metric and score that has a better end, whether higher is better."""
        tasks = {k: v for task in self.tasks.values() for k, v in task.result_directions.items()}
        return tasks | {f"score/{name}": s.higher_is_better for name, s in self.scores.items()}

    @property
    def measured(self) -> dict[str, bool]:
        """What validation logs and can choose an epoch, and whether higher is better."""
        losses = {"loss": False} | {f"loss/{name}": False for name in self.loss_names}
        skills = {"skill": True} | {f"skill/{name}": True for name in self.loss_names}
        return {
            f"val/{name}": higher for name, higher in (skills | losses | self.directions).items()
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Each task's raw outputs of pictures (B, 3, H, W), uint8 or float in 0..255."""
        return self.heads(self.features(images), images)

    @property
    def trunks(self) -> list[Freezable]:
        """The backbone and, of a trunk that is shared in part, each task's own rest of it."""
        parts = (self.backbone, *self.branches.values())
        return [part for part in parts if isinstance(part, Freezable)]

    def features(self, images: Tensor) -> Tensor:
        """Shared features (B, …) of images, in float32 whatever the trunk computes in."""
        features: Tensor = self.backbone(images)
        return features.float()

    def heads(self, features: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Each task's raw outputs, in float32.

        Args:
            features: The shared features (B, …) of the images.
            images: (B, 3, H, W), uint8 or float in 0..255, which gates look at.
        """
        # A branch may be most of a trunk, and computes in what the trunk computes in.
        own = {name: branch(features, images) for name, branch in self.branches.items()}
        # Of 150 px, bfloat16 holds whole numbers only.
        with _full_precision(features):
            return {name: task(own[name].float()) for name, task in self.tasks.items()}

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Batch, of_training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The weighted losses (T,) of all tasks, and over how many labels each is the mean.

        Args:
            outputs: Each task's raw outputs.
            batch: The targets.
            of_training: That they are of the training split, of which tasks know what is missing.
        """
        with _full_precision(next(iter(outputs.values()))):
            parts = [
                task.losses(outputs[name], batch, of_training and task.whole)
                for name, task in self.tasks.items()
            ]
        return torch.cat([losses for losses, _ in parts]), torch.cat([count for _, count in parts])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step's loss, to be minimised."""
        features = self.features(batch["image"])
        losses, counts = self.losses(self.heads(features, batch["image"]), batch, of_training=True)
        balanced = self.balancer(losses, self._present(counts), features, self._learning())
        self.train_losses.update(losses, counts, self.global_step)
        self.last_balanced = balanced
        loss: Tensor = balanced.loss
        return loss

    def _learning(self) -> list[nn.Parameter]:
        """The shared parameters that learn in this epoch; listing them takes a while."""
        if self._shared is None:
            self._shared = [p for p in self.backbone.parameters() if p.requires_grad]
        return self._shared

    def on_train_epoch_start(self) -> None:
        """The trunk may have been frozen or unfrozen."""
        self._shared = None

    def _present(self, counts: Tensor) -> Tensor:
        """Which losses of a training batch have labels, (T,); on the host where that is known."""
        if all(task.whole for task in self.tasks.values()):
            return self._all_present
        return counts > 0

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Notes the step, to know at the batch's end whether the optimizer took one."""
        self._steps_before_batch = self.global_step

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Shows the balancer what the optimizer's step did, if it learns from that."""
        stepped = self.global_step > self._steps_before_batch
        if not (stepped and self.balancer.needs_losses_after_step):
            return
        if self._learning():
            precision = self.trainer.precision_plugin.train_step_context()
            with torch.no_grad(), precision, untracked_batchnorm(*self.trunks):
                losses, counts = self.losses(self(batch["image"]), batch, of_training=True)
            self.balancer.update(losses, self._present(counts))

    def on_train_epoch_end(self) -> None:
        """Lets the balancer close its epoch."""
        self.balancer.end_epoch()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Adds a batch to the validation losses and metrics; returns the raw outputs."""
        outputs: dict[str, Tensor] = self(batch["image"])
        self.val_losses.update(*self.losses(outputs, batch), self.global_step)
        for name, task in self.tasks.items():
            task.update(self.val_metrics[name], outputs[name], batch)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Logs the validation losses, every task's metrics and the scores across tasks."""
        found: dict[str, Tensor] = {}
        for name, task in self.tasks.items():
            found |= task.results(self.val_metrics[name].compute())
            self.val_metrics[name].reset()
        for name, score in self.scores.items():
            if (value := score(found)) is not None:
                found[f"score/{name}"] = torch.as_tensor(value)
        self.log_dict({f"val/{metric}": value for metric, value in found.items()})
        losses = self.val_losses.compute("val", self.trainer.strategy)
        self.log_dict(losses | self._skills(losses))

    def _skills(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """1 − loss / loss of the constant predictor by loss, and their mean where defined."""
        means = torch.stack([losses[f"val/loss/{name}"] for name in self.loss_names])
        skills = 1 - means / self.constant_losses
        named = zip(self.loss_names, skills, strict=True)
        return {SKILL: skills.nanmean()} | {f"{SKILL}/{name}": skill for name, skill in named}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the network without its data: the config and the label schema."""
        checkpoint.update(self.checkpoint_extra)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Steps the schedule, which `finetune.unfrozen_lr` may have rescaled."""
        with as_scheduled(scheduler.optimizer):
            super().lr_scheduler_step(scheduler, metric)

    @unwrapped()
    def configure_optimizers(self) -> Any:
        """The optimizer over all parameters, the balancer's own among them, and its schedule."""
        balancing = list(self.balancer.parameters())
        own = {id(parameter) for parameter in balancing}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters() if id(p) not in own]}
        ]
        if balancing:
            # Decay would pull learned task weights to their start, whatever the losses say.
            groups.append({"params": balancing, "weight_decay": 0.0})
        optimizer = self.optimizer_factory(groups)
        # A fused optimizer would undo the loss scaling of fp16 itself, and Lightning then refuses
        # to clip gradients, in bf16 too. Without this mark torch undoes it before the step.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.schedule is None:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        config = self.schedule.configure(optimizer, steps, epochs, self.monitor.mode)
        return {"optimizer": optimizer, "lr_scheduler": config | {"monitor": self.monitor.name}}


def _full_precision(of: Tensor) -> AbstractContextManager[Any]:
    kind = of.device.type
    # Entering it takes as long as a small head.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
