"""Cases that are measured in several calls add up in one file."""

import json

from benchmarks import measure


def test_a_second_call_keeps_the_cases_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    spread = {"median": 1.0, "low": 1.0, "high": 1.0, "n": 1}
    for case, value in (("a", 1), ("b", 2), ("a", 3)):
        headlines = [measure.headline(f"rate of {case}", {**spread, "median": value})]
        path = measure.report(
            "grid", {case: value}, [[case]], ["case"], {"device": "GPU", "cores": 1}, headlines,
            merge=True,
        )  # fmt: skip
    found = json.loads(path.read_text())
    assert found["results"] == {"a": 3, "b": 2}
    assert {row["measure"]: row["median"] for row in found["headlines"]} == {
        "rate of a": 3,
        "rate of b": 2,
    }
