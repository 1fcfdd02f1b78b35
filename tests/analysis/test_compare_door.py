import csv
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from mtlface.compare import main, parse
from mtlface.errors import MtlfaceError


def rows(folder):
    with (folder / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_gives_all_files_and_a_table_of_100_columns(sweep, capsys):
    assert main([f"runs={sweep}"]) == 0
    printed = capsys.readouterr().out
    assert all(cell_len(line) <= 100 for line in printed.splitlines() if str(sweep) not in line)
    assert "celeba_landmarks_gender_improved is better than celeba_gender" in printed
    assert "constant predictor" in printed
    html = (sweep / "comparison.html").read_text()
    names = ("differences", "absolute", "learning_curves", "cumulative_error", "reliability")
    for name in (*names, "by_condition_gender"):
        assert (sweep / f"figures/{name}.svg").read_text().startswith("<?xml")
        assert (sweep / f"figures/{name}.pdf").read_bytes()[:4] == b"%PDF"
        assert (sweep / f"figures/{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert f'alt="{name}"' in html
        assert f"figures/{name}.svg" in (sweep / "comparison.md").read_text()
    assert "<script" not in html
    assert 'src="http' not in html


def test_the_csv_holds_what_the_table_says_at_full_precision(sweep):
    main([f"runs={sweep}", "figures=false"])
    found = {(r["arm"], r["task"], r["metric"]): r for r in rows(sweep)}
    row = found["celeba_landmarks_gender_improved", "gender", "accuracy"]
    reference = found["celeba_gender", "gender", "accuracy"]
    assert float(row["difference"]) == pytest.approx(float(row["mean"]) - float(reference["mean"]))
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert (row["sample"], row["units"]) == ("seeds and images", "600")
    assert (row["verdict"], row["reference"], row["pairs"]) == ("better", "celeba_gender", "5")
    assert ("celeba_landmarks_gender", "all", "delta_m") in found


def test_rendered_faces_are_said_loudly_everywhere(tmp_path, run_writer, capsys):
    run_writer(
        "celeba_gender", 0, {"test/gender/accuracy": 0.9}, **{"trained_on.celeba.root_kind": "demo"}
    )
    main([f"runs={tmp_path}"])
    texts = [capsys.readouterr().out.upper()]
    texts += [(tmp_path / f"comparison.{kind}").read_text().upper() for kind in ("md", "html")]
    assert all("RENDERED DEMO FACES" in text for text in texts)


def test_names_from_the_runs_are_text_and_never_markup(tmp_path, run_writer, capsys):
    evil = "<img src=x onerror=alert(1)>[red]$x_{"  # HTML, rich and TeX at once
    for seed in range(2):
        run_writer("single", seed, {"test/gender/accuracy": 0.5 + seed / 10})
        run_writer(
            evil,
            seed,
            {"test/gender/accuracy": 0.6 + seed / 9, "test/landmarks/nme": 1.0},
            **{"trained_on.celeba.counts": {evil: 3}},
        )
    folder = tmp_path / "ff,task=[gender,age]"
    assert main([f"runs={tmp_path}", f"output={folder}"]) == 0
    said = capsys.readouterr().out
    assert evil[:10] in said and f"Report: {folder}/" in said
    html = (folder / "comparison.html").read_text()
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html
    assert "<img src=x" not in (folder / "comparison.md").read_text()


def test_a_failed_arm_a_missing_seed_and_a_null_still_give_a_table(tmp_path, run_writer, capsys):
    for seed in range(3):
        run_writer("single", seed, {"test/gender/accuracy": 0.5 + seed / 10})
        run_writer(
            "both", seed, {"test/gender/accuracy": 0.6 + seed / 9, "test/landmarks/nme": None}
        )
        failed = run_writer("broken", seed, {})
        (failed / "result.json").unlink()
        (failed / "error.json").write_text('{"error": "out of memory"}')
    (tmp_path / "demo_sweep/both/celeba/seed=2/result.json").unlink()
    assert main([f"runs={tmp_path}"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 failed" in printed
    assert "Arm broken failed with seed 0: out of memory" in printed
    assert "Arm both has no result for seed 2 (unfinished)" in printed
    assert "test/landmarks/nme is no finite number" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnus=x"], "Did you mean 'runs'"),
        (["outputs"], "no key=value"),
        (["data=celeba"], "runs= is missing"),
        (["runs=x", "figures=maybe"], "cannot be read"),
    ],
)
def test_a_wrong_word_is_one_clear_error(words, message):
    with pytest.raises(MtlfaceError, match=message):
        parse(words)


@pytest.mark.parametrize(("extra", "code"), [([], 2), (["debug=true"], 1)])
def test_a_users_mistake_is_one_line_unless_the_trace_is_asked_for(extra, code):
    command = [sys.executable, "-m", "mtlface.compare", "runs=/nowhere", *extra]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stderr.startswith("Traceback" if extra else "error: runs=/nowhere")
    assert (ended.stderr.count("\n") == 1) == (not extra)


@pytest.mark.parametrize("words", [[], ["--help"], ["runs=x", "-h"]])
def test_help_names_every_key(words, capsys):
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert all(
        f"  {key}" in printed for key in ("runs=", "output=", "data=", "references.", "debug=")
    )


def test_a_folder_with_a_comma_in_its_name_is_one_root(tmp_path, run_writer):
    run_writer("gender,lr=0.1", 0, {"test/gender/accuracy": 0.9})
    root = tmp_path / "demo_sweep" / "gender,lr=0.1"
    assert main([f"runs={root}", "figures=false"]) == 0
    assert (root / "comparison.csv").exists()


def test_several_roots_by_comma_or_list():
    assert parse(["runs=a,b"]).runs == "a,b"
    assert parse(["runs=[a,b]"]).runs == ["a", "b"]
    assert parse(["runs=a", "references.gender=x"]).references == {"gender": "x"}


def test_another_process_writes_the_same_bytes_and_never_imports_torch(sweep, tmp_path):
    code = (
        "import sys; from mtlface.compare import main; "
        f"main(['runs={sweep}', 'output={tmp_path}/other']); "
        "sys.exit(any(m.split('.')[0] in ('torch', 'lightning') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    main([f"runs={sweep}", f"output={tmp_path}/this"])
    files = [p for p in (tmp_path / "this").rglob("*") if p.is_file()]
    assert len(files) > 10
    for path in files:
        other = tmp_path / "other" / path.relative_to(tmp_path / "this")
        assert path.read_bytes() == other.read_bytes()


def test_a_reader_that_stops_early_does_not_stop_the_report(sweep):
    command = [sys.executable, "-m", "mtlface.compare", f"runs={sweep}", "figures=false"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()  # as `| head` does
        said = process.stderr.read()
    assert not said  # no stack trace
    assert (sweep / "comparison.html").is_file()
