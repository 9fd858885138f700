"""The example of many to one, equal lengths: both nets end to end with few steps, and the data as
the paper has them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.running import example
from jaxrnn import data

mnist1d = example("mnist1d")


@pytest.fixture
def waves(monkeypatch):
    """Few waves, in place of the package's 5,000."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 10
    xs = random.normal(size=(40, 60, 1)).astype(np.float32) + labels[:, None]
    made = mnist1d.Waves(xs, labels)
    monkeypatch.setattr(mnist1d, "load", lambda args: (made, made.take(slice(20))))


@pytest.mark.slow
def test_it_runs(waves, tmp_path, capsys):
    options = [
        "--out",
        str(tmp_path),
        "--steps",
        "3",
        "--paper-steps",
        "3",
        "--hidden",
        "3",
        "--channels",
        "3",
        "--seeds",
        "1",
        "--batch",
        "20",
    ]
    mnist1d.main(options)
    shown = capsys.readouterr().out
    assert "the paper's CNN" in shown
    assert "5,110" in shown  # 5,134 less the biases counted twice
    record = json.loads((tmp_path / "results.json").read_text())
    assert {"paper", "ours"} <= record["runs"][0].keys()
    assert (tmp_path / "mnist1d.png").read_bytes().startswith(b"\x89PNG")


def test_the_data_are_the_papers():
    pytest.importorskip("mnist1d")
    train, test = mnist1d.load(mnist1d.parser().parse_args([]))
    assert (train.xs.shape, test.xs.shape, train.labels.shape) == (
        (40, 4000, 1),
        (40, 1000, 1),
        (4000,),
    )
    xs = np.concatenate([train.xs, test.xs], 1)
    np.testing.assert_allclose((xs.mean(), xs.std()), (0, 1), atol=1e-4)
    part, held = mnist1d.load(mnist1d.parser().parse_args(["--validate"]))
    np.testing.assert_array_equal(np.concatenate([part.xs, held.xs], 1), train.xs)


def test_the_papers_batches_are_in_the_order_of_the_data():
    made = mnist1d.Waves(np.arange(250, dtype=np.float32)[None, :, None], np.arange(250))
    source = mnist1d.in_order(made)
    assert source(2).targets.tolist() == [*range(200, 250), *range(50)]
    assert source(3).xs[0, :2, 0].tolist() == [50, 51]


def test_waves_are_moved_each_in_its_own_way():
    seen = []

    class Watching:
        def objective(self, loss):
            return lambda params, batch, key: seen.append(batch.columns[0])

    xs = jnp.zeros((40, 6, 1)).at[20].set(10.0)
    batch = data.Padded((xs, jnp.zeros(6, int)), (None, None), None, None)
    mnist1d.varied(Watching(), 8, None, batch, jax.random.key(0))
    peaks = seen[0][..., 0].argmax(0)
    assert ((peaks >= 12) & (peaks <= 28)).all()
    assert len(set(peaks.tolist())) > 2


def test_a_missing_package_gets_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "mnist1d" else object()
    )
    with pytest.raises(SystemExit, match=r"mnist1d: .*is not installed"):
        mnist1d.main(["--out", str(tmp_path)])


@pytest.mark.slow
def test_it_learns(tmp_path):
    pytest.importorskip("mnist1d")
    mnist1d.main(
        [
            "--out",
            str(tmp_path),
            "--validate",
            "--seeds",
            "1",
            "--nets",
            "ours",
            "--steps",
            "300",
            "--hidden",
            "24",
            "--channels",
            "16",
        ]
    )
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["ours"] > 0.8


def test_the_papers_net_reads_every_output():
    net = mnist1d.Flat()
    params = net.init(jax.random.key(0), rnn.features(1))
    xs = jax.random.normal(jax.random.key(1), (40, 2, 1))
    _, ys = rnn.unroll(net.body, params[0], xs)
    want = ys[:, 1].reshape(-1) @ params[1]["w"] + params[1]["b"]
    np.testing.assert_allclose(net.apply(params, xs)[1], want, rtol=1e-4, atol=1e-5)
