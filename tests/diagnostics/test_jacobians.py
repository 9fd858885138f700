"""Singular values and Lyapunov exponents, against full Jacobians and known maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn as rnn
from jaxrnn.diagnostics import jacobian, lyapunov_exponents, lyapunov_exponents_of, singular_values
from jaxrnn.diagnostics.jacobians import largest

T, B = 5, 3  # a row without flags, one that is masked, one with a reset
NET = rnn.Stack((rnn.CausalConv(2, 2), rnn.LSTM(2), rnn.Residual(rnn.Elman(2))))
MASK = rnn.lengths_to_mask(jnp.array([T, 3, T]), T)
RESETS = jnp.zeros((T, B), bool).at[2, 2].set(True)


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_singular_values_are_those_of_the_full_jacobian(x64, reverse):
    params = NET.init(jax.random.key(0), rnn.features(2, dtype=jnp.float64))
    xs = jax.random.normal(jax.random.key(1), (T, B, 2), jnp.float64)
    given = {"mask": MASK, "resets": RESETS, "reverse": reverse}
    before, window = (slice(3, T), slice(1, 3)) if reverse else (slice(0, 2), slice(2, 4))

    def run(piece, state=None):
        flags = {"mask": MASK[piece], "resets": RESETS[piece], "reverse": reverse}
        return rnn.unroll(NET, params, xs[piece], state=state, **flags)[0]

    @jax.jit
    def full():
        flat, unravel = ravel_pytree(run(before))
        return jax.jacobian(lambda s: ravel_pytree(run(window, unravel(s)))[0])(flat)

    # Which row each number of the packed state belongs to.
    numbers = jax.vmap(lambda s, b: jax.tree.map(lambda a: 0 * a + b, s))
    row = ravel_pytree(numbers(NET.initial_state(params, (B,)), jnp.arange(B, dtype=float)))[0]
    whole = np.asarray(full())
    need = np.stack([whole[row == b][:, row == b] for b in range(B)])
    at = 3 if reverse else 1
    made = jacobian(NET, params, xs, lag=2, at=at, **given)
    np.testing.assert_allclose(made, need, atol=1e-12)
    values = np.linalg.svd(need)[1]
    found = singular_values(NET, params, xs, lag=2, at=at, count=3, **given)
    np.testing.assert_allclose(found, values[:, :3], atol=1e-10)
    assert values[0, 2] > 0.1


@pytest.mark.slow
def test_all_singular_values_of_the_first_step(x64):
    cell = rnn.Elman(3)
    params = cell.init(jax.random.key(0), rnn.features(2, dtype=jnp.float64))
    x, start = jnp.ones((1, 2)), jnp.full(3, 0.2)
    need = jax.jacobian(lambda h: rnn.advance(cell, params, h, x[0])[0])(start)
    found = singular_values(cell, params, x, state=start)
    np.testing.assert_allclose(found, np.linalg.svd(need)[1], rtol=1e-10)


def test_lanczos_finds_values_that_are_close_or_equal(x64):
    random = np.random.default_rng(0).normal(size=(2, 100, 100))
    maps = np.concatenate([random, np.eye(100)[None], np.zeros((1, 100, 100))])
    found = jax.jit(
        lambda m: largest(lambda v: jnp.einsum("bij,bj->bi", m, v), jnp.zeros((4, 100)), 3)
    )(maps)
    np.testing.assert_allclose(found, np.linalg.svd(maps)[1][:, :3], rtol=1e-5)


def test_exponents_of_a_linear_map_are_its_eigenvalues(x64):
    need = np.log([0.95, 0.8, 0.4])
    basis = jax.random.normal(jax.random.key(3), (3, 3))
    w = basis @ jnp.diag(jnp.array([0.4, -0.95, 0.8])) @ jnp.linalg.inv(basis)
    found = lyapunov_exponents_of(lambda x: w @ x, jnp.ones(3), 20, 3, skip=200)
    np.testing.assert_allclose(found, need, atol=1e-6)

    cell = rnn.Elman(3, "identity")  # no mask, no reset and no direction changes them
    params = {"w_x": jnp.ones((1, 3)), "w_h": w.T, "b": jnp.zeros(3)}
    xs = jax.random.normal(jax.random.key(4), (400, 2, 1))
    mask = jax.random.bernoulli(jax.random.key(5), 0.8, (400, 2))
    resets = jnp.zeros((400, 2), bool).at[50].set(True)
    given = {"mask": mask, "resets": resets, "reverse": True}
    found = lyapunov_exponents(cell, params, xs, 2, skip=300, **given)
    np.testing.assert_allclose(found, [need[:2]] * 2, atol=1e-6)


def test_exponents_of_known_chaos(x64):
    def henon(p):
        return jnp.stack([1 - 1.4 * p[0] ** 2 + p[1], 0.3 * p[0]])

    found = lyapunov_exponents_of(henon, jnp.array([0.1, 0.1]), 20000, 2, skip=100)
    np.testing.assert_allclose(found, [0.419, -1.623], rtol=0.01)

    def velocity(p):
        x, y, z = p
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    def lorenz(p, h=0.01):
        a = velocity(p)
        b = velocity(p + h / 2 * a)
        c = velocity(p + h / 2 * b)
        return p + h / 6 * (a + 2 * b + 2 * c + velocity(p + h * c))

    found = lyapunov_exponents_of(lorenz, jnp.ones(3), 100_000, 3, skip=1000) / 0.01
    np.testing.assert_allclose(found[jnp.array([0, 2])], [0.9056, -14.572], rtol=0.01)
    assert abs(found[1]) < 0.01


@pytest.mark.slow
def test_exponents_add_up_to_the_volume_of_every_step(x64):
    """The sum of all exponents is the mean of log |det J_t|, from the initial state at a reset."""
    net = rnn.Stack((rnn.GRU(2), rnn.Elman(2)))
    params = net.init(jax.random.key(0), rnn.features(1, dtype=jnp.float64))
    xs = jax.random.normal(jax.random.key(1), (T, B, 1), jnp.float64)
    found = lyapunov_exponents(net, params, xs, 4, mask=MASK, resets=RESETS)

    @jax.jit
    def volume(state, x):
        flat, unravel = ravel_pytree(state)

        def step(s):
            return ravel_pytree(rnn.advance(net, params, unravel(s), x)[0])[0]

        return jnp.linalg.slogdet(jax.jacobian(step)(flat))[1], unravel(step(flat))

    for b in range(B):
        state, total = net.initial_state(params), []
        for t in range(T):
            if MASK[t, b]:
                state = net.initial_state(params) if RESETS[t, b] else state
                grown, state = volume(state, xs[t, b])
                total.append(grown)
        np.testing.assert_allclose(jnp.sum(found[b]), np.mean(total), rtol=1e-9)
