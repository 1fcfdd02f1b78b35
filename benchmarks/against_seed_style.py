"""Against a plainly written loop (`benchmarks/peers/seed_style.py`): same network, data, optimizer.

ResNet-18 on gender with flips, rotations and changes of light. Ours is the framework as it comes:
in fp32, in bf16, and on a GPU compiled too. All take turns, an epoch each.
"""

import logging
import os
from typing import Any

import numpy as np

from benchmarks import workload
from benchmarks.measure import headline, options, ratio, report, shown, spread
from benchmarks.peers.seed_style import SeedStyle
from benchmarks.synthetic import synthetic
from mtlface.data.datamodule import FaceDataModule
from mtlface.training.build import build_datamodule


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--side", type=int, default=None, help="pixels; 64, or 128 on a GPU")
    chosen = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = workload.here()
    gpu = workload.device().type == "cuda"
    side, batch, steps = (128, 256, 120) if gpu else (64, 32, 12)
    side = chosen.side or side
    repeats = chosen.repeats
    if chosen.quick:
        batch, steps, repeats = 16, 2, 1
    cases = {"fp32": ("32-true", "false")}
    if gpu or not chosen.quick:
        cases["bf16"] = ("bf16-mixed", "false")
    if gpu:
        cases["bf16, compiled"] = ("bf16-mixed", "true")
    results: dict[str, Any] = {"protocol": {"batch": batch, "steps": steps, "side": side}}
    rows, headlines = [], []
    for name, (precision, compiled) in cases.items():
        cfg = workload.configured(
            "task=[gender]",
            "augment=basic",
            f"data.image_size=[{side},{side}]",
            f"data.batch_size={batch}",
            f"trainer.precision={precision}",
            f"compile={compiled}",
        )
        faces = build_datamodule(cfg)
        peer = seed_style(faces, side, batch, steps)
        # The rendered faces are too few for an epoch of a GPU; the peer reads them repeatedly.
        module, datamodule = workload.built(cfg, synthetic(cfg, steps * batch) if gpu else faces)
        rivals = {"seed style": lambda _, peer=peer: peer.train_epoch()}
        seconds = workload.fit(cfg, module, datamodule, steps, repeats, rivals)
        times = ratio(seconds["seed style"], seconds["ours"])
        rates = {k: spread([steps * batch / s for s in values]) for k, values in seconds.items()}
        results[name] = {"times as fast": times, "pictures_per_s": rates, "seconds": seconds}
        rows.append(
            [
                name,
                *(f"{rate['median']:.0f}" for rate in rates.values()),
                shown(times),
            ]
        )
        wanted = {"bf16": "≥ 1.3"} if not gpu else {"bf16, compiled": "≥ 10"}
        title = f"training in {name} against a plainly written loop in fp32, ResNet-18, {side} px"
        headlines.append(headline(title, times, goal=wanted.get(name, "")))
    columns = ["ours in", "ours, 1/s", "seed style, 1/s", "times as fast (range)"]
    report("seed_style", results, rows, columns, where, headlines, keep=not chosen.quick)


def seed_style(datamodule: FaceDataModule, side: int, batch: int, steps: int) -> SeedStyle:
    """The peer on the first `steps` batches' worth of our training pictures."""
    table = datamodule.table
    rows = table.frame.iloc[np.resize(table.rows("train"), steps * batch)]
    files = [table.root / image for image in rows["image"]]
    workers = min(16, len(os.sched_getaffinity(0)))
    genders = rows["gender"].tolist()
    return SeedStyle(files, genders, side, batch, workers, workload.device())


if __name__ == "__main__":
    main()
