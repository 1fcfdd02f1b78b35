import json

from mtlface.analysis.published import published_for
from mtlface.analysis.results import Run, read_runs


def figures(run_writer, **changes):
    folder = run_writer(changes.pop("arm"), 0, {"test/gender/accuracy": 0.9}, **changes)
    run = Run(folder, json.loads((folder / "result.json").read_text()))
    return {(p.title.split(" (")[0], p.metric): p for p in published_for(run)}


def test_error_over_224_stands_beside_nme_image_and_says_why_it_differs(run_writer):
    found = figures(run_writer, arm="celeba_landmarks")
    project = "Gender Classification and Facial Landmark Detection"
    published = found[project, "landmarks/nme_image"]
    assert published.value == 0.0103
    assert any("divided by 224" in reason for reason in published.reasons)
    assert (project, "landmarks/nme") not in found


def test_a_figure_agrees_only_where_counts_and_input_size_agree(run_writer):
    key = (
        "Multi-Task Learning for Facial Attribute and Landmark Prediction on CelebA",
        "attributes/accuracy",
    )
    counts = {"train": 12270, "val": 1592, "test": 1467}
    same = {"trained_on.celeba.counts": counts, "config.data.image_size": [224, 224]}
    arm = "celeba_attributes_landmarks"
    assert figures(run_writer, arm=arm, **same)[key].agrees
    other = figures(run_writer, arm=arm, **(same | {"config.data.image_size": [64, 64]}))[key]
    assert other.reasons == ("config.data.image_size is [64, 64] here and [224, 224] there",)


def test_nine_figures_agree_with_a_run_on_one_of_the_five_published_splits(run_writer):
    folds = {"train": [2, 3, 4, 5, 6, 7], "val": [8, 9], "test": [0, 1]}
    same = {"config.data.split": {"file": "sha256:0", **folds}}
    age = {"arm": "agegender_age", "data": "agegender"}
    found = figures(run_writer, **age, **same)
    published = {p.title: p.value for p in found.values() if p.agrees and p.metric == "age/mae"}
    assert len(published) == 9
    assert min(published.values()) == 3.87
    other = {"config.data.split": {"file": "sha256:0", **folds, "test": [0, 5]}}
    for changed in (other, {}):
        assert not any(p.agrees for p in figures(run_writer, **age, **changed).values())


def test_nothing_agrees_with_rendered_faces(run_writer):
    found = figures(run_writer, arm="celeba_gender", **{"trained_on.celeba.root_kind": "demo"})
    assert found
    assert not any(p.agrees for p in found.values())


def test_an_experiment_that_nobody_published_has_no_figures(tmp_path, run_writer):
    run_writer("mine", 0, {"test/gender/accuracy": 0.9}, data="mine")
    assert published_for(read_runs([tmp_path]).runs[0]) == []
