"""Runs on several data sets: one report that tells images, tasks and data sets apart."""

import csv

import numpy as np
import pytest

from mtlface.analysis.comparison import compare_all
from mtlface.analysis.decisions import holm
from mtlface.analysis.results import read_runs
from mtlface.analysis.several_sources import growth_table
from mtlface.compare import main as compare
from mtlface.errors import MtlfaceError

TASKS = {
    "gender": {"label": "gender", "primary": "accuracy"},
    "landmarks": {"label": "landmarks", "primary": "nme"},
}
SOURCES = {"celeba": ("gender", "landmarks"), "facecom": ("gender",)}
KEYS = {"gender": "gender/accuracy", "landmarks": "landmarks/nme"}
# What each arm scores, by source and task: sharing costs landmarks, images help FaceCom's gender.
SCORES = {
    "joint": {"celeba": {"gender": 0.80, "landmarks": 0.20}, "facecom": {"gender": 0.80}},
    "joint,only=gender": {"celeba": {"gender": 0.80}, "facecom": {"gender": 0.80}},
    "joint,only=landmarks": {"celeba": {"landmarks": 0.10}},
    "both": {"celeba": {"gender": 0.80, "landmarks": 0.15}},
    "both,only=gender": {"celeba": {"gender": 0.80}},
    "both,only=landmarks": {"celeba": {"landmarks": 0.10}},
    "facecom_gender": {"facecom": {"gender": 0.60}},
}


def trained_on(sources):
    return {
        name: {
            "root_kind": "folder", "counts": {"train": 700, "val": 150, "test": 600},
            "images": f"images-of-{name}", "fingerprint": f"all-of-{name}", "omitted": 0,
        }
        for name in sources
    }  # fmt: skip


def data_of(sources):
    section = {name: {"reader": {"_target_": f"mtlface.data.{name}"}} for name in sources}
    if len(sources) > 1:
        return section | {"mix": "proportional"}
    return next(iter(section.values()))


@pytest.fixture
def sweep(tmp_path, run_writer):
    for a, (arm, by_source) in enumerate(SCORES.items()):
        sources = tuple(SOURCES) if arm.startswith("joint") else tuple(by_source)
        tasks = {task for of in by_source.values() for task in of}
        for seed in range(5):
            draw = np.random.default_rng([a, seed])
            found = {
                source: {KEYS[task]: v + 0.002 * draw.standard_normal() for task, v in of.items()}
                for source, of in by_source.items()
            }
            on = {
                source: {
                    "fingerprint": f"test-of-{source}",
                    "labels": {task: "same" for task in SOURCES[source] if task in tasks},
                    "n": 600, "metrics": found.get(source, {}), "trivial": {},
                }
                for source in sources
            }  # fmt: skip
            whole = {f"test/{key}": value for of in found.values() for key, value in of.items()}
            run_writer(
                arm, seed, whole, data="+".join(sources), experiment=arm.split(",")[0],
                tasks={task: TASKS[task] for task in sorted(tasks)},
                trained_on=trained_on(sources), evaluated_on=on, trivial={},
                **{"config.data": data_of(sources)},
            )  # fmt: skip
    return tmp_path


def test_each_data_set_is_compared_and_images_tasks_and_data_sets_are_told_apart(sweep):
    celeba, facecom = compare_all(read_runs([sweep]))
    assert (celeba.data["name"], facecom.data["name"]) == ("celeba", "facecom")
    said = {(d.kind, d.arm, d.reference, d.metric.task): round(d.mean, 2) for d in celeba.verdicts}
    assert said[("more images", "joint,only=landmarks", "both,only=landmarks", "landmarks")] == 0
    assert said[("sharing", "joint", "joint,only=landmarks", "landmarks")] == 0.1
    assert said[("sharing", "both", "both,only=landmarks", "landmarks")] == 0.05
    assert said[("more sources", "joint", "both", "landmarks")] == 0.05
    assert not any(kind == "recipe" for kind, *_ in said)
    of_gender = {(d.kind, d.arm): d.answer for d in facecom.verdicts}
    assert of_gender == {
        ("more images", "joint,only=gender"): "better", ("sharing", "joint"): "shown equal",
    }  # fmt: skip


def test_p_values_are_corrected_over_all_data_sets(sweep):
    found = [d for part in compare_all(read_runs([sweep])) for d in part.verdicts]
    assert [d.p_holm for d in found] == pytest.approx(holm([d.p for d in found]))
    (alone,) = compare_all(read_runs([sweep]), data="facecom")
    assert {d.p_holm for d in alone.verdicts} != {d.p_holm for d in found}


def test_the_table_of_growth_has_a_row_per_task_and_data_set(sweep):
    table = growth_table(compare_all(read_runs([sweep])))
    assert [row[:2] for row in table.rows] == [
        ("gender accuracy ↑", "celeba"), ("landmarks NME ↓", "celeba"),
        ("gender accuracy ↑", "facecom"),
    ]  # fmt: skip
    landmarks, facecom = table.rows[1], table.rows[2]
    assert "worse" in landmarks[3] and "worse" in landmarks[4]
    assert "better" in facecom[2] and facecom[4] == "–"


def test_one_report_has_all_of_them(sweep, capsys):
    assert compare([f"runs={sweep}"]) == 0
    printed = capsys.readouterr().out
    assert "More images, more tasks, more data sets" in printed
    page = (sweep / "comparison.html").read_text()
    assert page.count('class="part"') == 2 and "On facecom" in page
    assert page.count("<h2>More images, more tasks, more data sets</h2>") == 1
    with (sweep / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["data"] for row in rows} == {"celeba", "facecom"}
    assert {row["statement"] for row in rows} >= {"sharing", "more images", "more sources"}
    assert (sweep / "figures" / "celeba" / "differences.svg").is_file()
    text = (sweep / "comparison.md").read_text()
    assert "## On celeba" in text and "figures/facecom/more_images.svg" in text
    assert ", on celeba}" in (sweep / "comparison.tex").read_text()


def test_a_word_for_a_task_that_no_data_set_has_is_an_error(sweep):
    with pytest.raises(MtlfaceError, match=r"references\.gendr"):
        compare([f"runs={sweep}", "references.gendr=both", "figures=false"])
    words = ["references.landmarks=both,only=landmarks", "effects.landmarks=0.01"]
    assert compare([f"runs={sweep}", *words, "figures=false"]) == 0
