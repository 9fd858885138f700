"""Memory, saturation, the first that is not finite, fixed points, and the plots of all."""

import re
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn import diagnostics

T, B = 6, 2
MASK = rnn.lengths_to_mask(jnp.array([T, 4]), T)


def total(ys):
    return ys.sum(-1)


def test_the_memory_of_a_leak_is_known():
    """Under h' = a h + x the influence at lag k is a^k: it falls under f at log f / log a."""
    cell = rnn.Elman(2, "identity")
    params = {"w_x": jnp.ones((1, 2)), "w_h": 0.8 * jnp.eye(2), "b": jnp.zeros(2)}
    xs = jnp.ones((30, 1))
    lag = int(np.ceil(np.log(0.1) / np.log(0.8)))
    memory = diagnostics.effective_memory
    assert memory(cell, params, xs, total, fraction=0.1) == lag
    assert memory(cell, params, xs, total, fraction=0.1, at=2, reverse=True) == lag
    assert memory(cell, params, xs, total, fraction=1e-9) == 30  # at least as long as all lags
    resets = jnp.zeros(30, bool).at[26].set(True)
    assert memory(cell, params, xs, total, fraction=0.1, resets=resets) == 4
    assert memory(cell, params, xs, lambda ys: 0 * total(ys)) == 0


def test_saturation_counts_what_numpy_counts():
    net = rnn.Stack((rnn.LSTM(5), rnn.Dense(2)))
    params = jax.tree.map(lambda a: 5 * a, net.init(jax.random.key(0), 3))
    xs = jax.random.normal(jax.random.key(1), (T, B, 3))
    seen = diagnostics.record(net, params, xs, mask=MASK)
    found, nothing = diagnostics.saturation(seen, bins=8, near=0.1, mask=MASK)
    assert nothing is None
    for name, (low, near) in {"f": (0, 0.1), "g": (-1, 0.2)}.items():
        gate, got = np.asarray(getattr(seen[0].gates, name)), getattr(found, name)
        np.testing.assert_allclose(got.edges, np.linspace(low, 1, 9), atol=1e-7)
        for t in range(T):
            values = gate[t, np.asarray(MASK[t])].ravel()
            counts = np.histogram(values, np.asarray(got.edges))[0]
            np.testing.assert_allclose(got.shares[t], counts / values.size, rtol=1e-6)
            np.testing.assert_allclose(got.low[t], np.mean(values < low + near), rtol=1e-6)
            np.testing.assert_allclose(got.high[t], np.mean(values > 1 - near), rtol=1e-6)


NET = rnn.Stack((rnn.CausalConv(3, 2), rnn.GRU(3), rnn.Residual(rnn.Elman(3, "relu"))))
PARAMS = NET.init(jax.random.key(0), 3)
XS = jax.random.normal(jax.random.key(1), (T, B, 3))
LARGE = (*PARAMS[:2], jax.tree.map(lambda a: 1e20 * a, PARAMS[2]))
BROKEN = (PARAMS[0], {**PARAMS[1], "b_n": jnp.full(3, jnp.inf)}, PARAMS[2])


def late_root(ys):
    """Without a slope at the step before the last."""
    return total(ys).at[T - 2].add(jnp.sqrt(0 * ys[T - 2, :, 0]))


def no_log(ys):
    return jnp.log(-jnp.abs(total(ys)))


def steep(ys):
    """Whose derivative at step 3, 1e30, overflows one step before."""
    return total(ys) * jnp.where(jnp.arange(T) == 3, 1e30, 1)[:, None]


NAN = XS.at[4, 1].set(jnp.nan)
INF = XS.at[2:4].set(jnp.inf)
CELL = rnn.Elman(3)
ALONE = {"w_x": jnp.eye(3), "w_h": 1e10 * jnp.eye(3), "b": jnp.zeros(3)}


@pytest.mark.parametrize(
    ("net", "params", "xs", "loss", "given", "said"),
    [
        (NET, PARAMS, XS, total, {}, "None"),
        (NET, PARAMS, NAN, None, {"mask": MASK}, "None"),
        (NET, PARAMS, NAN, None, {}, "step 4, layer 0, .*: nan in inputs in row 1"),
        (
            NET,
            PARAMS,
            XS.at[2:4].set(jnp.inf),
            None,
            {"reverse": True},
            "step 3, layer 0, .*inputs",
        ),
        (NET, BROKEN, XS, None, {}, r"^Stack: inf in params\[1\]\['b_n'\]"),
        (NET, LARGE, XS, None, {}, "step [12], layer 2.0, Elman.*: inf in state in row"),
        (
            NET,
            PARAMS,
            XS,
            no_log,
            {},
            "step 0, Stack: nan in loss",
        ),
        (NET, PARAMS, XS, late_root, {}, "step 4, layer 2.0, .*: nan in the gradient of outputs"),
        (CELL, ALONE, 0 * XS, steep, {}, "step 2, Elman: inf in the gradient of state in row 0"),
    ],
)
def test_the_first_that_is_not_finite_is_named(net, params, xs, loss, given, said):
    found = str(diagnostics.first_non_finite(net, params, xs, loss, **given))
    assert re.search(said, found), found


@pytest.mark.slow
def test_a_reader_of_both_directions_is_searched_layer_by_layer():
    net = rnn.Stack((rnn.Bidirectional(rnn.Elman(2)), rnn.Elman(2)))
    params = net.init(jax.random.key(0), 3)
    found = diagnostics.first_non_finite(net, params, XS.at[2, 0].set(jnp.nan))
    assert (found.step, found.path, found.term, found.row) == (2, (0, 0), "inputs", (0,))


def test_fixed_points_of_two_switches(x64):
    """Two units h' = tanh(1.5 h), apart: each at a, -a or 0, where its slope is 1.5 (1 - h^2)."""
    cell = rnn.Elman(2)
    params = {"w_x": jnp.zeros((1, 2)), "w_h": 1.5 * jnp.eye(2), "b": jnp.zeros(2)}
    tries = jax.random.normal(jax.random.key(0), (5, 12, 2))
    found = diagnostics.fixed_points(cell, params, jnp.zeros(1), tries)
    a = 1.0
    for _ in range(200):
        a = np.tanh(1.5 * a)
    need = sorted((i * a, j * a) for i in (-1, 0, 1) for j in (-1, 0, 1))
    np.testing.assert_allclose(sorted(map(tuple, found.points.round(8))), need, atol=1e-7)
    assert found.fixed.all()
    np.testing.assert_array_equal(found.stable, np.all(np.abs(found.points) > 0.1, axis=1))
    slopes = 1.5 * (1 - found.points**2)
    np.testing.assert_allclose(np.sort(found.eigenvalues.real), np.sort(slopes), rtol=1e-5)
    slowest = np.argmin(np.abs(np.log(slopes)), axis=1)
    uneven = np.ptp(slopes, axis=1) > 0.1
    along = np.abs(found.directions[np.arange(9), slowest, 0])
    np.testing.assert_allclose(along[uneven], 1, rtol=1e-6)


def test_a_ghost_of_a_fixed_point_is_a_slow_point(x64):
    """h' = tanh(w h + b) with b just beyond where two fixed points have met and gone."""
    cell = rnn.Elman(1)
    w = 2.0
    h = np.sqrt(1 - 1 / w)  # where the slope is one
    b = np.arctanh(h) - w * h - 1e-3
    params = {"w_x": jnp.zeros((1, 1)), "w_h": jnp.full((1, 1), w), "b": jnp.full(1, b)}
    tries = jnp.linspace(-2, 2, 9)[:, None]
    found = diagnostics.fixed_points(cell, params, jnp.zeros(1), tries)
    ghost = found.points[~found.fixed][:, 0]
    np.testing.assert_allclose(ghost, [h], atol=1e-3)
    np.testing.assert_allclose(found.eigenvalues[~found.fixed], [[1]], atol=1e-2)


@pytest.mark.slow
def test_fixed_points_of_a_network_from_its_run(x64):
    """Its Jacobian by differences, and a record for candidates."""
    net = rnn.Stack((rnn.LSTM(2), rnn.Dense(2)))
    params = net.init(jax.random.key(0), rnn.features(1, dtype=jnp.float64))
    xs = jax.random.normal(jax.random.key(1), (T, B, 1), jnp.float64)
    seen = diagnostics.record(net, params, xs)
    x = jnp.full(1, 0.5)
    found = diagnostics.fixed_points(net, params, x, seen)
    [point] = np.concatenate([found.points[0].h, found.points[0].c], axis=-1)

    @jax.jit
    def after(s):
        (state, _), _ = rnn.advance(net, params, (rnn.LSTMState(s[:2], s[2:]), ()), x)
        return jnp.concatenate(state)

    np.testing.assert_allclose(after(point), point, atol=1e-9)
    slopes = [(after(point + e) - after(point - e)) / 2e-6 for e in 1e-6 * np.eye(4)]
    need = np.linalg.eigvals(np.stack(slopes, axis=1))
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues[0]), np.sort_complex(need), atol=1e-7
    )


def test_every_plot_is_a_figure_with_labels():
    from matplotlib.figure import Figure

    norms = (rnn.LSTMState(jnp.ones((T, B)), jnp.zeros((T, B))), ())
    values = {"lag 1": jnp.ones(3), "lag 2": jnp.zeros((B, 3))}
    gates = rnn.cells.lstm.LSTMGates(*[jnp.full((T, B, 2), 0.5)] * 4)
    ones, point = np.ones((1, 1)), np.zeros((1, 1))
    found = diagnostics.FixedPoints(point, ones[0], ones[0] > 0, ones, ones[None], ones[0] > 0)
    figures = [
        diagnostics.plot_gradient_norms(norms),
        diagnostics.plot_gradient_matrix(jax.tree.map(lambda a: jnp.stack([a] * T), norms)),
        diagnostics.plot_singular_values(values),
        diagnostics.plot_lyapunov_exponents(values["lag 1"]),
        diagnostics.plot_saturation((diagnostics.saturation(gates), None)),
        diagnostics.plot_effective_memory((jnp.array([3, 4]), None)),
        diagnostics.plot_first_non_finite(diagnostics.first_non_finite(NET, PARAMS, NAN)),
        diagnostics.plot_fixed_points(found, np.linspace(-1, 1, 5)[:, None]),
    ]
    for figure in figures:
        assert isinstance(figure, Figure)
        figure.canvas.draw()
        assert all(axes.get_ylabel() for axes in figure.axes)


def test_a_plot_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install -e ".\[examples\]"'):
        diagnostics.plot_gradient_norms(jnp.ones(3))


@pytest.mark.parametrize(("reverse", "fresh", "other"), [(False, (0, 2), -1), (True, (3, 1), 1)])
def test_gates_are_those_of_the_state_that_a_step_begins_from(reverse, fresh, other):
    cell = rnn.LSTM(2)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (4, 2))
    resets = jnp.arange(4) == 2  # a cut between 1 and 2
    seen = diagnostics.record(cell, params, xs, resets=resets, reverse=reverse)
    zs, start = cell.project(params, xs), cell.initial_state(params)
    for t in range(4):
        before = start if t in fresh else jax.tree.map(lambda s, i=t + other: s[i], seen.states)
        want = cell.gates(params, before, zs[t], rnn.Dot(params))
        chex.assert_trees_all_close(jax.tree.map(lambda g, t=t: g[t], seen.gates), want, rtol=1e-5)
