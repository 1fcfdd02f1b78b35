import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TASKS = {
    "gender": {"label": "gender", "primary": "accuracy"},
    "landmarks": {"label": "landmarks", "primary": "nme"},
}


LABELS = [
    {"kind": "binary", "name": "gender", "classes": ["female", "male"]},
    {"kind": "points", "name": "landmarks", "names": ["left_eye", "right_eye"], "mirror": []},
]
IMAGES = 600


def result(arm: str, seed: int, metrics: dict[str, Any], **changes: Any) -> dict[str, Any]:
    tasks = changes.pop("tasks", None) or {
        task: info for task, info in TASKS.items() if any(f"/{task}/" in key for key in metrics)
    }
    content: dict[str, Any] = {
        "schema": 2,
        "experiment": arm,
        "label": None,
        "arm": arm,
        "sweep": "demo_sweep",
        "data": "celeba",
        "trained_on": {
            "celeba": {
                "root_kind": "folder",
                "counts": {"train": 700, "val": 150, "test": IMAGES},
                "images": "a1b2c3d4e5f6",
                "fingerprint": "0123456789abcdef",
                "omitted": 0,
            }
        },
        "seed": seed,
        "tasks": tasks,
        "labels": LABELS,
        "directions": {"gender/accuracy": True, "gender/auroc": True, "landmarks/nme": False},
        "metrics": metrics,
        "trivial": {"test/gender/accuracy": 0.53, "test/landmarks/nme": 0.169},
        "selection": {"monitor": "val/skill", "value": 0.1, "epoch": 7, "mode": "max"},
        "budget": {
            "fit_s": 50.0 + seed,
            "images_per_s": 900.0,
            "epochs": 8,
            "peak_memory_mb": 800.0,
        },
        "model": {"parameters": 11_200_000, "backbone": "resnet18"},
        "config": {
            "seed": seed,
            "tasks": {task: {"loss": "plain"} for task in tasks},
            "data": {"image_size": [64, 64], "batch_size": 32},
            "trainer": {"max_epochs": 8},
        },
        "environment": {"device": "cpu", "precision": "32-true"},
        "git": None,
        "overrides": [],
        "identity": f"{arm}-{seed}",
    }
    for key, value in changes.items():
        node = content
        *parents, last = key.split(".")
        for part in parents:
            node = node[part]
        node[last] = value
    return content


def write_run(root: Path, arm: str, seed: int, metrics: dict[str, Any], **changes: Any) -> Path:
    """Writes a run folder with its result.json; `changes` set dotted paths of the result."""
    content = result(arm, seed, metrics, **changes)
    group = content["sweep"] or content["experiment"]
    folder = root / str(group) / arm / content["data"] / f"seed={seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def write_predictions(
    folder: Path,
    *,
    gender: float | None,
    nme: float | None,
    images: int = IMAGES,
    people: int | None = None,
) -> dict[str, float]:
    """Writes test predictions with about the given accuracy and NME; returns the exact metrics.

    An image is as hard for one network as for another, up to a little noise.
    """
    arm, seed = folder.parent.parent.name, int(folder.name.removeprefix("seed="))
    noise = np.random.default_rng([seed, *map(ord, arm)])
    world = np.random.default_rng(7)
    columns: dict[str, Any] = {"image": [f"{i:06}.jpg" for i in range(images)]}
    truth, hard = world.random(images) < 0.5, world.random(images)
    size = world.gamma(4, 0.25, images)
    classes, found = np.array(["female", "male"]), {}
    if gender is not None:
        right = hard + 0.01 * noise.standard_normal(images) < gender
        predicted = np.where(right, truth, ~truth)
        confidence = noise.uniform(0.5, 1.0, images)
        columns |= {
            "gender": classes[predicted.astype(int)],
            "gender_probability": np.where(predicted, confidence, 1 - confidence).round(4),
            "gender_true": classes[truth.astype(int)],
            "gender/error": (~right).astype(int),
        }
        found["test/gender/accuracy"] = float(right.mean())
    if nme is not None:
        errors = nme * size * noise.uniform(0.95, 1.05, images)
        columns["landmarks/error"] = errors.round(6)
        found["test/landmarks/nme"] = float(errors.mean())
    columns["condition"] = [("clear", "fog")[i % 2] for i in range(images)]
    if people:
        columns["person"] = [f"p{i % people}" for i in range(images)]
    with (folder / "test_predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return found


def write_curves(folder: Path, metrics: dict[str, float], epochs: int = 8) -> None:
    """Writes a metrics.csv whose values approach the given ones."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *metrics])
        for epoch in range(epochs):
            share = 1 - 0.5 * np.exp(-epoch / 2)
            writer.writerow([epoch, *(value * share for value in metrics.values())])


def four_arms(root: Path, seeds: range = range(5), **changes: Any) -> Path:
    """Two single-task arms, a multi-task arm that fails and one that helps gender."""
    means = {
        "celeba_gender": {"gender": 0.81},
        "celeba_landmarks": {"landmarks": 0.105},
        "celeba_landmarks_gender": {"gender": 0.55, "landmarks": 0.190},
        "celeba_landmarks_gender_improved": {"gender": 0.85, "landmarks": 0.104},
    }
    for a, (arm, tasks) in enumerate(means.items()):
        for seed in seeds:
            rng = np.random.default_rng([a, seed])
            metrics: dict[str, Any] = {}
            if "gender" in tasks:
                accuracy = tasks["gender"] + 0.012 * rng.standard_normal()
                metrics |= {
                    "test/gender/accuracy": accuracy,
                    "test/gender/auroc": accuracy + 0.06,
                    "test/gender/accuracy@condition=clear": accuracy + 0.03,
                    "test/gender/accuracy@condition=fog": accuracy - 0.05,
                }
            if "landmarks" in tasks:
                nme = tasks["landmarks"] + 0.003 * rng.standard_normal()
                metrics |= {"test/landmarks/nme": nme, "test/landmarks/mse_px": 500 * nme}
            if len(tasks) > 1:
                metrics["balance/cosine/gender/landmarks"] = -0.2 if "improved" not in arm else 0.1
            folder = write_run(root, arm, seed, metrics, **changes)
            accuracy, nme = (metrics.get(f"test/{k}") for k in ("gender/accuracy", "landmarks/nme"))
            metrics |= write_predictions(folder, gender=accuracy, nme=nme)
            write_run(root, arm, seed, metrics, **changes)
            val = {f"val/{t}/{TASKS[t]['primary']}": v for t, v in tasks.items()}
            write_curves(folder, {k: v + 0.02 * rng.standard_normal() for k, v in val.items()})
    return root / "demo_sweep"


@pytest.fixture
def run_writer(tmp_path):
    """Writes one run below the test's folder."""
    return lambda *args, **changes: write_run(tmp_path, *args, **changes)


@pytest.fixture
def predictions_writer():
    """Writes a run's test_predictions.csv."""
    return write_predictions


@pytest.fixture
def sweep(tmp_path):
    """A whole sweep of four arms × five seeds, with predictions and curves."""
    return four_arms(tmp_path)


@pytest.fixture(scope="session")
def arms_writer():
    """Writes the four arms and their twins into a folder."""
    return four_arms
