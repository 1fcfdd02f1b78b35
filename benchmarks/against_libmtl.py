"""Against LibMTL's trainer from PyPI: same network, same tensors, Adam, losses added up, fp32.

Both get batches that lie on the device already, so that only the training loops differ. They take
turns, an epoch each.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.measure import headline, options, ratio, report, shown, spread
from benchmarks.peers import libmtl


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--folder", type=Path, help="where LibMTL is kept; a temporary one")
    chosen = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = workload.here()
    gpu = workload.device().type == "cuda"
    side, batch, steps = (128, 256, 30) if gpu else (64, 32, 8)
    repeats = chosen.repeats
    if chosen.quick:
        batch, steps, repeats = 16, 2, 1
    with tempfile.TemporaryDirectory() as scratch:
        try:
            package = libmtl.libmtl(chosen.folder or Path(scratch))
        except libmtl.UnavailableError as stopped:
            results = {"version": libmtl.VERSION, "stopped_by": str(stopped)}
            rows = [["stopped by", str(stopped)]]
            report("libmtl", results, rows, ["", ""], where, keep=not chosen.quick)
            return
        results = _measured(package, side, batch, steps, repeats)
    rates = results["pictures_per_s"]
    times = results["times as fast"]
    rows = [
        [
            *(f"{rate['median']:.0f}" for rate in rates.values()),
            shown(times),
        ]
    ]
    title = f"training loop against LibMTL's {libmtl.VERSION}, ResNet-18, {side} px, fp32"
    columns = ["ours, 1/s", "LibMTL, 1/s", "times as fast (range)"]
    headlines = [headline(title, times)]
    report("libmtl", results, rows, columns, where, headlines, keep=not chosen.quick)


def _measured(package: Any, side: int, batch: int, steps: int, repeats: int) -> dict[str, Any]:
    cfg = workload.configured(
        "task=[gender,landmarks]",
        f"data.image_size=[{side},{side}]",
        f"data.batch_size={batch}",
        "trainer.precision=32-true",
    )
    module, datamodule = workload.built(cfg)
    resident = workload.first_batches(datamodule, steps)
    theirs = libmtl.Batches(
        [(b["image"], {name: libmtl.Targets(b) for name in module.tasks}) for b in resident]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        peer = libmtl.trainer(package, module, workload.device())

    def epoch(_: int) -> None:
        # It prints every epoch, and averages the losses of a test split, of which there is none.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer.train(theirs, libmtl.Batches([]), 1)

    seconds = workload.fit(cfg, module, resident, steps, repeats, {"LibMTL": epoch})
    return {
        "version": libmtl.VERSION,
        "protocol": {"batch": batch, "steps": steps, "side": side, "repeats": repeats},
        "times as fast": ratio(seconds["LibMTL"], seconds["ours"]),
        "pictures_per_s": {
            name: spread([steps * batch / value for value in values])
            for name, values in seconds.items()
        },
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
