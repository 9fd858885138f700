"""The penalty on vanishing gradients: closed forms, a plain program, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn.training import MaskedMean, mse, vanishing_penalty

T = 6
MASK = jnp.ones((T, 3), bool).at[0, 0].set(False).at[3, 1].set(False).at[4:, 2].set(False)
RESETS = jnp.zeros((T, 3), bool).at[2, 1].set(True)


def turned(key, scale):
    """A linear cell whose every step multiplies the norm of a gradient by `scale`."""
    cell = rnn.Elman(4, lambda x: x)
    params = cell.init(key, 4)
    return cell, params | {"w_h": scale * params["w_h"]}


@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_layers_norm_changes_by_what_its_weights_say(both):
    (first, a), (second, b) = turned(jax.random.key(0), 0.5), turned(jax.random.key(1), 1.25)
    net = rnn.Bidirectional(first, second) if both else rnn.Stack((first, second))
    xs = jax.random.normal(jax.random.key(2), (T, 3, 4))
    loss, whole = vanishing_penalty(net, (a, b), xs, lambda ys: mse(ys, ys * 0 + 1))
    pairs = 3 * (T - 1)
    np.testing.assert_allclose(whole.total, pairs * (0.25 + 0.0625), rtol=1e-5)
    assert int(whole.steps) == 2 * pairs
    _, ys = rnn.unroll(net, (a, b), xs)
    np.testing.assert_allclose(loss.mean, mse(ys, ys * 0 + 1).mean, rtol=1e-5)


def test_left_out_are_steps_that_begin_or_are_masked_or_have_no_gradient():
    cell, params = turned(jax.random.key(0), 0.5)
    xs = jax.random.normal(jax.random.key(2), (T, 3, 4))
    foul = jnp.where(MASK[..., None], xs, jnp.nan)

    def penalty(params):
        loss = lambda ys: mse(ys, ys * 0 + 1, MASK & (jnp.arange(T) != T - 1)[:, None])  # noqa: E731
        return vanishing_penalty(cell, params, foul, loss, mask=MASK, resets=RESETS)[1]

    # Row 0: steps 2, 3, 4. Row 1: 1, 4, since 2 begins anew and 3 is masked. Row 2: 1, 2, 3.
    got = penalty(params)
    assert int(got.steps) == 8
    np.testing.assert_allclose(got.mean, 0.25, rtol=1e-5)
    gradient = jax.grad(lambda params: penalty(params).mean)(params)
    # d/dw of (|w| - 1)^2 along w = 0.5 Q: 2 (0.5 - 1), of which w is 0.5.
    np.testing.assert_allclose((gradient["w_h"] * params["w_h"]).sum(), -0.5, rtol=1e-4)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient))


def by_hand(cell, params, xs, loss):
    """Every derivative by `jax.grad` of a loop from the state in question."""

    def after(state, t):
        """The outputs from step t on, given the state after it."""
        ys = [cell.readout(params, state, None)]
        for x in xs[t + 1 :]:
            state, y = rnn.advance(cell, params, state, x)
            ys.append(y)
        return jnp.stack(ys)

    states = [cell.initial_state(params, xs.shape[1:-1])]
    for x in xs:
        states.append(rnn.advance(cell, params, states[-1], x)[0])
    found = []
    for t in range(1, len(xs)):
        d = jax.grad(lambda s: loss(after(s, t), t))(states[t + 1])  # noqa: B023
        _, pull = jax.vjp(lambda s: rnn.advance(cell, params, s, xs[t])[0], states[t])  # noqa: B023
        v = pull(d)[0]
        v, d = (jnp.concatenate(jax.tree.leaves(tree), -1) for tree in (v, d))
        ratio = jnp.linalg.norm(v, axis=-1) / jnp.linalg.norm(d, axis=-1)
        found.append(jnp.square(ratio - 1))
    return jnp.stack(found).mean()


def test_its_value_and_its_gradient_in_doubles(x64):
    cell = rnn.LSTM(3)
    params = cell.init(jax.random.key(0), rnn.features(2, dtype=jnp.float64))
    xs = jax.random.normal(jax.random.key(1), (3, 2, 2), jnp.float64)

    def penalty(params, exact=True):
        loss = lambda ys: MaskedMean.over(jnp.sin(ys).sum(-1))  # noqa: E731
        return vanishing_penalty(cell, params, xs, loss, exact=exact)[1].mean

    value, gradient = jax.jit(jax.value_and_grad(penalty))(params)
    want = by_hand(cell, params, xs, lambda ys, t: jnp.sin(ys).sum())
    np.testing.assert_allclose(value, want, rtol=1e-10)
    way = jax.tree.map(lambda p: jnp.cos(5 * p), params)
    run, h = jax.jit(penalty), 1e-5
    ends = [run(jax.tree.map(lambda p, d, s=s: p + s * d, params, way)) for s in (h, -h)]
    slope = sum((g * d).sum() for g, d in zip(*map(jax.tree.leaves, (gradient, way)), strict=True))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-7)
    paper, partial = jax.jit(jax.value_and_grad(lambda p: penalty(p, False)))(params)
    np.testing.assert_allclose(paper, value, rtol=1e-12)
    assert not np.allclose(partial["w_h"], gradient["w_h"], rtol=1e-3)
