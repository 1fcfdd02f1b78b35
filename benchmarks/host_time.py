"""The time between two kernels: what the host does in a step of the framework ÷ plain Lightning.

8×8 images, a trunk of three weights, batches of 32, two tasks: the arithmetic is next to nothing,
so that the time is that of Python and of PyTorch's calls, which a GPU waits for. Ours is the
trainer as `mtlface.train` builds it, with its data module and all its callbacks; plain Lightning
has the same network, losses and optimizer, batches that are there already, and no callback. Thread
CPU time on one thread; they take turns, a fit each, and each turn counts its fastest epoch, which
others on the machine disturbed least. On a machine without a GPU both are spared torch's search for
one at every step (0.1 ms under plain Lightning), as no GPU machine has it.

python -m benchmarks.host_time
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import workload
from benchmarks.measure import headline, options, ratio, report, shown, spread
from benchmarks.synthetic import synthetic
from mtlface.models import Backbone
from mtlface.training.build import build_trainer
from mtlface.training.hooks import hide_absent_gpu

BATCH, SIDE = 32, 8
CASES = {
    "no augmentation": ([], "≤ 1.15"),
    "basic augmentation": (["augment=basic"], "≤ 1.40"),
    "basic augmentation, pcgrad": (["augment=basic", "balancing=pcgrad"], "≤ 1.70"),
}
EPOCHS = 5  # the first one warms up


class ChannelMeans(nn.Module):
    """A trunk of three weights: (B, 3, H, W) to (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the weighted means of the channels."""
        return images.mean((2, 3)) * self.weight


def channel_means(pretrained: bool = False) -> Backbone:
    """What the config builds."""
    return Backbone(ChannelMeans(), 3)


class Plain(LightningModule):
    """The same network, losses and optimizer, as one writes them for Lightning."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.backbone = channel_means()
        self.gender, self.landmarks = nn.Linear(3, 1), nn.Linear(3, 2 * points)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The sum of both losses."""
        features = self.backbone(batch["image"])
        gender = functional.binary_cross_entropy_with_logits(
            self.gender(features)[:, 0], batch["gender"].float()
        )
        found = self.landmarks(features)
        return gender + functional.mse_loss(found, batch["landmarks"].flatten(1) / SIDE)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of our config."""
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


class StepTime(Callback):
    """Thread CPU seconds of each epoch's steps but its first, without its beginning and end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Starts after the first step, stops after the last."""
        if batch_idx == 0:
            self._started = time.thread_time()
        if batch_idx == int(trainer.num_training_batches) - 1 and trainer.current_epoch > 0:
            self.seconds.append((time.thread_time() - self._started) / batch_idx)


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=9)
    parser.add_argument("--steps", type=int, default=60, help="of an epoch")
    chosen = parser.parse_args(arguments)
    for name in ("lightning.pytorch", "mtlface"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    repeats, steps = (1, 5) if chosen.quick else (chosen.repeats, chosen.steps)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    hide_absent_gpu()
    where = workload.here()
    cases: dict[str, Callable[[], float]] = {"plain Lightning": _plain(steps)}
    cases |= {name: _ours(steps, overrides) for name, (overrides, _) in CASES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            seconds[name].append(case())
    torch.set_num_threads(threads)
    results: dict[str, Any] = {"protocol": {"batch": BATCH, "side": SIDE, "steps": steps}}
    rows, headlines = [], []
    for name, values in seconds.items():
        share = ratio(values, seconds["plain Lightning"])
        micro = spread([1e6 * value for value in values])
        results[name] = {"÷ plain Lightning": share, "microseconds": micro}
        rows.append([name, f"{micro['median']:,.0f}", shown(share)])
        if name in CASES:
            title = f"host time of a step ÷ plain Lightning, {name}, 8×8 px, trunk of 3 weights"
            headlines.append(headline(title, share, "", CASES[name][1]))
    columns = ["step", "µs", "÷ plain Lightning (range)"]
    report("host_time", results, rows, columns, where, headlines, keep=not chosen.quick)


def _configured(overrides: list[str]) -> Any:
    return workload.configured(
        "task=[gender,landmarks]",
        "backbone=cnn3",
        "backbone._target_=benchmarks.host_time.channel_means",
        "trainer=cpu",
        "trainer.enable_progress_bar=false",
        f"trainer.max_epochs={EPOCHS}",
        "patience=null",
        "monitor.name=val/loss",
        "figures=false",
        "scheduler=none",
        "data.loader=device",
        f"data.image_size=[{SIDE},{SIDE}]",
        f"data.batch_size={BATCH}",
        *overrides,
    )


def _ours(steps: int, overrides: list[str]) -> Callable[[], float]:
    cfg = _configured(overrides)

    def fit() -> float:
        module, datamodule = workload.built(cfg, synthetic(cfg, steps * BATCH))
        timer = StepTime()
        with tempfile.TemporaryDirectory() as folder:
            trainer = build_trainer(cfg, Path(folder), module.monitor, start_step=0)
            trainer.callbacks.append(timer)  # type: ignore[attr-defined]
            trainer.fit(module, datamodule)
            for logger in trainer.loggers:
                logger.close()  # type: ignore[attr-defined]
        return min(timer.seconds)

    return fit


def _plain(steps: int) -> Callable[[], float]:
    cfg = _configured([])
    _, datamodule = workload.built(cfg, synthetic(cfg, steps * BATCH))
    batches = workload.first_batches(datamodule, steps)

    def fit() -> float:
        timer = StepTime()
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=EPOCHS,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[timer],
        )
        points = batches[0]["landmarks"].shape[1]
        trainer.fit(Plain(points), train_dataloaders=workload.Resident(batches))
        return min(timer.seconds)

    return fit


if __name__ == "__main__":
    main()
