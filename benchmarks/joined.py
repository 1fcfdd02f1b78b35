"""Training on three data sets at once beside one of them, at the same batch: images a second.

Both train gender with the same network, batch size and augmentation; what differs is where the
images of a batch lie. Steps are timed with their loader, in turns.

python -m benchmarks.joined
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from lightning.pytorch.utilities import move_data_to_device

from benchmarks import workload
from benchmarks.measure import headline, interleave, options, report, shown, spread
from mtlface.data.datamodule import FaceDataModule

STEPS = 40
TRUNKS = ("cnn3", "resnet18")
ONE, SEVERAL = "data=celeba", "data=[celeba,agegender,facecom]"


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=9).parse_args(arguments)
    steps = 3 if chosen.quick else STEPS
    where = workload.here()
    results: dict[str, Any] = {"protocol": {"steps": steps, "batch": 32, "image": [64, 64]}}
    rows, headlines = [], []
    for trunk in TRUNKS:
        cases = {name: _epoch(data, trunk, steps) for name, data in _data().items()}
        seconds = interleave(cases, 2 if chosen.quick else chosen.repeats)
        # The same number of images in both.
        pairs = zip(seconds["one"], seconds["several"], strict=True)
        found = spread([one / several for one, several in pairs])
        results[trunk] = {"throughput": found, "seconds": seconds}
        title = f"throughput of three data sets in one network ÷ one's, {trunk} 64 px, batch 32"
        rows.append([title, shown(found, unit="×")])
        headlines.append(headline(title, found, goal="≥ .95"))
    stored = {name: _module(data).store for name, data in _data().items()}
    copied = stored["several"].bytes - sum(part.bytes for part in stored["several"].stores)
    title = "bytes of pixels that three data sets have more than their own stores"
    rows.append([title, f"{copied:,}"])
    headlines.append(headline(title, spread([copied]), " B", "0"))
    report(
        "joined", results | {"copied_bytes": copied}, rows, ["measure", "result (range)"], where,
        headlines, keep=not chosen.quick,
    )  # fmt: skip


def _data() -> dict[str, str]:
    return {"one": ONE, "several": SEVERAL}


def _config(data: str, trunk: str) -> Any:
    return workload.configured(
        data, "task=[gender]", f"backbone={trunk}", "augment=basic",
        "data.image_size=[64,64]", "data.batch_size=32", "name=joined",
    )  # fmt: skip


def _module(data: str) -> FaceDataModule:
    datamodule = workload.built(_config(data, TRUNKS[0]))[1]
    datamodule.load()
    return datamodule


def _epoch(data: str, trunk: str, steps: int) -> Callable[[], object]:
    """So many training steps from the loader's first batch on."""
    cfg = _config(data, trunk)
    module, datamodule = workload.built(cfg)
    loader = datamodule.train_dataloader()
    network = module.train()
    optimizer: Any = network.configure_optimizers()

    def epoch() -> None:
        for batch in islice(loader, steps):
            batch = datamodule.on_after_batch_transfer(
                move_data_to_device(batch, workload.device()), 0
            )
            losses, _ = network.losses(network(batch["image"]), batch)
            losses.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        workload.wait()

    return epoch


if __name__ == "__main__":
    main()
