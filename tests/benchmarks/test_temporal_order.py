"""The record of what the penalty is worth, and the page that shows it."""

import json
from pathlib import Path

import pytest

from benchmarks import temporal_order

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_record():
    record = json.loads((ROOT / temporal_order.RESULTS).read_text())
    assert {run["arm"] for run in record["runs"]} == set(temporal_order.ARMS)
    assert temporal_order.table(record) in (ROOT / "docs/gradients.md").read_text()


@pytest.mark.slow
def test_each_way_to_train_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(temporal_order, "EVERY", 3)
    out = tmp_path / "record.json"
    few = ["--length", "10", "--steps", "3", "--seeds", "1", "--rates", "0.1"]
    temporal_order.main([*few, "--out", str(out)])
    runs = json.loads(out.read_text())["runs"]
    assert [(run["steps"], run["solved"]) for run in runs] == [(3, False)] * 3
