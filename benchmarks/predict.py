"""What predicting costs beside decoding and the bare network, and the memory of long lists.

python -m benchmarks.predict                  # both; two minutes on one core
python -m benchmarks.predict --only memory    # of 1,000, 10,000 and 100,000 rows

Ours is all of `mtlface.predict` but its imports: from the folder's name to the written table. The
rival reads and decodes the same files one after the other and runs the network on the same batches.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from lightning import seed_everything

from benchmarks import workload
from benchmarks.measure import headline, interleave, options, ratio, report, spread
from benchmarks.store import link_synthetic, replicate_demo
from mtlface.data.decode import decode_resized
from mtlface.inference.images import list_images
from mtlface.inference.network import Network
from mtlface.inference.predictor import Predictor
from mtlface.inference.writers import FORMATS
from mtlface.predict import write_predictions
from mtlface.training.build import build_module

PICTURES = 1000
BATCH = 64
SIDE = 128
TINY = 32  # pixels, where only memory is looked at
FILES = 500  # different pictures in a list of any length

MEMORY_OF_A_LIST = """
import json, sys, time
from pathlib import Path
from benchmarks.predict import TINY, network_of, predicted

def peak():
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(line[1]) / 1024 for line in lines if line[0] == "VmHWM:")

network = network_of("backbone=cnn3", f"data.image_size=[{TINY},{TINY}]")
before, started = peak(), time.process_time()
rows = predicted(network, sys.argv[1], Path(sys.argv[2]))
busy = time.process_time() - started
print(json.dumps({"rows": rows, "loaded_peak_mib": before, "peak_mib": peak(), "cpu_s": busy}))
"""


def network_of(*overrides: str) -> Network:
    """An untrained network with two heads; what it says is wrong, what it costs is not."""
    cfg = workload.configured("task=[gender,landmarks]", *overrides)
    seed_everything(cfg.seed, verbose=False)
    labels = instantiate(cfg.data.reader).labels()
    module = build_module(cfg, labels).eval().to(workload.device())
    return Network(module, cfg, labels, Path("untrained.ckpt"), workload.device())


def predicted(network: Network, images: str, output: Path) -> int:
    """Predicts as the command does, and returns the rows that it wrote."""
    predictor = Predictor(network, batch_size=BATCH)
    rows, failed = write_predictions(
        predictor, list_images(images), output, FORMATS["csv"], annotate=False
    )
    if failed:
        raise RuntimeError(f"{failed} of {rows} pictures were not read")
    return rows


@torch.inference_mode()
def bare(network: Network, paths: Sequence[str]) -> None:
    """Decoding and the forward pass, in one loop."""
    for start in range(0, len(paths), BATCH):
        names = paths[start : start + BATCH]
        pixels = [decode_resized(Path(name).read_bytes(), network.frame)[0] for name in names]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        for output in network.module(images.to(network.device)).values():
            output.float().cpu()


def cost(count: int, repeats: int) -> dict[str, Any]:
    """Seconds of both for pictures of 178×218 pixels, and ours ÷ bare."""
    network = network_of(f"data.image_size=[{SIDE},{SIDE}]")
    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch, "faces"), Path(scratch, "predictions.csv")
        folder.mkdir()
        names = replicate_demo(folder, 1)
        for name in names[count:]:
            (folder / name).unlink()
        paths = [str(folder / name) for name in names[:count]]
        busy: dict[str, list[float]] = {}
        seconds = interleave(
            {
                "bare": lambda: bare(network, paths),
                "predict": lambda: predicted(network, str(folder), output),
            },
            repeats,
            cpu_seconds=busy,
        )
    return {
        "pictures": len(paths),
        "predict ÷ bare": ratio(seconds["predict"], seconds["bare"]),
        # Two decoders beside the network gain wall time on idle cores; this is what they cost.
        "predict ÷ bare, by CPU time": ratio(busy["predict"], busy["bare"]),
        "pictures_per_s": {k: spread([len(paths) / s for s in v]) for k, v in seconds.items()},
    }


def memory(counts: Sequence[int]) -> dict[str, Any]:
    """Peak memory in MiB of processes that predict lists of different lengths."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        link_synthetic(folder, FILES, TINY)
        for count in counts:
            listed, output = folder / f"{count}.txt", folder / f"{count}.csv"
            listed.write_text("".join(f"{row % FILES:06d}.jpg\n" for row in range(count)))
            done = subprocess.run(
                [sys.executable, "-c", MEMORY_OF_A_LIST, str(listed), str(output)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            results[str(count)] = json.loads(done.stdout.splitlines()[-1])
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=5)
    parser.add_argument("--only", choices=["cost", "memory"], help="one of the two")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    chosen = parser.parse_args(arguments)
    pictures, repeats = PICTURES, chosen.repeats
    if chosen.quick:
        pictures, repeats, chosen.rows = 32, 1, [100, 200]
    keep = not chosen.quick
    if chosen.only != "memory":
        where = workload.here()
        found = cost(pictures, repeats)
        keys = ["predict ÷ bare", "predict ÷ bare, by CPU time"]
        rows = [
            [key, *(f"{found[key][part]:.3f}" for part in ("median", "low", "high"))]
            for key in keys
        ]
        title = f"predict ÷ decoding and bare forward, ResNet-18, {SIDE} px, {pictures:,} pictures"
        headlines = [headline(title, found[keys[0]], "", "≤ 1.2")]
        report("predict", found, rows, ["what", "median", "low", "high"], where, headlines, keep)
    if chosen.only != "cost":
        where = workload.here()
        by_rows = memory(chosen.rows)
        rows = [[f"{value:.0f}" for value in row.values()] for row in by_rows.values()]
        few, *_, many = by_rows.values()
        title = f"predict: peak memory of {many['rows']:,} rows above that of {few['rows']:,} rows"
        grown = spread([many["peak_mib"] - few["peak_mib"]])
        columns = ["rows", "loaded, MiB", "peak, MiB", "CPU seconds"]
        headlines = [headline(title, grown, " MiB")]
        report("predict_memory", by_rows, rows, columns, where, headlines, keep)


if __name__ == "__main__":
    main()
