"""What small maps as matrix products bring: a step with plain convolutions ÷ the step as it comes.

The same ResNet-18 at 64 px on one batch that lies there already, in turns. On a CPU only: elsewhere
the layers are plain convolutions.
"""

import copy
from typing import Any

import torch
from torch import nn

from benchmarks import workload
from benchmarks.measure import headline, interleave, options, ratio, report, shown
from mtlface.models.small_maps import SmallMapConv2d
from mtlface.training.module import MultiTaskModule

STEPS = 4


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=7).parse_args(arguments)
    if workload.device().type != "cpu":
        print("small_maps: nothing to measure on a GPU, where layers are plain convolutions.")
        return
    where = workload.here()
    batches, repeats = ((16, 32), chosen.repeats) if not chosen.quick else ((8,), 1)
    results: dict[str, Any] = {"protocol": {"repeats": repeats, "steps": STEPS}}
    rows, headlines = [], []
    for dtype, precision in (("bf16", "bf16-mixed"), ("fp32", "32-true")):
        for batch in batches:
            times = _times_as_fast(precision, batch, repeats)
            name = f"{dtype}, batch {batch}"
            results[name] = times
            rows.append([name, shown(times)])
            title = (
                f"step with plain convolutions ÷ small maps as products, ResNet-18, 64 px, {name}"
            )
            headlines.append(headline(title, times))
    columns = ["case", "times as fast (range)"]
    report("small_maps", results, rows, columns, where, headlines, keep=not chosen.quick)


def _times_as_fast(precision: str, batch: int, repeats: int) -> dict[str, float]:
    cfg = workload.configured(
        "task=[gender]",
        "data.image_size=[64,64]",
        f"data.batch_size={batch}",
        f"trainer.precision={precision}",
    )
    module, datamodule = workload.built(cfg)
    resident = workload.first_batches(datamodule, 1)[0]
    networks = {"ours": module, "plain": _with_plain_convolutions(module)}
    rivals = {
        name: workload.repeated(workload.bare_step(network, cfg, resident))
        for name, network in networks.items()
    }
    seconds = interleave({n: lambda r=r: r(STEPS) for n, r in rivals.items()}, repeats)
    return ratio(seconds["plain"], seconds["ours"])


def _with_plain_convolutions(module: MultiTaskModule) -> MultiTaskModule:
    plain = copy.deepcopy(module)
    for layer in plain.modules():
        if isinstance(layer, SmallMapConv2d):
            layer.__class__ = nn.Conv2d
            layer.to(memory_format=torch.channels_last)
    return plain


if __name__ == "__main__":
    main()
