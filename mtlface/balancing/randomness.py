"""Random balancing methods that resume, and that agree over ranks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StepRandomness:
    """Gives step n of a run the same random numbers, whatever else drew from the generators.

    torchjd draws from torch's global generators, whose state no checkpoint holds and which ranks
    advance differently. Here step n draws under a seed made of n and of the run's seed
    (``torch.initial_seed()`` at construction), and the global generators are left untouched.

    Attributes:
        seed: The run's seed.
        step: Number of steps begun.
    """

    def __init__(self) -> None:
        self.seed = torch.initial_seed() % 2**31
        self.step = 0

    @contextmanager
    def next_step(self, device: torch.device) -> Iterator[None]:
        """Seeds torch's generators of the CPU and of ``device`` for the step that begins."""
        self.step += 1
        with fixed_seed(self.seed * 1_000_003 + self.step, device):
            yield


@contextmanager
def fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Runs a block under ``seed`` and then puts the generators back."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # Not torch.manual_seed: it would reseed devices that fork_rng does not put back.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
