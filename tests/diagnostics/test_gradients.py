"""Norms of the gradient in every state, against differences of losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn import controls
from jaxrnn.diagnostics import gradient_matrix, gradient_norms

T, B = 4, 2
NET = rnn.Stack((rnn.LRU(2), rnn.Bidirectional(rnn.LSTM(2), rnn.Elman(2)), rnn.Dense(2)))
MASK = rnn.lengths_to_mask(jnp.array([T, T - 1]), T)
RESETS = jnp.zeros((T, B), bool).at[2, 0].set(True)
CONTROLS = {"mask": MASK, "resets": RESETS}


def losses(ys):
    return jnp.sum(jnp.sin(ys) ** 2, axis=-1)


def nudged(net, params, xs, nudges, reverse):
    """The outputs of a plain loop over steps, with a nudge added to the state after each."""
    if isinstance(net, rnn.Stack):
        for child, p, n in zip(net.children, params, nudges, strict=True):
            xs = nudged(child, p, xs, n, reverse)
        return xs
    if isinstance(net, rnn.Bidirectional):
        both = zip(net.children, params, nudges, (reverse, not reverse), strict=True)
        return jnp.concatenate([nudged(c, p, xs, n, r) for c, p, n, r in both], axis=-1)
    zs = net.project(params, controls.blank(xs, MASK))
    if isinstance(net, rnn.Feedforward):
        return zs
    start = net.initial_state(params, (B,))
    state, ys, resets = start, [None] * T, controls.directed(MASK, RESETS, reverse)
    for t in reversed(range(T)) if reverse else range(T):
        z = jax.tree.map(lambda a, t=t: a[t], zs)
        state = controls.choose(resets[t], start, state)
        new = net.step(params, state, z, rnn.Dot(params))
        state = controls.choose(MASK[t], new, state)
        state = jax.tree.map(lambda s, n, t=t: s + n[t], state, nudges)
        ys[t] = net.readout(params, state, z)
    return jnp.stack(ys)


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_norms_agree_with_differences(x64, reverse):
    params = NET.init(jax.random.key(0), rnn.features(3, dtype=jnp.float64))
    xs = jax.random.normal(jax.random.key(1), (T, B, 3), jnp.float64)
    state = NET.initial_state(params, (B,))
    zero = jax.tree.map(lambda s: jnp.zeros((T, *s.shape), s.dtype), state)
    flat, unravel = jax.flatten_util.ravel_pytree(zero)

    def run(nudges):
        ys = nudged(NET, params, xs, unravel(nudges), reverse)
        return losses(controls.blank(ys, MASK))

    far = 1e-5 * np.eye(flat.size)
    slopes = np.asarray(jax.jit(jax.vmap(lambda e: (run(e) - run(-e)) / 2e-5))(far))
    leaves, tree = jax.tree.flatten(zero)
    parts = np.split(slopes, np.cumsum([leaf.size for leaf in leaves])[:-1])
    by_loss = [s.reshape(*leaf.shape, T, B) for s, leaf in zip(parts, leaves, strict=True)]

    def norms(weights):
        """Of the losses with these weights; no row's loss depends on another's state."""
        total = [np.einsum("tbuab,a->tbu", slopes, weights) for slopes in by_loss]
        return tree.unflatten([np.linalg.norm(g, axis=-1) for g in total])

    def close(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), a, b)

    given = CONTROLS | {"reverse": reverse}
    close(gradient_norms(NET, params, xs, losses, **given), norms(np.ones(T)))
    close(gradient_norms(NET, params, xs, losses, at=-2, **given), norms(np.eye(T)[T - 2]))
    rows = [norms(e) for e in np.eye(T)]
    matrix = gradient_matrix(NET, params, xs, losses, **given)
    close(matrix, jax.tree.map(lambda *rows: np.stack(rows), *rows))


@pytest.mark.slow
def test_a_long_matrix_is_made_in_blocks():
    cell = rnn.Elman(2)
    params = cell.init(jax.random.key(0), 1)
    xs = jax.random.normal(jax.random.key(1), (37, 1))
    matrix = gradient_matrix(cell, params, xs, losses)
    assert matrix.shape == (37, 37)
    for at in (0, 16, 36):
        np.testing.assert_allclose(
            matrix[at], gradient_norms(cell, params, xs, losses, at=at), rtol=1e-5, atol=1e-9
        )


def test_a_gradient_whose_square_is_no_number_has_a_norm():
    cell = rnn.Elman(2, "identity")
    params = {"w_x": jnp.ones((1, 2)), "w_h": 0.1 * jnp.eye(2), "b": jnp.zeros(2)}
    norms = gradient_norms(cell, params, jnp.ones((31, 1)), lambda ys: ys.sum(-1), at=-1)
    np.testing.assert_allclose(norms[0], 2**0.5 * 1e-30, rtol=1e-5)


def test_layers_without_a_loop_have_no_norms():
    net = rnn.Stack((rnn.CausalConv(2, 2), rnn.Dense(2), rnn.LearnedState(rnn.Elman(2))))
    params = net.init(jax.random.key(0), 1)
    norms = gradient_norms(net, params, jnp.ones((3, 1)), losses)
    assert norms[:2] == (None, ())
    assert norms[2][0].shape == (3,)


@pytest.mark.slow
def test_they_work_in_jit_and_vmap_and_without_steps():
    cell = rnn.Elman(2)
    params = cell.init(jax.random.key(0), 1)
    xs = jax.random.normal(jax.random.key(1), (3, 4, 1))

    def of_row(x, at):
        return gradient_norms(cell, params, x, losses, at=at)

    found = jax.jit(jax.vmap(of_row, (1, None), 1))(xs, 1)
    need = gradient_norms(cell, params, xs, losses, at=1)
    np.testing.assert_allclose(found, need, rtol=1e-6)
    assert gradient_matrix(cell, params, xs[:0], losses).shape == (0, 0, 4)
