"""One to many: the example from end to end."""

import gzip
import json

import numpy as np
import pytest

from helpers.running import example

caption = example("caption")
TINY = ["--hidden", "8", "--seeds", "1", "--batch", "8", "--validate"]


def test_from_end_to_end(tmp_path, capsys):
    caption.main(
        [
            *TINY,
            "--steps",
            "4",
            "--out",
            str(tmp_path / "a"),
            "--keep",
            str(tmp_path / "kept" / "caption"),
        ]
    )
    assert "classification in disguise" in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "kept" / "caption.json").read_text())["runs"]
    assert 0 <= run["right"] <= run["names"] <= 1
    picture = (tmp_path / "kept" / "caption.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 200_000


def test_names_are_spelled():
    tokens, mask = caption.spelled(np.array([3, 6]))
    assert tokens.shape == mask.shape == (7, 2)
    assert mask.sum(0).tolist() == [7, 5]
    assert ["".join(caption.LETTERS.decode(column)) for column in tokens.T] == ["three", "six"]


def test_bad_input_is_one_line(tmp_path):
    with gzip.open(tmp_path / "one.csv.gz", "wt") as file:
        file.write((",".join(["1"] * 64) + ",3\n") * 40)
    with gzip.open(tmp_path / "eleven.csv.gz", "wt") as file:
        file.write("".join(",".join(["1"] * 64) + f",{i % 12}\n" for i in range(40)))
    for path, message in (
        ("one.csv.gz", "class"),
        ("eleven.csv.gz", "from 0 to 9"),
        ("none.csv.gz", "No such file"),
    ):
        with pytest.raises(SystemExit, match=message):
            caption.main([*TINY, "--digits", str(tmp_path / path), "--out", str(tmp_path / "b")])


@pytest.mark.slow
def test_it_learns(tmp_path):
    caption.main(["--seeds", "1", "--steps", "500", "--validate", "--out", str(tmp_path)])
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert run["right"] > 0.85
    assert run["names"] > 0.95
