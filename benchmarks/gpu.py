"""A data-centre GPU: rates by size, batch and compilation, its roofline, and CelebA-sized epochs.

Everything in bf16. The bare step and training end to end take turns. The long run has 162,770
synthetic pictures of 128 px, as many as CelebA's training split. Every case of the grid is written
when it is done, beside those of earlier calls, so that short commands add up to the whole of it.

python -m benchmarks.gpu                        # all, about fifteen minutes
python -m benchmarks.gpu --only grid --sides 128 --batches 512
"""

import gc
import logging
import time
from collections import defaultdict
from itertools import product
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from benchmarks import workload
from benchmarks.measure import headline, options, ratio, report, shown, spread
from benchmarks.roofline import counted, shares
from benchmarks.synthetic import synthetic

CELEBA = 162_770
PICTURES_AN_EPOCH = 32_768  # of the grid, whatever the batch


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--only", choices=["grid", "profile", "epochs"], help="one of the three")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 224], help="pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--batch", type=int, default=512, help="of the profile and the epochs")
    chosen = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("gpu: skipped, for torch finds no CUDA device here.")
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if chosen.quick:
        chosen.repeats, chosen.sides, chosen.batches = 1, [64], [256]
    if chosen.only in (None, "grid"):
        _grid(chosen.sides, chosen.batches, chosen.repeats, keep=not chosen.quick)
    if chosen.only in (None, "profile"):
        _profile(chosen.batch, keep=not chosen.quick)
    if chosen.only in (None, "epochs"):
        pictures = CELEBA // 20 if chosen.quick else CELEBA
        _epochs(chosen.batch, pictures, max(3, chosen.repeats), keep=not chosen.quick)


def _configured(side: int, batch: int, compiled: bool) -> Any:
    return workload.configured(
        "task=[gender,landmarks]",
        "augment=basic",
        "data.loader=device",
        f"data.image_size=[{side},{side}]",
        f"data.batch_size={batch}",
        f"compile={str(compiled).lower()}",
    )


def _grid(sides: list[int], batches: list[int], repeats: int, keep: bool) -> None:
    where = workload.here()
    for side, batch, compiled in product(sides, batches, (False, True)):
        name = f"{side} px, batch {batch}, {'compiled' if compiled else 'eager'}"
        headlines: list[Any] = []
        _forget()
        try:
            found = _case(side, batch, compiled, repeats, where["device"])
        except torch.OutOfMemoryError:
            found = {"left_out": "out of memory"}
            row = [name, "out of memory", "", "", "", ""]
        else:
            rate, share = found["pictures_per_s"]["ours"], found["bare ÷ ours"]
            row = [
                name,
                f"{rate['median']:,.0f}",
                f"{found['pictures_per_s']['bare']['median']:,.0f}",
                shown(share, decimals=3),
                *(_percent(found["roofline"][key]) for key in found["roofline"]),
            ]
            if batch == 512:
                wanted = ("≥ .90", "≥ 36,000") if (side, compiled) == (128, True) else ("", "")
                title = f"ResNet-18 in bf16, {name}"
                headlines = [
                    headline(f"{title}: end-to-end ÷ bare step", share, "", wanted[0]),
                    headline(f"{title}: pictures/s end to end", rate, "", wanted[1]),
                ]
        columns = [
            "case",
            "pictures/s",
            "bare",
            "of the bare rate",
            "of peak FLOP/s",
            "of peak bytes",
        ]
        report("gpu_grid", {name: found}, [row], columns, where, headlines, keep, merge=True)


def _forget() -> None:
    """Gives back the memory and the compiled code of the case before."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _case(side: int, batch: int, compiled: bool, repeats: int, device: str) -> dict[str, Any]:
    steps = max(8, PICTURES_AN_EPOCH // batch)
    cfg = _configured(side, batch, compiled)
    module, datamodule = workload.built(cfg, synthetic(cfg, steps * batch))
    resident = workload.first_batches(datamodule, 1)[0]
    eager = workload.bare_step(module, _configured(side, batch, False), resident)
    eager()
    work = counted(eager)
    bare = workload.repeated(workload.bare_step(module, cfg, resident))
    torch.cuda.reset_peak_memory_stats()
    seconds = workload.fit(cfg, module, datamodule, steps, repeats, {"bare": bare})
    a_step = spread(seconds["bare"])["median"] / steps
    return {
        "pictures_per_s": {
            name: spread([steps * batch / value for value in values])
            for name, values in seconds.items()
        },
        "bare ÷ ours": ratio(seconds["bare"], seconds["ours"]),
        "roofline": shares(work, a_step, device),
        "work_of_a_step": work,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "seconds": seconds,
    }


class Profiled(Callback):
    """Profiles steps 10 to 20 of the second epoch, when everything is warm."""

    def __init__(self) -> None:
        self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Starts."""
        if trainer.current_epoch == 1 and batch_idx == 10:
            torch.cuda.synchronize()
            self.started = time.perf_counter()
            self.profiler.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops."""
        if trainer.current_epoch == 1 and batch_idx == 19:
            torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.started
            self.profiler.stop()


def _profile(batch: int, keep: bool) -> None:
    """Where the time of a compiled step end to end goes, by kernel."""
    where = workload.here()
    _forget()
    cfg = _configured(128, batch, compiled=True)
    module, datamodule = workload.built(cfg, synthetic(cfg, 24 * batch))
    profiled = Profiled()
    workload.fit(cfg, module, datamodule, 24, 1, {}, [profiled])
    sums: dict[str, FunctionEventAvg] = defaultdict(FunctionEventAvg)
    for event in profiled.profiler.events():
        # Annotations span the kernels beneath them, and would count their time twice.
        if event.device_type.name == "CUDA" and not event.is_user_annotation:
            sums[event.key].add(event)
    kernels = sorted(sums.values(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in kernels) / 1e6
    results: dict[str, Any] = {
        "protocol": {"side": 128, "batch": batch, "steps": 10, "compiled": True},
        "wall_s": profiled.seconds,
        "kernels_s": total,
        "kernels": {
            event.key[:120]: {"s": event.self_device_time_total / 1e6, "calls": event.count}
            for event in kernels[:25]
        },
    }
    rows = [
        [event.key[:70], str(event.count), f"{event.self_device_time_total / 1e6 / total:.1%}"]
        for event in kernels[:15]
    ]
    rows.append(["all kernels, of the wall time", "", f"{total / profiled.seconds:.1%}"])
    report("gpu_profile", results, rows, ["kernel", "calls", "of kernel time"], where, keep=keep)


def _epochs(batch: int, pictures: int, repeats: int, keep: bool) -> None:
    """Seconds of each epoch of a set as large as CelebA, loading it to the device included once."""
    where = workload.here()
    _forget()
    cfg = _configured(128, batch, compiled=True)
    module, datamodule = workload.built(cfg, synthetic(cfg, pictures))
    seconds = workload.fit(cfg, module, datamodule, -(-pictures // batch), repeats, {})["ours"]
    found, rate = spread(seconds), spread([pictures / value for value in seconds])
    results = {
        "pictures": pictures,
        "batch": batch,
        "seconds": seconds,
        "seconds_spread": found,
        "pictures_per_s": rate,
    }
    rows = [[str(i), f"{s:.2f} s", f"{pictures / s:,.0f}"] for i, s in enumerate(seconds, start=1)]
    title = f"an epoch of {pictures:,} pictures at 128 px, ResNet-18, bf16, compiled, batch {batch}"
    headlines = [headline(title, found, " s", "≤ 4.5 s")]
    report("gpu_epochs", results, rows, ["epoch", "time", "pictures/s"], where, headlines, keep)


if __name__ == "__main__":
    main()
