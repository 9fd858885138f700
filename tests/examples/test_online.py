"""The example of learning from an endless stream: the stream, and every way with few steps."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.running import example

online = example("online")


def test_a_question_is_about_the_marked_symbol():
    lag, rows = (3, 5), 4

    def step(stream, key):
        stream, x, target = online.drawn(stream, key, lag)
        return stream, (x, target)

    stream = online.begin(jax.random.key(0), rows, lag)
    keys = jax.random.split(jax.random.key(1), 60)
    xs, targets = map(np.asarray, jax.lax.scan(step, stream, keys)[1])
    waits = []
    for x, target in zip(xs.swapaxes(0, 1), targets.T, strict=True):
        assert ((target != online.SILENT) <= x[:, -1].astype(bool)).all()
        marked = np.flatnonzero(x[:, -2])
        for place in marked[marked < 54]:
            wait = np.flatnonzero(x[place:, -1])[0]
            assert target[place + wait] == x[place, : online.SYMBOLS].argmax()
            assert x[place + wait + 1, -2]  # the next is marked at once
            waits.append(int(wait))
    assert set(waits) == {3, 4, 5}


def test_update_gates_begin_patient():
    net = online.network(4)
    params = online.patient(net.init(jax.random.key(0), 6), jax.random.key(1), 4, 50)
    kept = jax.nn.sigmoid(params[0]["b"][4:8])
    assert (kept >= 0.5).all()
    assert (kept <= 50 / 51).all()
    assert not jnp.any(params[0]["b"][:4])


@pytest.mark.slow
def test_it_runs(tmp_path, capsys):
    ways = ["rtrl", "short", "long", "uoro", "forward"]
    options = ["--out", str(tmp_path), "--steps", "10", "--hidden", "3", "--batch", "2"]
    online.main([*options, "--windows", "2", "4", "--lag", "3", "5", "--ways", *ways])
    assert "TBPTT, window 4" in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert run["steps"] == [10]
    assert all(0 <= run[f"{name} reached"] <= 1 for name in ways)
    # RTRL: the state, and 3 x 6 + 3 + 3 params for each of three units; a window: its inputs.
    assert run["rtrl numbers"] == 3 + 3 * 24
    assert run["short numbers"] == 2 * 3 + 2 * 6
    assert (tmp_path / "online.png").read_bytes().startswith(b"\x89PNG")


def test_the_least_comes_first(tmp_path):
    with pytest.raises(SystemExit, match="least before the most"):
        online.main(["--out", str(tmp_path), "--lag", "9", "5"])
