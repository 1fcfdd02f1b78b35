"""Exports a trained network: a folder that others can use, with or without mtlface.

    python -m mtlface.export checkpoint=outputs/…/seed=0 output=my_model

Keys:
  checkpoint=…     a run folder (its best epoch), a .ckpt file, or another bundle
  output=…         the folder of the bundle
  onnx=true        model.onnx, any batch size, checked against the network with onnxruntime
  program=true     model.pt2, for torch.export.load
  input=uint8      uint8 | float32: what the models take; pixels in 0..255 both
  trusted=…        packages of others whose objects the checkpoint may name: a,b
  debug=true       show the stack trace of an error

The bundle also has model.safetensors, config.yaml, labels.json (what goes in and what comes out)
and MODEL_CARD.md. It needs pip install 'mtlface[export]'.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlface.arguments import names, one_of, parse, wants_help
from mtlface.door import guarded


@dataclass
class Options:
    """What the command line may say."""

    checkpoint: str | None = None
    output: str | None = None
    onnx: bool = True
    program: bool = True
    input: str = "uint8"
    trusted: str = ""
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code.

    Raises:
        MtlfaceError: The command line or the checkpoint is not what it should be, or an exported
            model differs from the network.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
        return 0
    required = {"checkpoint": "outputs/…/seed=0", "output": "my_model"}
    options = parse("export", Options, given, required)
    from mtlface.inference.bundle import DTYPES, write_bundle
    from mtlface.inference.network import open_network

    dtype = one_of("input", options.input, [*DTYPES])
    network = open_network(str(options.checkpoint), "cpu", names(options.trusted))
    folder = Path(str(options.output)).expanduser()
    bundle = write_bundle(network, folder, options.onnx, options.program, dtype)
    for name in bundle.files:
        size = (bundle.folder / name).stat().st_size / 1e6
        checked = bundle.differences.get(name)
        note = "" if checked is None else f", agrees with the network to {checked:.1e}"
        print(f"{bundle.folder / name}  {size:.2f} MB{note}")
    return 0


if __name__ == "__main__":
    guarded(main)
