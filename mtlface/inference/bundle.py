"""A folder with all that someone needs to use a network, with or without mtlface."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from mtlface.atomic import atomic_write, write_text
from mtlface.errors import MtlfaceError
from mtlface.inference.card import model_card
from mtlface.inference.network import Network
from mtlface.inference.outputs import described_all
from mtlface.inference.portable import INPUT, export_onnx, export_program, portable
from mtlface.training.bundle_reader import CONFIG, LABELS
from mtlface.training.places import without_places
from mtlface.training.result import read_result
from mtlface.training.trained_files import WEIGHTS

PREPROCESSING = (
    "decode at full size, without libjpeg's scaling (no Image.draft)",
    "turn upright by the EXIF orientation: PIL.ImageOps.exif_transpose(image)",
    "where there is transparency, composite on white; 16-bit grey is divided by 257",
    "image.convert('RGB')",
    "stretch the whole image, without keeping its ratio: image.resize((width, height), "
    "PIL.Image.Resampling.BILINEAR), which antialiases",
    "to NCHW of the dtype above, values 0 to 255, not normalised",
)
"""What `predict` does to an image with crop=none, as steps that anybody can take with Pillow."""

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


@dataclass
class Bundle:
    """What was written.

    Attributes:
        folder: Where.
        files: The names.
        differences: By file, the largest difference to the network's own outputs, relative where
            values are above 1.
    """

    folder: Path
    files: list[str] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)


def write_bundle(
    network: Network, folder: Path, onnx: bool = True, program: bool = True, dtype: str = "uint8"
) -> Bundle:
    """Writes the weights, the config, what the outputs mean, the card, and runnable models.

    Args:
        network: The network; it is moved to the CPU.
        folder: Where to write; files of the same names are replaced.
        onnx: Whether to write `model.onnx`.
        program: Whether to write `model.pt2`.
        dtype: Of the models' input: `uint8` or `float32`, in 0..255 both.

    Raises:
        MtlfaceError: A library is missing, a model differs from the network, or the folder cannot
            be written, or is the bundle that the network comes from.
    """
    if network.checkpoint.absolute() == (folder / WEIGHTS).absolute():
        # Its card tells the metrics of a run that is not here any more.
        raise MtlfaceError(f"{folder} is the bundle to be exported itself. Give another output=….")
    labels = describe(network, dtype)
    names = [output["name"] for output in labels["outputs"]]
    bundle = Bundle(folder)
    try:
        _write_weights(network, folder / WEIGHTS)
        config: Any = OmegaConf.to_container(network.config, resolve=True)
        write_text(folder / CONFIG, OmegaConf.to_yaml(without_places(config)))
        write_text(folder / LABELS, json.dumps(labels, indent=1, ensure_ascii=False) + "\n")
        bundle.files += [WEIGHTS, CONFIG, LABELS]
        if onnx:
            path = folder / "model.onnx"
            bundle.differences[path.name] = export_onnx(network, names, DTYPES[dtype], path)
        if program:
            path = folder / "model.pt2"
            bundle.differences[path.name] = export_program(network, DTYPES[dtype], path)
        bundle.files += bundle.differences
        result = read_result(network.run_folder / "result.json")
        card = model_card(network, labels, result, bundle.differences)
        write_text(folder / "MODEL_CARD.md", card)
        bundle.files.append("MODEL_CARD.md")
    except OSError as error:
        raise MtlfaceError(
            f"The bundle cannot be written to {folder} ({error.strerror}). Give another output=…."
        ) from error
    return bundle


def describe(network: Network, dtype: str = "uint8") -> dict[str, Any]:
    """The content of `labels.json`: what goes into the models and what comes out of them."""
    height, width = network.frame
    backbone = network.module.backbone
    return {
        "schema": 2,
        "input": {
            "name": INPUT,
            "dtype": dtype,
            "layout": "NCHW",
            "shape": ["batch", 3, height, width],
            "channels": "RGB",
            "range": [0, 255],
            "preprocessing": PREPROCESSING,
            "normalisation": {
                "where": "inside the model: do not normalise",
                "mean": backbone.mean.tolist(),
                "std": backbone.std.tolist(),
            },
        },
        "outputs": [
            {"name": name, **meaning}
            for name, meaning in described_all(network.module.tasks).items()
        ],
        "labels": network.labels.to_dict(),
        "conformal": network.conformal(),
    }


def _write_weights(network: Network, path: Path) -> None:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MtlfaceError(
            "safetensors is not installed: pip install 'mtlface[export]'."
        ) from error
    # By the names of the network itself; copies, because safetensors takes no shared memory.
    weights = {
        k: v.detach().clone().contiguous() for k, v in portable(network).state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(weights, metadata={"format": "pt"}))
