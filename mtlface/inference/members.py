"""Several answers for one image: of an arm's seeds, or of draws of dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from mtlface.data.batch import Split
from mtlface.errors import MtlfaceError
from mtlface.inference.network import Network, open_network
from mtlface.training.evaluation import Predictions, predict_split
from mtlface.training.identity import difference, identity
from mtlface.training.module import MultiTaskModule
from mtlface.training.trained_files import BEST


def open_ensemble(folder: Path, device: str = "auto", trusted: Sequence[str] = ()) -> list[Network]:
    """The networks of an arm's seeds, which differ in nothing else: a deep ensemble.

    Lakshminarayanan et al., NeurIPS 2017.

    Args:
        folder: Holds `seed=*/`, or one folder that does.
        device: As for `open_network`.
        trusted: As for `open_network`.

    Raises:
        MtlfaceError: There are no two seeds, or they are of different arms or data.
    """
    found = sorted(folder.glob(f"seed=*/{BEST}")) or sorted(folder.glob(f"*/seed=*/{BEST}"))
    if len({path.parents[2] for path in found}) > 1:
        raise MtlfaceError(
            f"ensemble={folder} holds seeds of several data sets: give the folder of one, such as "
            f"{found[0].parents[2]}."
        )
    if len(found) < 2:
        raise MtlfaceError(
            f"ensemble={folder}: expected a folder with two or more finished seeds "
            f"(seed=0, seed=1, …), found {len(found)}. Train more with seed=0,1,2,3,4."
        )
    networks = [open_network(path, device, trusted) for path in found]
    first = identity(networks[0].config)
    for path, network in zip(found[1:], networks[1:], strict=True):
        if other := difference(first, identity(network.config), ["seed"]):
            raise MtlfaceError(
                f"{path.parents[1]} is no other seed of {found[0].parents[1]}: they differ in "
                f"{', '.join(other)}. An ensemble is of one arm."
            )
        if network.labels != networks[0].labels:
            raise MtlfaceError(
                f"{path.parents[1]} learnt other labels than {found[0].parents[1]}: an ensemble's "
                "members have the same classes."
            )
    return networks


def member_outputs(
    networks: Sequence[Network], split: Split, batch_size: int, samples: int = 0
) -> list[Predictions]:
    """What each network says of a split, or each of some draws of its dropout.

    Args:
        networks: The networks.
        split: The images.
        batch_size: Images at a time.
        samples: Draws of each network's dropout (Gal and Ghahramani, ICML 2016); 0 for none.
    """
    found = []
    for network in networks:
        module, device = network.module, network.device
        if not samples:
            found.append(predict_split(module, split, batch_size, device))
        for sample in range(samples):
            with dropout_drawn(module, sample):
                found.append(predict_split(module, split, batch_size, device, evaluating=False))
    return found


def combined(module: MultiTaskModule, members: Sequence[Predictions]) -> Predictions:
    """What the members say together, as one network's outputs; of one member its own."""
    if len(members) == 1:
        return members[0]
    outputs = {
        name: task.combined(torch.stack([member.outputs[name] for member in members]))
        for name, task in module.tasks.items()
    }
    return Predictions(outputs, members[0].targets)


def check_samples(samples: int) -> None:
    """A single draw has no spread.

    Raises:
        MtlfaceError: The number is no number of draws.
    """
    if samples < 0 or samples == 1:
        raise MtlfaceError(
            f"mc_samples={samples}: expected 0, or 2 draws of dropout or more, such as 30."
        )


def dropouts(module: nn.Module) -> list[_DropoutNd]:
    """The layers of a network that drop something."""
    return [m for m in module.modules() if isinstance(m, _DropoutNd) and m.p > 0]


@contextmanager
def dropout_drawn(module: nn.Module, sample: int) -> Iterator[None]:
    """Within the block the network is evaluated with its dropout on, and nothing else of training.

    Args:
        module: The network; BatchNorm and all else stay in eval mode.
        sample: The number of the draw, which keys it.

    Raises:
        MtlfaceError: The network has no dropout.
    """
    layers = dropouts(module)
    if not layers:
        raise MtlfaceError(
            "mc_samples draws from a network's dropout, and this one has none. Train with some, "
            "for example +tasks.gender.head.dropout=0.2 or backbone=cnn4_bn, or take "
            "ensemble=<the folder of an arm's seeds>."
        )
    module.eval()
    devices = {p.device for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(sample)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            module.eval()
