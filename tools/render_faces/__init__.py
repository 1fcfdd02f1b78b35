"""Renders small labelled packs of synthetic faces from the CC0 MakeHuman morph targets.

What it needs is in `requirements.txt`; how to run it is in `README.md`.
"""

import os

# One thread per worker process: sums are then taken in the same order in every run.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
