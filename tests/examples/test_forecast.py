"""Forecasts beside autoregression: the example from end to end,
and its numbers against a plain program's."""

import json

import numpy as np
import pytest

from helpers.running import example

forecast = example("forecast")
TINY = ["--hidden", "3", "--batch", "2", "--seeds", "1"]


def arguments(*more):
    return forecast.parser().parse_args([*TINY, *more])


def test_the_references_are_the_published_ones():
    spots, airline = forecast.load(arguments())
    assert (spots.times[spots.train - 1], len(airline.values), airline.train) == ("1920", 144, 96)
    score = {
        name: [spots.score(f, t) for t in (slice(12, 221), *spots.tests.values())]
        for name, f in forecast.references(spots).items()
    }
    np.testing.assert_allclose(score["AR(12)"], [0.128, 0.126, 0.358], atol=6e-4)
    score = {
        name: airline.score(f, slice(96, 144)) for name, f in forecast.references(airline).items()
    }
    np.testing.assert_allclose(list(score.values()), [14.05, 48.04], atol=6e-3)


@pytest.mark.parametrize("transform", ["none", "sqrt", "log"])
def test_a_series_is_found_again_from_what_the_net_sees(transform):
    v = np.random.default_rng(0).uniform(1, 9, 40)
    series = forecast.Series("a", np.arange(40), v, 30, {}, 3, transform)
    z, back = series.forward()
    np.testing.assert_allclose(back(z[1:], v[:-1]), v[1:])
    assert abs(z[transform == "log" : 30].mean()) < 1e-9
    np.testing.assert_array_equal(forecast.windows(v, 3)[5], [v[7], v[6], v[5]])


def test_a_series_of_ones_own(tmp_path, capsys):
    path = tmp_path / "waves.csv"
    path.write_text("when,high\n" + "".join(f"{i},{5 + np.sin(i / 2):.4f}\n" for i in range(60)))
    options = [*TINY, "--series", str(path), "--lags", "4", "--transform", "log", "--steps", "5"]
    forecast.main([*options, "--out", str(tmp_path / "a")])
    assert "persistence" in capsys.readouterr().out
    assert (tmp_path / "a" / "forecast.png").stat().st_size < 200_000
    arrays = np.load(tmp_path / "a" / "seed0" / "forecasts.npz")
    assert (arrays["waves next"].shape, arrays["waves alone"].shape) == ((2, 60), (2, 20))
    np.testing.assert_allclose(arrays["waves alone"][:, 0], arrays["waves next"][:, 40], rtol=1e-4)
    run = json.loads((tmp_path / "a" / "results.json").read_text())["runs"][0]
    assert run["waves 40 to 59, ensemble"] < 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"1\n2\nx\n", "line 3 ends with 'x'"),
        (b"1\n2\n3\n", "3 values will not do"),
        (b"5\n" * 80, "not all equal"),
        (b"\xff\xfe1\n", "UTF-8"),
    ],
)
def test_bad_input_is_one_line(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        forecast.main([*TINY, "--series", str(tmp_path / "a.csv"), "--out", str(tmp_path / "out")])


@pytest.mark.slow
def test_it_learns(tmp_path):
    forecast.main(["--validate", "--seeds", "1", "--batch", "4", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "results.json").read_text())
    for table in record["tables"]:
        rows = {row["name"]: row for row in table["rows"]}
        others = [row["value"] for row in rows.values() if "value" in row]
        assert rows["GRU over AR, ensemble of 4"]["values"][0] < min(others)
