"""The example of the gradient through time: its tasks, its wall, and the whole of it with two nets
and two updates.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.running import example

vanishing = example("vanishing")


ROWS = 2000


@pytest.fixture(scope="module")
def drawn():
    return jax.jit(lambda key: vanishing.batches([6, 9], ROWS, key))(jax.random.key(0))


def test_both_tasks_at_every_length_lie_side_by_side(drawn):
    xs, mask, values, where = map(np.asarray, drawn)
    assert xs.shape == (4, 9, ROWS, vanishing.INPUTS)
    np.testing.assert_array_equal(mask.sum(1)[:, 0], [6, 9, 6, 9])
    assert (where[:2].sum(1) == 1).all()  # one answer to adding, at its end
    assert (where[2:].sum(1) == vanishing.SYMBOLS).all()
    marked = (xs[:2, ..., 0] * xs[:2, ..., 1]).sum(1)
    np.testing.assert_allclose((values[:2] * where[:2]).sum(1), marked, rtol=1e-6)
    said = xs[2:, : vanishing.SYMBOLS, :, 2:].argmax(-1)
    for n, length in enumerate((6, 9)):
        want = values[2 + n, length - vanishing.SYMBOLS : length]
        np.testing.assert_array_equal(said[n], want)


def test_without_memory_the_loss_is_one(drawn):
    _, mask, values, where = (a[1::2] for a in drawn)
    out = jnp.zeros((*mask.shape, 1 + vanishing.CATEGORIES)).at[..., 0].set(1.0)
    copying = jnp.broadcast_to(jnp.array([False, True])[:, None, None], mask.shape)
    found = jax.vmap(vanishing.answered)(out, (copying, values, where), mask)
    np.testing.assert_allclose(found.mean, 1, atol=0.1)


def test_the_wall_is_what_the_equation_says():
    seen = vanishing.wall(steps=5, points=3)
    w, b = seen.weights[1], seen.biases[2]
    h = 1 / (1 + np.exp(-0.5))
    for _ in range(5):
        h = 1 / (1 + np.exp(-(w * h + b)))
    np.testing.assert_allclose(seen.losses[2][1], (h - 0.7) ** 2, rtol=1e-4)


@pytest.mark.slow
def test_it_runs_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    def two(hidden):
        nets = all_nets(hidden)
        return {name: net for name, net in nets.items() if net.cure}

    all_nets = vanishing.trained_nets
    monkeypatch.setattr(vanishing, "trained_nets", two)
    cells = {"IRNN": rnn.Elman(4, activation="relu", identity=True), "LSTM": rnn.LSTM(4)}
    monkeypatch.setattr(vanishing, "followed", lambda hidden: cells)
    sizes = {"steps": 2, "batch": 2, "hidden": 4, "back": 20}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    options += ["--lags", "6", "8", "--out", str(tmp_path)]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        vanishing.main(options)
    assert "longest sequence learnt" in capsys.readouterr().out
    run = json.loads((tmp_path / "results.json").read_text())["runs"][0]
    curve = np.array(run["curves"]["IRNN"])
    assert curve.shape == (21,)
    assert (np.diff(curve) <= 1e-6).all()  # a unit that is off stays off
    assert (tmp_path / "vanishing.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "seed0" / "result.json").unlink()
    monkeypatch.setattr(vanishing, "learn", lambda *args: pytest.fail("it is made again"))
    vanishing.main(options)
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["learnt"] == run["learnt"]
