"""What each combinator computes, against small truths; noise; nesting; every message."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

jax.config.update("jax_numpy_dtype_promotion", "strict")

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (6, 2, 3))


def close(a, b, tolerance=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)


MERGES = {
    "concat": lambda f, b: jnp.concatenate([f, b], -1),
    "sum": lambda f, b: f + b,
    "mean": lambda f, b: (f + b) / 2,
    "product": lambda f, b: f * b,
    "none": lambda f, b: (f, b),
}


@pytest.mark.parametrize("merge", MERGES)
def test_bidirectional_merges_two_runs(merge):
    cell = rnn.LSTM(4)
    net = rnn.Bidirectional(cell, merge=merge)
    params = net.init(KEY, rnn.features(3))
    mask = rnn.lengths_to_mask(jnp.array([6, 4]), 6)
    resets = jnp.zeros((6, 2), bool).at[3].set(True)
    state, ys = rnn.unroll(net, params, XS, mask=mask, resets=resets)
    forward = rnn.unroll(cell, params[0], XS, mask=mask, resets=resets)
    backward = rnn.unroll(cell, params[1], XS, mask=mask, resets=resets, reverse=True)
    close(ys, MERGES[merge](forward[1], backward[1]))
    close(state, (forward[0], backward[0]))
    chunked = rnn.unroll(net, params, XS, mask=mask, resets=resets, strategy=rnn.Chunked(4))
    close(chunked, (state, ys))


def test_bidirectional_turns_around_in_a_reversed_run():
    net = rnn.Bidirectional(rnn.LSTM(4), rnn.LSTM(2))
    params = net.init(KEY, rnn.features(3))
    _, ys = rnn.unroll(net, params, XS, reverse=True)
    close(ys[..., :4], rnn.unroll(rnn.LSTM(4), params[0], XS, reverse=True)[1])
    close(ys[..., 4:], rnn.unroll(rnn.LSTM(2), params[1], XS)[1])


def test_bidirectional_has_params_of_its_own_for_each_direction():
    params = rnn.Bidirectional(rnn.LSTM(4)).init(KEY, rnn.features(3))
    assert not np.allclose(params[0]["w_x"], params[1]["w_x"])


def test_bidirectional_refuses_advance_and_fold_and_says_why():
    net = rnn.Stack((rnn.LSTM(3), rnn.Bidirectional(rnn.LSTM(4))))
    params = net.init(KEY, rnn.features(3))
    assert not net.causal
    with pytest.raises(ValueError, match=r"advance of a network that looks ahead, in Bidirectional\(.*depends on the steps after t.*Use unroll"):
        rnn.advance(net, params, net.initial_state(params, (2,)), XS[0])
    with pytest.raises(ValueError, match=r"fold of a network that looks ahead, in Bidirectional\(.*cuts time into pieces"):
        rnn.fold(net, params, XS, lambda p, acc, ys, extra, mask: acc, jnp.float32(0))
    with pytest.raises(ValueError, match=r"advance of a cell that looks ahead"):
        rnn.advance(net.cells[1], params[1], net.cells[1].initial_state(params[1], (2,)), XS[0])


def test_bidirectional_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"Bidirectional.*merge='max'; need one of 'concat', 'sum', 'mean', 'product', 'none'"):
        rnn.Bidirectional(rnn.LSTM(4), merge="max")
    with pytest.raises(TypeError, match=r"Bidirectional.*got 4 as a cell"):
        rnn.Bidirectional(4)
    net = rnn.Bidirectional(rnn.LSTM(4), rnn.LSTM(5), merge="sum")
    with pytest.raises(ValueError, match=r"float32\[4\] forward and float32\[5\] backward; need equal shapes for merge='sum'"):
        net.init(KEY, rnn.features(3))
