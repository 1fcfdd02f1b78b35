"""Store build against a plain Pillow loop, and the memory of stores of 10,000 to 200,000 rows.

python -m benchmarks.store                  # both, about five minutes on two cores
python -m benchmarks.store --only rate      # the build rate only, about a minute
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import headline, interleave, machine, options, ratio, report, shown, spread
from benchmarks.peers.torchvision_celeba import celeba_layout, read_all
from mtlface.data.pixels import open_store

DEMO = Path(__file__).parents[1] / "mtlface" / "data" / "demo" / "celeba.zip"

MEMORY_OF_A_STORE = """
import json, os, sys
from pathlib import Path

def memory():
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0][:-1]: int(line[1]) / 1024 for line in lines if line[0][:3] in ("VmH", "Rss")}

root, cache, count, side, read = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
from mtlface.data.pixels import open_store
images = [f"{i:06d}.jpg" for i in range(count)]
before = memory()
store = open_store(images, root, (side, side), cache, progress=False)
if read:
    import numpy as np
    order = np.random.default_rng(0).permutation(count)
    for start in range(0, count, 256):
        store.pixels[np.sort(order[start : start + 256])].sum()
after = memory()
print(json.dumps({"imports": before, "end": after, "build_s": store.build_s}))
"""


def replicate_demo(folder: Path, copies: int) -> list[str]:
    """Unpacks the demo faces `copies` times and returns their names."""
    names: list[str] = []
    with zipfile.ZipFile(DEMO) as archive:
        members = [name for name in archive.namelist() if name.endswith(".jpg")]
        for copy in range(copies):
            (folder / str(copy)).mkdir()
            for member in members:
                names.append(f"{copy}/{Path(member).name}")
                (folder / names[-1]).write_bytes(archive.read(member))
    return names


def pillow_loop(names: list[str], root: Path, size: tuple[int, int], target: Path) -> None:
    """What one writes without a library: open, convert, resize, write the array."""
    array = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.uint8, shape=(len(names), *size, 3)
    )
    for row, name in enumerate(names):
        with Image.open(root / name) as image:
            resized = image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
            array[row] = np.asarray(resized)
    array.flush()


def build_rate(copies: int, sides: list[int], repeats: int) -> dict[str, Any]:
    """Pictures a second of the store build and of the Pillow loop, in turns, by size."""
    with tempfile.TemporaryDirectory() as scratch:
        root = celeba_layout(Path(scratch, "data"))
        names = replicate_demo(root, copies)
        return {f"{side} px": _rate_at(names, root, side, repeats) for side in sides}


def _rate_at(names: list[str], root: Path, side: int, repeats: int) -> dict[str, Any]:
    cache, target = root.parent / "cache", root.parent / "plain.npy"

    def open_it(workers: int | None = None) -> None:
        open_store(names, root, (side, side), cache, workers, progress=False)

    def build(workers: int | None) -> None:
        shutil.rmtree(cache, ignore_errors=True)
        open_it(workers)

    cpu_seconds: dict[str, list[float]] = {}
    seconds = interleave(
        {
            "pillow loop": lambda: pillow_loop(names, root, (side, side), target),
            "torchvision CelebA": lambda: read_all(names, root, (side, side)),
            "store": lambda: build(None),
            "store, 1 thread": lambda: build(1),
        },
        repeats,
        cpu_seconds=cpu_seconds,
    )
    loop = "pillow loop"
    return {
        "pictures": len(names),
        "bytes_on_disk": len(names) * side * side * 3,
        "pictures_per_s": {
            case: spread([len(names) / value for value in values])
            for case, values in seconds.items()
        },
        "store ÷ loop": ratio(seconds[loop], seconds["store"]),
        "store ÷ torchvision": ratio(seconds["torchvision CelebA"], seconds["store"]),
        "1 thread ÷ loop": ratio(seconds[loop], seconds["store, 1 thread"]),
        # Other processes on the machine take wall time from two threads, but hardly CPU time.
        "store ÷ loop, by CPU time": ratio(cpu_seconds[loop], cpu_seconds["store, 1 thread"]),
        "open_s": spread(interleave({"open": open_it}, repeats)["open"]),
    }


def link_synthetic(folder: Path, count: int, side: int) -> None:
    """`count` names of noise pictures; links, so that only the store takes room."""
    generator = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"{i:06d}.jpg"
        if i < 500:
            stream = io.BytesIO()
            noise = generator.integers(0, 255, (side, side, 3), dtype=np.uint8)
            Image.fromarray(noise).save(stream, "JPEG", quality=50)
            path.write_bytes(stream.getvalue())
        else:
            os.link(folder / f"{i % 500:06d}.jpg", path)


def peak_memory(counts: list[int], side: int) -> dict[str, Any]:
    """Memory in MiB of processes that build a store, and of others that read all of it."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root, cache = Path(scratch, "data"), Path(scratch, "cache")
        root.mkdir()
        link_synthetic(root, max(counts), side)
        for count in counts:
            build, read = (
                json.loads(
                    subprocess.run(
                        [sys.executable, "-c", MEMORY_OF_A_STORE]
                        + [str(item) for item in (root, cache, count, side, int(reading))],
                        check=True,
                        capture_output=True,
                        text=True,
                    ).stdout
                )
                for reading in (False, True)
            )
            shutil.rmtree(cache)
            results[str(count)] = {
                "imports_peak_mib": build["imports"]["VmHWM"],
                "build_peak_mib": build["end"]["VmHWM"],
                "build_s": build["build_s"],
                "read_own_mib": read["end"]["RssAnon"],
                "read_page_cache_mib": read["end"]["RssFile"],
                "pixels_mib": count * side * side * 3 / 2**20,
            }
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    parser = options(__doc__, repeats=5)
    parser.add_argument("--only", choices=["rate", "memory"], help="one of the two")
    parser.add_argument("--copies", type=int, default=2, help="of the 2,000 demo faces")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128], help="pixels")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.repeats, chosen.copies, chosen.sides, chosen.rows = 1, 1, [64], [1000]
    if chosen.only != "memory":
        where = machine()
        rates = build_rate(chosen.copies, chosen.sides, chosen.repeats)
        ratios = [key for key in next(iter(rates.values())) if "÷" in key]
        rows = [
            [
                size,
                *(f"{rate['median']:.0f}" for rate in result["pictures_per_s"].values()),
                *(shown(result[key]) for key in ratios),
                f"{1000 * result['open_s']['median']:.0f} ms",
            ]
            for size, result in rates.items()
        ]
        rivals = [f"{case}, 1/s" for case in next(iter(rates.values()))["pictures_per_s"]]
        headlines = [
            headline(f"store build, {size}: times as fast as {rival}", result[key], goal=goal)
            for size, result in rates.items()
            for key, rival, goal in (
                ("store ÷ loop", "a Pillow loop", "≥ 3"),
                ("store ÷ torchvision", "reading torchvision's CelebA", ""),
            )
        ]
        titles = ["size", *rivals, *ratios, "open"]
        report("store_rate", rates, rows, titles, where, headlines, keep=not chosen.quick)
    if chosen.only != "rate":
        where = machine()
        memory = peak_memory(chosen.rows, side=64)
        rows = [
            [count, *(f"{value:.0f}" for value in row.values())] for count, row in memory.items()
        ]
        grown = [row["build_peak_mib"] - row["imports_peak_mib"] for row in memory.values()]
        headlines = [
            headline(
                f"store build of {int(count):,} pictures, 64 px: peak memory above the imports",
                spread([more]),
                " MiB",
            )
            for count, more in zip(memory, grown, strict=True)
        ]
        titles = ["rows", *next(iter(memory.values()))]
        report("store_memory", memory, rows, titles, where, headlines, keep=not chosen.quick)


if __name__ == "__main__":
    main()
