"""The example of strategies: every one of them is measured, and none is far from Scan."""

import json
import math

import pytest

from helpers.running import example

parallel_in_time = example("parallel_in_time")


@pytest.mark.slow
def test_it_runs(tmp_path, capsys):
    parallel_in_time.main(
        [
            "--out",
            str(tmp_path),
            "--lengths",
            "9",
            "--hidden",
            "3",
            "--states",
            "2",
            "--repeats",
            "1",
        ]
    )
    shown = capsys.readouterr().out
    assert "iterations, residual" in shown
    assert "fastest" in shown
    rows = json.loads((tmp_path / "results.json").read_text())["runs"][0]["rows"]
    assert len(rows["GRU"]) == 6
    assert len(rows["LRU"]) == 5
    assert all(row["error"] < 1e-4 for found in rows.values() for row in found)
    assert (tmp_path / "parallel_in_time.png").read_bytes().startswith(b"\x89PNG")


def test_what_did_not_converge_is_said():
    rows = [
        {"strategy": s, "T": 9, "milliseconds": m, "megabytes": m, "error": e}
        for s, m, e in (("Scan", 2.0, 0.0), ("Newton", 1.0, math.nan))
    ]
    assert "NaN: Newton" in parallel_in_time.verdict("GRU", rows)
    assert "not converged" in parallel_in_time.shown(rows[1], rows[0])
