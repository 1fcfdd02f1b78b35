"""End-to-end training ÷ the bare model step: what the data path and the trainer cost.

The bare step is the same network and optimizer on one batch that lies on the device already. Ours
is the data module with basic augmentation, the module and Lightning's fit loop. They take turns,
an epoch each. A row more is a whole epoch of all training images as users run it: with validation,
checkpoints, logs and panels.
"""

import logging
from typing import Any

from benchmarks import workload
from benchmarks.measure import headline, options, ratio, report, shown, spread
from benchmarks.synthetic import synthetic

# Pixels, loader and steps an epoch; a step at 128 px takes four times one at 64 px.
ON_CPU = ((64, "device", 8), (64, "workers", 8), (128, "device", 3))
ON_GPU = ((64, "device", 40), (128, "device", 40), (128, "workers", 40), (224, "device", 20))
GOALS = {(False, 64, "device"): "≥ .95", (True, 128, "device"): "≥ .90"}


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=5)
    parser.add_argument("--compile", action="store_true", help="compile the trunk, on both sides")
    chosen = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = workload.here()
    gpu = workload.device().type == "cuda"
    plan = ON_GPU if gpu else ON_CPU
    batch = 512 if gpu else 32
    repeats = chosen.repeats
    if chosen.quick:
        plan, batch, repeats = ((64, "device", 2),), 16, 1
    results: dict[str, Any] = {}
    rows, headlines = [], []
    for side, loader, steps in plan:
        cfg = workload.configured(
            "task=[gender,landmarks]",
            "augment=basic",
            f"data.image_size=[{side},{side}]",
            f"data.loader={loader}",
            f"data.batch_size={batch}",
            f"compile={str(chosen.compile).lower()}",
            "monitor=loss",  # the constant predictor is no part of this
        )
        # The rendered faces are too few for an epoch of a GPU.
        module, datamodule = workload.built(cfg, synthetic(cfg, steps * batch) if gpu else None)
        resident = workload.first_batches(datamodule, 1)[0]
        bare = workload.repeated(workload.bare_step(module, cfg, resident))
        seconds = workload.fit(cfg, module, datamodule, steps, repeats, {"bare": bare})
        share = ratio(seconds["bare"], seconds["ours"])
        rate = spread([steps * batch / value for value in seconds["ours"]])
        name = f"{side} px, {loader} loader"
        results[name] = {"bare ÷ ours": share, "pictures_per_s": rate, "seconds": seconds}
        rows.append(
            [
                name,
                f"{rate['median']:.0f}",
                shown(share, decimals=3),
            ]
        )
        goal = GOALS.get((gpu, side, loader), "")
        title = f"end-to-end ÷ bare step, ResNet-18, {name}, basic augmentation"
        headlines.append(headline(title, share, "", goal))
        whole = spread(workload.fit_as_users_do(cfg, module, datamodule, repeats))
        results[name]["whole_epoch_s"] = whole
        rows.append([f"{name}: a whole epoch as users run it", shown(whole, unit=" s"), ""])
    results["protocol"] = {"batch": batch, "repeats": repeats, "compiled": chosen.compile}
    columns = ["case", "pictures/s", "of the bare rate (range)"]
    name = "end_to_end_compiled" if chosen.compile else "end_to_end"
    report(name, results, rows, columns, where, headlines, keep=not chosen.quick)


if __name__ == "__main__":
    main()
