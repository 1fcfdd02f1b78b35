"""What every balancing method costs: its training step ÷ the step with fixed weights.

One ResNet-18 at 64 px with two tasks, and with forty (each attribute a loss of its own), on one
batch that lies on the device already: on a CPU of the size with which the published experiments of
so many tasks train, for what a method adds is the same for any batch. The learning rate is 0, so
that all methods see the same network, and they take turns.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate

from benchmarks import workload
from benchmarks.measure import headline, interleave, options, ratio, report, shown, spread
from mtlface.balancing import Balancer
from mtlface.door import config_folder
from mtlface.errors import MtlfaceError
from mtlface.menu import options as menu_options
from mtlface.models import untracked_batchnorm
from mtlface.training.module import MultiTaskModule

TASKS = {
    "two tasks": ["task=[gender,landmarks]"],
    "forty tasks": ["task=[attributes]", "tasks.attributes.per_attribute=true"],
}
GOALS = {"two tasks": "≤ 1.15", "forty tasks": "≤ 1.5"}
BATCHES = {"two tasks": 32, "forty tasks": 256}  # of celeba_landmarks_gender and of celeba40


def main(arguments: list[str] | None = None) -> None:
    """Measures and reports; `arguments` stand for the command line."""
    chosen = options(__doc__, repeats=5).parse_args(arguments)
    where = workload.here()
    gpu = workload.device().type == "cuda"
    batches, steps = (dict.fromkeys(TASKS, 512), 20) if gpu else (BATCHES, 1)
    repeats, methods = chosen.repeats, list(menu_options(config_folder(), "balancing"))
    if chosen.quick:
        batches, repeats, methods = dict.fromkeys(TASKS, 8), 1, ["fixed", "famo", "pcgrad"]
    results: dict[str, Any] = {"protocol": {"batch": batches, "steps": steps, "repeats": repeats}}
    headlines = []
    for title, overrides in TASKS.items():
        found = _costs(overrides, methods, batches[title], steps, repeats)
        results[title] = found
        timed = {n: c for n, c in found.items() if c["level"] == "features" and "median" in c}
        for what, name in (("median", _median(timed)), ("dearest", max(timed, key=_cost(timed)))):
            of = f"{title}, batch {batches[title]}"
            measure = f"step of the {what} method at the features ({name}) ÷ fixed, {of}"
            headlines.append(headline(measure, timed[name], goal=GOALS[title]))
    rows = [[name, *_levels_and_costs(name, results)] for name in methods]
    columns = ["method", "level", *(f"{title}, batch {n}" for title, n in batches.items())]
    detail = "Step ÷ step with fixed weights, ResNet-18 at 64 px, median (lowest to highest)"
    detail += f", n={repeats}"
    report("balancing", results, rows, columns, where, headlines, not chosen.quick, detail)


def _cost(found: dict[str, Any]) -> Callable[[str], float]:
    return lambda name: float(found[name]["median"])


def _median(found: dict[str, Any]) -> str:
    return sorted(found, key=_cost(found))[len(found) // 2]


def _levels_and_costs(name: str, results: dict[str, Any]) -> list[str]:
    costs = [results[title][name] for title in TASKS]
    words = ["not timed" if "left_out" in cost else shown(cost) for cost in costs]
    return [costs[0]["level"], *words]


def _costs(
    overrides: list[str], methods: list[str], batch: int, steps: int, repeats: int
) -> dict[str, Any]:
    base = ["data.image_size=[64,64]", f"data.batch_size={batch}", *overrides]
    module, datamodule = workload.built(workload.configured(*base))
    resident = workload.first_batches(datamodule, 1)[0]
    cases, levels, left_out = {}, {}, {}
    for name in methods:
        cfg = workload.configured(*base, f"balancing={name}")
        make = instantiate(cfg.balancing, _partial_=True)
        try:
            balancer: Balancer = make(tasks=module.loss_names).to(workload.device())
        except MtlfaceError as error:
            levels[name], left_out[name] = "", str(error)
            continue
        levels[name] = balancer.level
        if balancer.level == "parameters" and len(module.loss_names) > 2:
            left_out[name] = "a backward pass a task: not timed for so many"
            continue
        cases[name] = _step(module, balancer, resident, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers on the same point again and again
        seconds = interleave(cases, repeats)
    found: dict[str, Any] = {
        name: {"level": levels[name], **ratio(values, seconds["fixed"])}
        for name, values in seconds.items()
    }
    found["fixed"]["seconds"] = spread([value / steps for value in seconds["fixed"]])
    return found | {n: {"level": levels[n], "left_out": why} for n, why in left_out.items()}


def _step(
    module: MultiTaskModule, balancer: Balancer, batch: workload.Batch, steps: int
) -> Callable[[], None]:
    parameters = [*module.parameters(), *balancer.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.0, fused=True)
    shared = list(module.backbone.parameters())
    module.train()

    def run() -> None:
        for _ in range(steps):
            features = module.backbone(batch["image"])
            losses, counts = module.losses(module.heads(features, batch["image"]), batch)
            balancer(losses, counts > 0, features, shared).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if balancer.needs_losses_after_step:
                with torch.no_grad(), untracked_batchnorm(module.backbone):
                    after, counts = module.losses(module(batch["image"]), batch)
                balancer.update(after, counts > 0)
        workload.wait()

    return run


if __name__ == "__main__":
    main()
