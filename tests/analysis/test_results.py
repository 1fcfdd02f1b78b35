import json
import time

import pytest

from mtlface.analysis.protocol import group_arms, one_test_set, warnings_of
from mtlface.analysis.results import read_runs
from mtlface.errors import MtlfaceError

GENDER = {"test/gender/accuracy": 0.9}


def notes_of(tmp_path):
    tree = read_runs([tmp_path])
    arms, notes = group_arms(one_test_set(tree, None), tree)
    return " ".join([*tree.notes, *notes, *warnings_of(arms)])


def test_500_runs_are_read_in_under_five_seconds(tmp_path, run_writer):
    metrics = {f"test/gender/metric{i}": i / 7 for i in range(200)}
    for arm in range(50):
        for seed in range(10):
            run_writer(f"arm{arm}", seed, metrics | GENDER)
    start = time.process_time()
    tree = read_runs([tmp_path])
    arms, _ = group_arms(one_test_set(tree, None), tree)
    warnings_of(arms)
    assert time.process_time() - start < 5
    assert len(arms) == 50
    assert {len(arm.runs) for arm in arms} == {10}


def test_a_missing_folder_and_an_empty_one_say_what_to_do(tmp_path):
    with pytest.raises(MtlfaceError, match="no such folder"):
        read_runs([tmp_path / "absent"])
    with pytest.raises(MtlfaceError, match="no finished run"):
        read_runs([tmp_path])


def test_a_tree_of_failures_names_the_first_error(tmp_path, run_writer):
    folder = run_writer("a", 0, GENDER)
    (folder / "result.json").unlink()
    (folder / "error.json").write_text('{"error": "loss is NaN at step 12"}')
    with pytest.raises(MtlfaceError, match="loss is NaN at step 12"):
        read_runs([tmp_path])


def test_overlapping_roots_read_a_run_once(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    assert len(read_runs([tmp_path, tmp_path / "demo_sweep"]).runs) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "does not hold a JSON object"),
        ('{"schema": 1}', "this version reads schema 2"),
        ('{"schema": 2}', "lacks 'experiment'"),
    ],
)
def test_a_broken_result_is_named_and_left_out(tmp_path, run_writer, content, words):
    run_writer("a", 0, GENDER)
    (run_writer("a", 1, GENDER) / "result.json").write_text(content)
    assert words in notes_of(tmp_path)
    assert len(read_runs([tmp_path]).runs) == 1


def test_nan_and_null_are_left_out_of_the_mean_by_name(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    run_writer("a", 1, {"test/gender/accuracy": None})
    run_writer("a", 2, {"test/gender/accuracy": float("nan")})
    tree = read_runs([tmp_path])
    (arm,), _ = group_arms(tree.runs, tree)
    assert arm.values("test/gender/accuracy") == {0: 0.9}
    assert "test/gender/accuracy is no finite number for seeds 1, 2" in notes_of(tmp_path)


def test_different_data_is_refused_with_both_groups_and_the_mend(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    run_writer("b", 0, GENDER, **{"data": "utkface", "trained_on.celeba.images": "ffff00"})
    tree = read_runs([tmp_path])
    with pytest.raises(MtlfaceError, match=r"a1b2c3d4e5f6.*ffff00.*data=celeba"):
        one_test_set(tree, None)
    assert [run.arm for run in one_test_set(tree, "utkface")] == ["b"]
    assert [run.arm for run in one_test_set(tree, "a1b2")] == ["a"]
    with pytest.raises(MtlfaceError, match="no run was made on it"):
        one_test_set(tree, "imdb")


def test_one_name_with_two_fingerprints_is_refused_and_told_apart(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    run_writer("b", 0, GENDER, **{"trained_on.celeba.images": "ffff00"})
    with pytest.raises(MtlfaceError, match="data=a1b2c3d4e5f6"):
        one_test_set(read_runs([tmp_path]), None)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("selection.monitor", "val/loss", "selects the checkpoint"),
        ("environment.precision", "bf16-mixed", "precision"),
        ("environment.device", "cuda", "device"),
    ],
)
def test_arms_that_differ_beside_their_settings_are_warned_of(
    tmp_path, run_writer, path, value, words
):
    run_writer("a", 0, GENDER)
    run_writer("b", 0, GENDER)
    assert words not in notes_of(tmp_path)
    run_writer("b", 0, GENDER, **{path: value})
    assert words in notes_of(tmp_path)


def test_missing_failed_and_unfinished_seeds_are_each_said(tmp_path, run_writer):
    for arm in "abcd":
        for seed in (0, 1):
            run_writer(arm, seed, GENDER)
    base = tmp_path / "demo_sweep"
    (base / "b/celeba/seed=1/result.json").unlink()
    (base / "c/celeba/seed=1/result.json").unlink()
    (base / "c/celeba/seed=1/error.json").write_text(json.dumps({"error": "disk full"}))
    for name in ("result.json", "config.yaml"):
        (base / "d/celeba/seed=1" / name).unlink()
    notes = notes_of(tmp_path)
    assert "Arm b has no result for seed 1 (unfinished)" in notes
    assert "Arm c failed with seed 1: disk full" in notes
    assert "Arm d has no result for seed 1 (missing)" in notes


def test_a_run_that_succeeded_after_a_failure_counts(tmp_path, run_writer):
    folder = run_writer("a", 0, GENDER)
    (folder / "error.json").write_text('{"error": "old"}')
    tree = read_runs([tmp_path])
    assert (len(tree.runs), tree.unfinished) == (1, [])


def test_one_arm_in_two_sweeps_stays_two_arms(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    run_writer("a", 0, GENDER, sweep="other")
    tree = read_runs([tmp_path])
    arms, _ = group_arms(tree.runs, tree)
    assert {arm.label for arm in arms} == {"demo_sweep/a", "other/a"}


def test_a_second_run_of_a_seed_is_said_and_the_newer_taken(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    run_writer("a", 0, {"test/gender/accuracy": 0.7}, data="celeba")
    copy = tmp_path / "copy" / "demo_sweep/a/celeba/seed=0"
    copy.mkdir(parents=True)
    content = json.loads((tmp_path / "demo_sweep/a/celeba/seed=0/result.json").read_text())
    content["metrics"]["test/gender/accuracy"] = 0.5
    time.sleep(0.01)
    (copy / "result.json").write_text(json.dumps(content))
    tree = read_runs([tmp_path])
    (arm,), notes = group_arms(tree.runs, tree)
    assert arm.values("test/gender/accuracy") == {0: 0.5}
    assert "two runs of seed 0" in notes[0]


HOSTILE = [
    "[" * 20_000 + "]" * 20_000,
    '{"schema": 2, "seed": 1' + "0" * 400 + "}",
    '{"schema": 2, "seed": 1' + "0" * 5000 + "}",
    '{"schema": 2, "arm": "\\ud800"}',
    '{"schema": "' + "a" * 100_000 + '"}',
    b"\xff\xfe",
]
FOREIGN = {
    "arm": ["x" * 5000, "a\x1b[2J"], "trained_on": [{}, {"celeba": []}], "labels": [5, [5]],
    "evaluated_on": [[], {"celeba": []}, 5], "metrics": [{"a\nb": 1.0}], "trivial": [[1]],
    "effects": [[1], 5], "config": [[1]], "references": [[1]], "overrides": [5],
    "tasks": [{"a": []}],
}  # fmt: skip


def test_one_hostile_file_is_one_note_and_hides_no_other_run(tmp_path, run_writer):
    run_writer("a", 0, GENDER)
    for seed, content in enumerate(HOSTILE, 1):
        path = run_writer("a", seed, GENDER) / "result.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    count = len(HOSTILE)
    for key, values in FOREIGN.items():
        for value in values:
            count += 1
            path = run_writer("a", count, GENDER) / "result.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    tree = read_runs([tmp_path])
    left = [run.seed for run in tree.runs]
    assert len(tree.notes) >= count - 3 and set(left) >= {0}, left
    for note in tree.notes:
        assert len(note) < 1000 and note.isprintable() and "this run is left out" in note
    arms, _ = group_arms(one_test_set(tree, None), tree)
    assert arms
