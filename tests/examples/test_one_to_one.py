"""One step of a recurrent net is a feed-forward net: the example from end to end."""

import gzip
import json

import numpy as np
import pytest

from helpers.running import example

one_to_one = example("one_to_one")
TINY = ["--hidden", "8", "--seeds", "1", "--batch", "16", "--validate"]


def test_the_two_nets_train_alike(tmp_path, capsys):
    one_to_one.main(
        [
            *TINY,
            "--steps",
            "40",
            "--out",
            str(tmp_path / "a"),
            "--keep",
            str(tmp_path / "kept" / "one_to_one"),
        ]
    )
    assert "nearest class mean" in capsys.readouterr().out
    run = json.loads((tmp_path / "kept" / "one_to_one.json").read_text())["runs"][0]
    assert run["recurrent"] == run["feed-forward"]
    # In billionths.
    assert max(run[name] for name in ("outputs", "gradients", "training", "weights")) < 1e4
    assert run["w_h"] == 0
    loss = np.load(tmp_path / "a" / "seed0" / "seen.npz")["recurrent loss"]
    assert loss[-1] < loss[0]
    picture = (tmp_path / "kept" / "one_to_one.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 200_000


def test_bad_input_is_one_line(tmp_path):
    with gzip.open(tmp_path / "one.csv.gz", "wt") as file:
        file.write((",".join(["1"] * 64) + ",3\n") * 40)
    for path, message in (("one.csv.gz", "1 classes"), ("none.csv.gz", "No such file")):
        with pytest.raises(SystemExit, match=message):
            one_to_one.main([*TINY, "--digits", str(tmp_path / path), "--out", str(tmp_path / "b")])


@pytest.mark.slow
def test_it_learns(tmp_path):
    one_to_one.main(["--seeds", "1", "--steps", "600", "--validate", "--out", str(tmp_path)])
    run = json.loads((tmp_path / "results.json").read_text())["runs"][0]
    assert run["recurrent"] > 0.85
