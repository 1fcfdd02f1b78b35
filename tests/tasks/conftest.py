"""Tasks as the config builds them, with a linear head on four features."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mtlface.data.schema import Label, Labels
from mtlface.models import linear_head
from mtlface.tasks import Task

FRAME = (32, 48)  # height, width


@pytest.fixture
def built() -> Callable[..., Task]:
    def of(kind: type[Task], label: Label, loss: nn.Module, **settings) -> Task:
        torch.manual_seed(0)
        known = {"labels": Labels([label]), "in_features": 4, "frame": FRAME, "head": linear_head}
        return kind(name="task", label=label.name, loss=loss, **{**known, **settings})

    return of


@pytest.fixture
def measured() -> Callable[..., dict[str, float]]:
    """A task's metrics of a batch, through its own update path, in parts of several sizes."""

    def of(task: Task, output: Tensor, batch: dict[str, Tensor], parts: int = 3):
        metrics = task.metrics()
        rows = torch.arange(len(output)).tensor_split(parts)
        for part in rows:
            task.update(metrics, output[part], {name: value[part] for name, value in batch.items()})
        return {name: float(value) for name, value in task.scalars(metrics.compute()).items()}

    return of


@pytest.fixture
def assert_missing_rows_cost_nothing(measured) -> Callable[..., None]:
    """Rows without a label leave loss, gradient and metrics bit for bit as they were."""

    def check(task: Task, output: Tensor, batch: dict[str, Tensor], known: Tensor) -> None:
        assert known.any() and not known.all()

        def learnt(output, batch):
            output = output.clone().requires_grad_()
            losses, counts = task.losses(output, batch)
            losses.sum().backward()
            return losses, counts, output.grad

        without = {name: value[known] for name, value in batch.items()}
        losses, counts, gradient = learnt(output, batch)
        few_losses, few_counts, few_gradient = learnt(output[known], without)
        assert torch.equal(counts, few_counts)
        # Sums of more terms are added up in another order; the terms are the same.
        torch.testing.assert_close(losses, few_losses, rtol=1e-6, atol=0)
        assert torch.equal(gradient[known], few_gradient)
        assert (gradient[~known] == 0).all()
        assert measured(task, output, batch) == pytest.approx(
            measured(task, output[known], without), abs=1e-6, nan_ok=True
        )
        assert task.error(output, batch)[~known].isnan().all()
        assert torch.equal(task.error(output, batch)[known], task.error(output[known], without))

    return check


@pytest.fixture
def assert_nothing_labelled_is_free(measured) -> Callable[..., None]:
    """A batch without any label gives a loss and gradient of exactly 0, and no metric a number."""

    def check(task: Task, output: Tensor, batch: dict[str, Tensor]) -> None:
        output = output.clone().requires_grad_()
        losses, counts = task.losses(output, batch)
        losses.sum().backward()
        assert (losses == 0).all() and (counts == 0).all()
        assert (output.grad == 0).all()
        found = measured(task, output.detach(), batch)
        assert all(value != value for value in found.values()), found

    return check
