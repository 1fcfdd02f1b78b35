"""Trains one arm, or every arm of a sweep: `python -m mtlface.train experiment=…`."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mtlface.arm import arm_name
from mtlface.door import config_folder, guarded
from mtlface.menu import check_choices, menu

log = logging.getLogger(__name__)

OmegaConf.register_new_resolver("mtlface.arm", arm_name, replace=True)


def main() -> None:
    """The door."""
    guarded(_main)


def _main() -> int:
    arguments, conf = sys.argv[1:], config_folder()
    if not arguments or {"-h", "--help"} & set(arguments):
        print(menu(conf))
        return 0
    check_choices(conf, arguments)
    sys.argv[1:] = _into_sweep(conf, arguments)
    hydra.main(config_path=str(conf), config_name="train", version_base="1.3")(_job)()
    return 0


def _into_sweep(conf: Path, arguments: list[str]) -> list[str]:
    """Lets the command line choose the seeds or arms of a sweep, instead of multiplying them."""
    sweep = next((a.partition("=")[2] for a in arguments if a.startswith("sweep=")), None)
    if sweep in {None, "null"}:
        return arguments
    swept = OmegaConf.load(conf / "sweep" / f"{sweep}.yaml").hydra.sweeper.params
    changed = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in swept:
            changed[argument] = f"hydra.sweeper.params.{key}='{value}'"
    return [changed.get(argument, argument) for argument in arguments]


def _job(cfg: DictConfig) -> dict[str, Any]:
    # Imported here so that --help and composing a config stay fast.
    import torch

    from mtlface.training.run import run

    warnings.filterwarnings("ignore", module="lightning|torch.optim.lr_scheduler")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_float32_matmul_precision("high")
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    overrides = list(hydra_config.overrides.task)
    return run(cfg, folder, arm_name(cfg.name, overrides), overrides)


if __name__ == "__main__":
    main()
