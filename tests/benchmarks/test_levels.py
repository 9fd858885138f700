"""The record of levels of chunks: what it must hold, and the page that shows it."""

import json

from benchmarks import levels


def test_the_record_is_what_the_page_shows(tmp_path):
    kept = json.loads(levels.RESULTS.read_text())
    page = levels.NUMBERS.read_text()
    assert levels.table(kept) in page
    assert levels.long_table(kept) in page
    assert levels.put(page, kept) == page
    old = page.replace(levels.table(kept), "| temporaries, MB |\n|---|")
    assert levels.put(old, kept) == page
    levels.draw(tmp_path / "a.png", kept)
    assert 0 < (tmp_path / "a.png").stat().st_size < 200_000
    assert levels.RESULTS.with_suffix(".png").stat().st_size < 200_000


def test_ten_million_steps_took_less_than_a_gigabyte_and_three_times_the_time():
    kept = json.loads(levels.RESULTS.read_text())
    assert {row["way"] for row in kept["long"]} == {"fold", "unroll"}
    for row in kept["long"]:
        assert row["steps"] == 10_000_000
        assert row["temporaries"] < 1e9
        assert max(row["ratio"], row["processor ratio"]) < 3
