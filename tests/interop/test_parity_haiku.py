"""Haiku's cores against the layers that `interop.haiku` makes of their weights: outputs, last
states and every gradient, to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.equal import same
from helpers.parity import compare, fill, stepped
from jaxrnn.interop.haiku import TwoBiases, forget_one, from_haiku, to_haiku

T, B, F, H = 5, 2, 3, 4
NAMES = "lstm", "gru", "vanilla_rnn", "linear"
PLAIN = rnn.Stack((rnn.LSTM(H), rnn.GRU(H, reset_after=False), rnn.Elman(H, "relu"), rnn.Dense(2)))


def weights_of(net=PLAIN, x=F):
    return fill(jax.eval_shape(lambda: to_haiku(net, net.init(jax.random.key(0), x))))


def test_outputs_and_gradients():
    hk = pytest.importorskip("haiku")

    @hk.without_apply_rng
    @hk.transform
    def step(x, state):
        core = hk.DeepRNN([hk.LSTM(H), hk.GRU(H), hk.VanillaRNN(H), hk.Linear(2)])
        return core(x, state or core.initial_state(B))

    xs = fill(np.empty((T, B, F)), 2)
    weights = fill(jax.eval_shape(step.init, jax.random.key(0), xs[0], None))
    net, params = from_haiku(weights, NAMES, biases="both")

    def carry(state):
        hidden, cell, *rest = jax.tree.leaves(state)
        return (hk.LSTMState(hidden, cell), *rest)

    def apply(weights, state, x):
        y, state = step.apply(weights, x, state)
        return state, y

    ours_of = lambda grads: from_haiku(grads, NAMES, biases="both")[1]  # noqa: E731
    compare(net, params, weights, stepped(apply), ours_of, carry, xs)

    same(to_haiku(net, params), weights)  # by the names that Haiku itself gave
    plain, summed = from_haiku(weights, NAMES)
    assert plain == PLAIN
    want, got = (rnn.unroll(n, p, xs)[1] for n, p in ((net, params), (plain, summed)))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_the_kinds_of_layers():
    """Haiku's defaults among them: modules without a bias, and one within another."""
    weights = weights_of()
    net, params = from_haiku(weights, NAMES, biases="both")
    assert net.cells == (
        rnn.TransformedWeights(rnn.LSTM(H), forget_one),
        rnn.GRU(H, reset_after=False),
        TwoBiases(rnn.Elman(H, "relu")),
        rnn.Dense(2),
    )
    weights["vanilla_rnn/linear_1"].pop("b")
    weights["linear"].pop("b")
    inner = {f"model/~/{name}": leaves for name, leaves in weights.items()}
    assert from_haiku(inner, "model/~/vanilla_rnn", biases="both")[0] == rnn.Elman(H, "relu")
    dense, single = from_haiku(inner, "model/~/linear")
    assert dense == rnn.Dense(2)
    np.testing.assert_array_equal(single["b"], np.zeros(2))

    net = rnn.Stack((rnn.Embed(5, F), rnn.LSTM(2), rnn.Dropout(0.1), rnn.LSTM(H)))
    weights = weights_of(net, rnn.TOKEN)
    assert list(weights) == ["embed", "lstm/linear", "lstm_1/linear"]
    made, params = from_haiku(weights, ("embed", "lstm", "lstm_1"))
    assert made.cells == (net.cells[0], net.cells[1], net.cells[3])
    other = to_haiku(net, (*params[:2], {}, params[2]), ("tokens", "one", "two"))
    assert list(other) == ["tokens", "one/linear", "two/linear"]


def test_one_added_and_taken_off_is_exact_from_a_half_on():
    cell, params = from_haiku(weights_of(), "lstm")
    again = from_haiku(to_haiku(cell, params, "lstm"), "lstm")[1]
    for key in ("w_x", "w_h"):
        np.testing.assert_array_equal(again[key], params[key])
    np.testing.assert_allclose(again["b"], params["b"], rtol=0, atol=6e-8)
    b = jnp.where(jnp.arange(4 * H) // H == 1, jnp.abs(params["b"]) + 0.5, params["b"])
    exact = params | {"b": b}
    same(from_haiku(to_haiku(cell, exact, "lstm"), "lstm")[1], exact)


@pytest.mark.parametrize(
    "layer",
    [
        rnn.LSTM(H, projection=2),
        rnn.GRU(H),
        rnn.Elman(H),
        rnn.Dense(H, "relu"),
        rnn.TransformedWeights(rnn.LSTM(H), rnn.Dale()),
        rnn.Stack((rnn.LSTM(H), rnn.LayerNorm())),
    ],
    ids=repr,
)
def test_what_haiku_lacks_is_refused(layer):
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    with pytest.raises(ValueError, match="Haiku does not have"):
        to_haiku(layer, params)


def test_the_first_array_that_does_not_fit_is_named():
    weights = weights_of()
    weights["gru"]["w_i"] = jnp.ones((F, 3 * H + 1))
    with pytest.raises(ValueError, match=r"got gru/w_i float32\[3, 13\]; need .*\(any, 12\)"):
        from_haiku(weights, NAMES)
