"""Which checkpoint is meant, and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from mtlface.data.schema import Labels
from mtlface.errors import MtlfaceError
from mtlface.training.bundle_reader import read_bundle
from mtlface.training.module import MultiTaskModule
from mtlface.training.network import load_network, network_of
from mtlface.training.result import read_json
from mtlface.training.trained_files import BEST, WEIGHTS, find_checkpoint


@dataclass(frozen=True)
class Network:
    """A trained network and what it was trained with.

    Attributes:
        module: In eval mode, on its device.
        config: The run's resolved config.
        labels: The schema of the data that it learnt from.
        checkpoint: The file that it comes from; of a bundle, that of its weights.
        device: Where it runs.
        trusted: Packages of the user's own whose objects its config may name.
    """

    module: MultiTaskModule
    config: DictConfig
    labels: Labels
    checkpoint: Path
    device: torch.device
    trusted: tuple[str, ...] = ()

    @property
    def frame(self) -> tuple[int, int]:
        """(height, width) of the working frame, in pixels."""
        height, width = self.config.data.image_size
        return int(height), int(width)

    @property
    def run_folder(self) -> Path:
        """The run folder, or where the file lies that is in none."""
        folder = self.checkpoint.absolute().parent
        return folder.parent if folder.name == BEST.parent.name else folder

    def conformal(self) -> dict[str, dict[str, float]]:
        """By task and level of coverage the quantile that validation gave; empty if unknown."""
        bundle = self.checkpoint.name == WEIGHTS
        path = self.run_folder / ("labels.json" if bundle else "result.json")
        try:
            known = read_json(path)["conformal"]
            found = {
                str(task): {
                    str(level): float(quantile)
                    for level, quantile in of.get("quantiles", of).items()
                }
                for task, of in known.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return {task: found[task] for task in self.module.tasks if task in found}


def open_network(
    checkpoint: str | Path, device: str = "auto", trusted: Sequence[str] = ()
) -> Network:
    """Loads a checkpoint or a bundle, without running any code that it brings.

    Args:
        checkpoint: A `.ckpt` file, the run folder that has it, or a folder that `mtlface.export`
            wrote.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        trusted: Packages of your own whose objects the checkpoint may name.

    Raises:
        MtlfaceError: There is no such checkpoint, it cannot be trusted or used, or the device is
            not there.
    """
    place = choose_device(device)
    path = find_checkpoint(Path(checkpoint).expanduser())
    if path.name == WEIGHTS:
        module, config, labels = network_of(read_bundle(path.parent), path.parent, trusted)
    else:
        module, config, labels = load_network(path, trusted)
    module.eval().to(place)
    return Network(module, config, labels, path, place, tuple(trusted))


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU if there is one.

    Raises:
        MtlfaceError: The name is no device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # torch knows devices from which nothing comes back
    except (RuntimeError, AssertionError) as error:
        raise MtlfaceError(
            f"device={name} is not to be had here ({str(error).splitlines()[0]}). Take auto or cpu."
        ) from error
    return device
