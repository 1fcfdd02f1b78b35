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
        peers = {
            f"{workers} workers": seed_style(faces, side, batch, steps, workers)
            for workers in worker_counts()
        }
        # The rendered faces are too few for an epoch of a GPU; the peer reads them repeatedly.
        module, datamodule = workload.built(cfg, synthetic(cfg, steps * batch) if gpu else faces)
        rivals = {name: lambda _, peer=peer: peer.train_epoch() for name, peer in peers.items()}
        seconds = workload.fit(cfg, module, datamodule, steps, repeats, rivals)
        rates = {k: spread([steps * batch / s for s in values]) for k, values in seconds.items()}
        times = {peer: ratio(seconds[peer], seconds["ours"]) for peer in peers}
        results[name] = {"times as fast": times, "pictures_per_s": rates, "seconds": seconds}
        for peer, found in times.items():
            each = [f"{rates[key]['median']:.0f}" for key in ("ours", peer)]
            rows.append([name, peer, *each, shown(found)])
            wanted = {"bf16": "≥ 1.3"} if not gpu else {"bf16, compiled": "≥ 10"}
            title = f"training in {name} against a plainly written loop in fp32"
            title += f" ({peer}), ResNet-18, {side} px"
            headlines.append(headline(title, found, goal=wanted.get(name, "")))
    columns = ["ours in", "against", "ours, 1/s", "the loop, 1/s", "times as fast (range)"]
    report("seed_style", results, rows, columns, where, headlines, keep=not chosen.quick)


def worker_counts() -> list[int]:
    """None, as PyTorch's DataLoader comes and many a script leaves it, and a machine's fill."""
    return sorted({0, min(16, len(os.sched_getaffinity(0)))})


def seed_style(
    datamodule: FaceDataModule, side: int, batch: int, steps: int, workers: int
) -> SeedStyle:
    """The peer on the first `steps` batches' worth of our training pictures."""
    table = datamodule.table
    rows = table.frame.iloc[np.resize(table.rows("train"), steps * batch)]
    files = [table.root / image for image in rows["image"]]
    genders = rows["gender"].tolist()
    return SeedStyle(files, genders, side, batch, workers, workload.device())


if __name__ == "__main__":
    main()
