"""What each combinator computes, against small truths; noise; nesting; every message."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first

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
    if merge == "concat":
        close(
            rnn.unroll(net, params, XS, mask=mask, resets=resets, strategy=rnn.Chunked(4)),
            (state, ys),
        )


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
    with pytest.raises(
        ValueError,
        match=r"advance of a network that looks ahead, in Bidirectional\(.*"
        r"depends on the steps after t.*Use unroll",
    ):
        rnn.advance(net, params, net.initial_state(params, (2,)), XS[0])
    with pytest.raises(
        ValueError,
        match=r"fold of a network that looks ahead, in Bidirectional\(.*cuts time into pieces",
    ):
        rnn.fold(net, params, XS, lambda p, acc, ys, extra, mask: acc, jnp.float32(0))
    with pytest.raises(ValueError, match=r"advance of a cell that looks ahead"):
        rnn.advance(net.cells[1], params[1], net.cells[1].initial_state(params[1], (2,)), XS[0])


def test_bidirectional_says_what_is_wrong():
    with pytest.raises(
        ValueError,
        match=r"Bidirectional.*merge='max'; need one of 'concat', 'sum', 'mean', 'product', 'none'",
    ):
        rnn.Bidirectional(rnn.LSTM(4), merge="max")
    with pytest.raises(TypeError, match=r"Bidirectional.*got 4 as a cell"):
        rnn.Bidirectional(4)
    net = rnn.Bidirectional(rnn.LSTM(4), rnn.LSTM(5), merge="sum")
    with pytest.raises(
        ValueError,
        match=r"float32\[4\] forward and float32\[5\] backward; need equal shapes for merge='sum'",
    ):
        net.init(KEY, rnn.features(3))


def looped(net, params, xs, **keywords):
    """The truth: a Python loop over advance, with the noise of each step."""
    state, ys = net.initial_state(params, xs.shape[1 : xs.ndim - net.feature_ndim]), []
    for t in range(xs.shape[0]):
        state, y = rnn.advance(
            net,
            params,
            state,
            xs[t],
            t=t,
            **{k: v[t] if k in ("mask", "reset") else v for k, v in keywords.items()},
        )
        ys.append(y)
    return state, jnp.stack(ys)


# Residual


def test_residual_adds_its_input():
    net = rnn.Residual(rnn.LSTM(3))
    params = net.init(KEY, rnn.features(3))
    close(rnn.unroll(net, params, XS)[1], XS + rnn.unroll(rnn.LSTM(3), params[0], XS)[1])


def test_residual_names_the_cell_of_another_width():
    with pytest.raises(
        ValueError,
        match=r"float32\[3\] and outputs float32\[4\] of LSTM\(hidden=4.*"
        r"Residual\(Stack\(\(cell, Dense\(width\)\)\)\)",
    ):
        rnn.Residual(rnn.LSTM(4)).init(KEY, rnn.features(3))
    with pytest.raises(TypeError, match=r"Residual: got 3 as a cell"):
        rnn.Residual(3)


# An embedding tied to its head


def test_tied_embedding_with_a_bias():
    plain, net = (rnn.TiedEmbedding(7, 4, rnn.LSTM(4), bias=b) for b in (False, True))
    params, tokens = plain.init(KEY, rnn.TOKEN), jnp.array([[1, 2], [3, 0], [6, 6]])
    assert jax.tree.map(jnp.shape, net.init(KEY, rnn.TOKEN)[2]) == {"b": (7,)}
    b = jnp.arange(7.0)
    both = (*params, {"b": b})
    close(rnn.unroll(net, both, tokens)[1], rnn.unroll(plain, params, tokens)[1] + b)
    grads = jax.grad(lambda p: rnn.unroll(net, p, tokens)[1].sum())(both)
    np.testing.assert_allclose(grads[2]["b"], 6)


def test_tied_embedding():
    net = rnn.TiedEmbedding(7, 4, rnn.LSTM(4))
    params, tokens = net.init(KEY, rnn.TOKEN), jnp.array([[1, 2], [3, 0], [6, 6]])
    assert jax.tree.map(jnp.shape, params[0]) == {"w": (7, 4)}
    untied = lambda a, b: rnn.unroll(rnn.LSTM(4), params[1], a[tokens])[1] @ b.T  # noqa: E731
    close(rnn.unroll(net, params, tokens)[1], untied(params[0]["w"], params[0]["w"]))
    grads = jax.grad(lambda p: jnp.sin(rnn.unroll(net, p, tokens)[1]).sum())(params)[0]["w"]
    a, b = jax.grad(lambda a, b: jnp.sin(untied(a, b)).sum(), (0, 1))(
        params[0]["w"], params[0]["w"]
    )
    close(grads, a + b)
    close(rnn.unroll(net, params, tokens), looped(net, params, tokens))


def test_tied_embedding_says_what_is_wrong():
    with pytest.raises(
        ValueError,
        match=r"outputs float32\[5\] of its body LSTM\(hidden=5.*need outputs 4 wide.*"
        r"Stack\(\(body, Dense\(4\)\)\)",
    ):
        rnn.TiedEmbedding(7, 4, rnn.LSTM(5)).init(KEY, rnn.TOKEN)
    with pytest.raises(ValueError, match=r"TiedEmbedding\(vocabulary=0.*need a positive integer"):
        rnn.TiedEmbedding(0, 4, rnn.LSTM(4))
    with pytest.raises(TypeError, match=r"TiedEmbedding: got 'LSTM' as a cell"):
        rnn.TiedEmbedding(7, 4, "LSTM")


# A learned state


def learned(cell=None):
    net = rnn.LearnedState(cell or rnn.Stack((rnn.LSTM(4), rnn.Elman(2))))
    params = net.init(KEY, rnn.features(3))
    state = jax.tree.map(
        lambda a: a + jnp.linspace(-1, 1, a.size).reshape(a.shape), params["state"]
    )
    return net, {**params, "state": state}


def test_learned_state_begins_every_row():
    net, params = learned()
    first = net.initial_state(params, (2,))
    close(first[0], jax.tree.map(lambda a: jnp.broadcast_to(a, (2, *a.shape)), params["state"]), 0)
    assert jax.tree.structure(first[0]) == jax.tree.structure(
        net.cell.initial_state(params["cell"])
    )
    close(
        rnn.unroll(net, params, XS)[1],
        rnn.unroll(net.cell, params["cell"], XS, state=first[0])[1],
        0,
    )
    close(rnn.unroll(net, params, XS)[1], looped(net, params, XS)[1])
    close(rnn.unroll(net, params, XS, state=first), rnn.unroll(net, params, XS), 0)


@pytest.mark.slow
def test_learned_state_has_gradients_through_resets():
    net, params = learned()
    resets = jnp.zeros((6, 2), bool).at[2, 0].set(True).at[4, 1].set(True)
    # So the learned state enters at resets alone.
    given = jax.tree.map(jnp.zeros_like, net.initial_state(params, (2,)))

    def reset(params):
        return jnp.sin(rnn.unroll(net, params, XS, state=given, resets=resets)[1]).sum()

    def pieces(params):
        total = jnp.float32(0)
        for row, t in ((0, 2), (1, 4)):
            total += jnp.sin(
                rnn.unroll(net, params, XS[:t, row], state=jax.tree.map(lambda a: a[0], given))[1]
            ).sum()
            total += jnp.sin(rnn.unroll(net, params, XS[t:, row])[1]).sum()
        return total

    a, b = jax.grad(reset)(params), jax.grad(pieces)(params)
    close(a, b)
    assert all(np.abs(leaf).min() > 0 for leaf in jax.tree.leaves(a["state"]))


def test_learned_state_keeps_the_states_dtype():
    net, params = learned()
    state, ys = rnn.unroll(
        net, jax.tree.map(lambda a: a.astype(jnp.bfloat16), params), XS.astype(jnp.bfloat16)
    )
    assert ys.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_learned_state_says_what_is_wrong():
    net, params = learned()
    with pytest.raises(ValueError, match=r"need a dict with keys 'cell', 'state'"):
        rnn.unroll(net, {"cell": params["cell"], "start": params["state"]}, XS)
    with pytest.raises(
        ValueError,
        match=r"params\['state'\]\[1\] float32\[3\].*need params\['state'\]\[1\] of shape \(2,\)",
    ):
        rnn.unroll(net, {**params, "state": (params["state"][0], jnp.zeros(3))}, XS)
    with pytest.raises(TypeError, match=r"^LearnedState: got <class .*LSTM'> as a cell"):
        rnn.LearnedState(rnn.LSTM)


# Together


def deep():
    noisy = rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(4), 0.3), (0.1, 0.4))
    block = rnn.Residual(rnn.Stack((rnn.LayerNorm(), noisy, rnn.Dropout(0.2, "sequence"))))
    return rnn.LearnedState(
        rnn.TiedEmbedding(
            9, 4, rnn.Stack((block, rnn.CausalConv(4, 3), rnn.Dropout(0.3), rnn.RMSNorm()))
        )
    )


@pytest.mark.parametrize("noise", first(0, [{"key": KEY}, {}]), ids=["with noise", "without"])
def test_deep_nesting_and_noise_do_not_depend_on_the_cuts(noise):
    net, tokens = deep(), jax.random.randint(KEY, (5, 2), 0, 9)
    params = net.init(KEY, rnn.TOKEN)
    params["state"] = jax.tree.map(lambda a: a + 0.3, params["state"])
    mask = jnp.ones((5, 2), bool).at[1, 0].set(False).at[4, 1].set(False)
    resets = jnp.zeros((5, 2), bool).at[3, 0].set(True)

    def loss(params, strategy):
        state, ys = rnn.unroll(
            net, params, tokens, mask=mask, resets=resets, strategy=strategy, **noise
        )
        return jnp.sin(ys).sum(), (state, ys)

    gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    grads, whole = gradient(params, rnn.Scan())
    close(looped(net, params, tokens, mask=mask, reset=resets, **noise), whole)
    if noise:
        cut_grads, cut = gradient(params, rnn.Chunked(3))
        close(cut, whole)
        close(cut_grads, grads, 1e-4)
        assert not np.allclose(
            whole[1],
            rnn.unroll(net, params, tokens, mask=mask, resets=resets, key=jax.random.key(9))[1],
            atol=1e-3,
        )


EVERY = [
    deep(),
    rnn.Bidirectional(rnn.LSTM(3), merge="sum"),
    rnn.Bidirectional(rnn.LSTM(3), rnn.GRU(2)),
    rnn.Dropout(0.5, "sequence"),
    rnn.LayerNorm(1e-3),
    rnn.RMSNorm(),
    rnn.CausalConv(3, 2, depthwise=True),
    rnn.Dense(3, activation="tanh"),
    rnn.Embed(4, 2),
    rnn.RecurrentDropout(rnn.Elman(3), 0.5, per="step"),
]


@pytest.mark.parametrize("cell", EVERY, ids=lambda cell: type(cell).__name__)
def test_combinators_are_values(cell):
    assert pickle.loads(pickle.dumps(cell)) == cell
    again = eval(repr(cell), vars(rnn))
    assert again == cell
    assert hash(again) == hash(cell)
    assert jax.tree.leaves(cell) == []
    assert cell != rnn.Dense(17)
