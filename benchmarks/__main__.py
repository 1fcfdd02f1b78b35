"""All benchmarks, one after the other, or the table of their results.

python -m benchmarks                      # all; half an hour on two cores
python -m benchmarks --only end_to_end    # one of them, or several
python -m benchmarks --quick              # see that they run; nothing is kept
python -m benchmarks --table              # the table, from benchmarks/results/
"""

import argparse
import subprocess
import sys
import time

from benchmarks.table import table

BENCHMARKS = {
    "end_to_end": ["end_to_end"],
    "small_maps": ["small_maps"],
    "seed_style": ["against_seed_style"],
    "plain_script": ["against_plain_script"],
    "libmtl": ["against_libmtl"],
    "balancing": ["balancing", "--repeats", "3"],
    "host_time": ["host_time"],
    "checkpoints": ["checkpoints"],
    "startup": ["startup"],
    "augment": ["augment"],
    "store": ["store", "--only", "rate", "--copies", "4", "--repeats", "3"],
    "memory": ["store", "--only", "memory"],
    "joined": ["joined"],
    "predict": ["predict"],
    "gpu": ["gpu"],
}


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if one of them failed; `arguments` stand for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="see that they run; nothing is kept")
    parser.add_argument("--table", action="store_true", help="print the tables of the docs")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        print(table())
        return 0
    failed = []
    for name in chosen.only:
        module, *more = BENCHMARKS[name]
        command = [sys.executable, "-m", f"benchmarks.{module}", *more]
        started = time.monotonic()
        # A process each: one's threads, imports and memory are nothing to the next.
        code = subprocess.run([*command, *(["--quick"] if chosen.quick else [])]).returncode
        print(f"{name}: {time.monotonic() - started:.0f} s{' FAILED' if code else ''}", flush=True)
        failed += [name] if code else []
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
