"""A page in your browser: drop a picture, see what every head says.

    python -m mtlface.demo checkpoint=outputs/…/seed=0

Keys:
  checkpoint=…     a run folder (its best epoch), a .ckpt file, or an exported bundle
  crop=…           none | center | detect, as in mtlface.predict (default: none)
  detector=…       yunet | centerface | a model file, for crop=detect
  min_score=…      the score from which on something is a face, for crop=detect
  port=7860        of the page, on this machine only
  device=auto      auto | cpu | cuda | cuda:<n>
  trusted=…        packages of others whose objects the checkpoint may name: a,b
  debug=true       show the stack trace of an error

It needs Gradio, which needs Pillow below 13: pip install 'mtlface[demo]', without the constraints
file, or in an environment of its own. Nothing leaves your machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mtlface.arguments import names, parse, wants_help
from mtlface.door import guarded
from mtlface.errors import MtlfaceError

MOST_BYTES = 2**25  # of an image that is dropped on the page


@dataclass
class Options:
    """What the command line may say."""

    checkpoint: str | None = None
    crop: str = "none"
    detector: str | None = None
    min_score: float | None = None
    port: int = 7860
    device: str = "auto"
    trusted: str = ""
    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the door until it is interrupted; returns the exit code.

    Raises:
        MtlfaceError: The command line or the checkpoint is not what it should be, Gradio is
            missing, or the port is taken.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if wants_help(given):
        print(__doc__)
        return 0
    options = parse("demo", Options, given, {"checkpoint": "outputs/…/seed=0"})
    # Gradio asks its makers for news at every start, unless it is told not to before its import.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MtlfaceError(
            "The page needs Gradio: pip install 'mtlface[demo]'. Gradio needs Pillow below 13, so "
            "install it without constraints.txt, which pins Pillow 13, or in an environment of "
            f"its own. ({error})"
        ) from error
    from mtlface.inference.network import open_network
    from mtlface.inference.page import page

    network = open_network(str(options.checkpoint), options.device, names(options.trusted))
    demo = page(network, options.crop, options.detector, options.min_score)
    try:
        print(f"http://127.0.0.1:{options.port}  (Ctrl-C ends it)", flush=True)
        demo.launch(
            server_name="127.0.0.1", server_port=options.port, share=False, quiet=True,
            max_file_size=MOST_BYTES,
        )  # fmt: skip
    except OSError as error:
        raise MtlfaceError(f"port={options.port} is taken; give another, port=7861.") from error
    return 0


if __name__ == "__main__":
    guarded(main, "The page is closed.")
