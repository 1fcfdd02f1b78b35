"""Can a network of several data sets tell them apart, and does it treat them alike?

Crops, cameras and compression differ between data sets, and so do their labels. Features that give
a data set away are a shortcut: where the share of women differs, "which data set?" is half the
answer to "which gender?" (Torralba and Efros, "Unbiased look at dataset bias", CVPR 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mtlface.data.batch import Split
from mtlface.data.datamodule import FaceDataModule
from mtlface.tasks.auroc import defined_auroc
from mtlface.tasks.calibration import calibration
from mtlface.training.evaluation import Predictions
from mtlface.training.module import MultiTaskModule

DECAY = 1e-2  # of the probe's weights, on standardised features
STEPS = 100  # of L-BFGS at most


def shortcut(
    module: MultiTaskModule, datamodule: FaceDataModule, found: Predictions, device: torch.device
) -> dict[str, Any] | None:
    """What a linear probe reads off the frozen shared features, and how calibrated each source is.

    The probe learns on the validation images, which chose the epoch and nothing else, and is
    measured on the test images. Chance is 0.5, whatever the sources' sizes.

    Args:
        module: The trained network.
        datamodule: Its data.
        found: What the network says of the test images.
        device: Where to run.

    Returns:
        `source_auroc`, the area under the ROC curve of each source against the others, and their
        mean under `mean`; `n` images of `val` and `test`; `calibration` by task with probabilities
        and by source: `nll`, `brier`, `ece`. None of data with a single source, or where the tasks
        share nothing.
    """
    names = datamodule.sources
    if len(names) < 2 or next(module.backbone.parameters(), None) is None:
        return None
    batch_size = datamodule.evaluation_batch_size
    source = torch.from_numpy(datamodule.table.frame["source"].to_numpy().astype(np.int64))
    features, sources = {}, {}
    for name in ("val", "test"):
        split = datamodule.split(name)
        features[name] = shared_features(module, split, batch_size, device)
        sources[name] = source[split.targets["index"]]
    logits = _probe(features["val"], sources["val"], features["test"], len(names))
    areas = {
        name: float(defined_auroc(logits[:, k] - _others(logits, k), (sources["test"] == k).long()))
        for k, name in enumerate(names)
    }
    of_tasks: dict[str, dict[str, dict[str, float]]] = {}
    for task_name, task in module.tasks.items():
        probability = task.probabilities(found.outputs[task_name])
        if probability is None:
            continue
        positions = task.positions(found.targets)
        for k, name in enumerate(names):
            rows = sources["test"] == k
            if (of := calibration(probability[rows], positions[rows])) is not None:
                measured = {"nll": of.nll, "brier": of.brier, "ece": of.ece}
                of_tasks.setdefault(task_name, {})[name] = measured
    return {
        "source_auroc": {"mean": float(np.nanmean(list(areas.values()))), **areas},
        "n": {name: len(values) for name, values in sources.items()},
        "calibration": of_tasks,
    }


@torch.inference_mode()
def shared_features(
    module: MultiTaskModule, split: Split, batch_size: int, device: torch.device
) -> Tensor:
    """The features (N, D) that all tasks share; means over places where they are maps."""
    found = []
    for positions in np.array_split(np.arange(len(split)), -(-len(split) // batch_size)):
        features = module.features(split.batch(positions)["image"].to(device))
        found.append((features.flatten(2).mean(dim=2) if features.ndim > 2 else features).cpu())
    return torch.cat(found)


def _probe(train: Tensor, target: Tensor, test: Tensor, classes: int) -> Tensor:
    """Logits (M, K) of multinomial logistic regression, every class as heavy as any other."""
    mean, spread = train.mean(dim=0), train.std(dim=0, correction=0).clamp(min=1e-6)
    x, z = ((of - mean) / spread for of in (train.double(), test.double()))
    counts = torch.bincount(target, minlength=classes).clamp(min=1)
    weight = len(target) / (classes * counts.double())
    linear = torch.zeros(classes, train.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([linear, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(x @ linear.T + bias, target, weight=weight)
        value = value + DECAY / 2 * linear.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (z @ linear.T + bias).detach()


def _others(logits: Tensor, k: int) -> Tensor:
    """How likely it is one of the other classes, as a logit (M,)."""
    rest = torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1)
    return torch.logsumexp(rest, dim=1)
