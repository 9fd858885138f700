"""Equinox's cells and layers against the layers that `interop.equinox` makes of them: outputs, last
states and every gradient, to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.equal import same
from helpers.parity import compare, fill, stepped

eqx = pytest.importorskip("equinox")

from jaxrnn.interop.equinox import from_equinox, to_equinox  # noqa: E402  it needs equinox

T, B, F, H = 5, 2, 3, 4
KEY = jax.random.key(0)
XS = fill(np.empty((T, B, F)), 2)


def check(module, apply, carry=lambda state: state):
    """A module with random weights against its conversion, which goes back bit for bit."""
    arrays, rest = eqx.partition(module, eqx.is_array)
    arrays = fill(arrays)
    layer, params = from_equinox(eqx.combine(arrays, rest))
    run = stepped(lambda arrays, c, x: apply(eqx.combine(arrays, rest), c, x))
    ours_of = lambda grads: from_equinox(eqx.combine(grads, rest))[1]  # noqa: E731
    compare(layer, params, arrays, run, ours_of, carry, XS)
    back = to_equinox(layer, params)
    same(eqx.filter(back, eqx.is_array), arrays)
    assert from_equinox(back)[0] == layer
    return layer


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_cells(kind):
    def apply(module, state, x):
        state = jax.vmap(module)(x, state)
        return state, state[0] if kind == "LSTMCell" else state

    carry = lambda state: tuple(state) if kind == "LSTMCell" else state  # noqa: E731
    layer = check(getattr(eqx.nn, kind)(F, H, key=KEY), apply, carry)
    assert layer == {"LSTMCell": rnn.LSTM, "GRUCell": rnn.GRU}[kind](H)


def test_layers():
    def apply(modules, state, x):
        return state, jax.vmap(eqx.nn.Sequential(modules))(x)

    modules = (
        eqx.nn.Linear(F, H, key=KEY),
        eqx.nn.LayerNorm(H, eps=1e-3),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Dropout(0.25, inference=True),
    )
    layer = check((*modules, eqx.nn.Linear(H, 2, key=KEY)), apply, lambda state: ())
    assert layer.cells[1:4] == (rnn.LayerNorm(1e-3), rnn.Apply(jax.nn.relu), rnn.Dropout(0.25))


def test_tokens_and_modules_without_a_bias():
    modules = [
        eqx.nn.Embedding(5, F, key=KEY),
        eqx.nn.GRUCell(F, H, use_bias=False, key=KEY),
        eqx.nn.LSTMCell(H, H, use_bias=False, key=KEY),
        eqx.nn.LayerNorm(H, use_weight=False, use_bias=False),
        eqx.nn.Linear(H, 2, use_bias=False, key=KEY),
    ]
    layer, params = from_equinox(modules)
    fresh = jax.eval_shape(lambda: layer.init(KEY, rnn.TOKEN))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, fresh)
    biases = [leaf for part in params for key, leaf in part.items() if key[0] == "b"]
    assert len(biases) == 5
    assert not any(leaf.any() for leaf in biases)
    token = jnp.array(3)
    np.testing.assert_array_equal(
        rnn.unroll(layer.cells[0], params[0], token[None])[1][0], modules[0](token)
    )
    again, same_params = from_equinox(to_equinox(layer, params))
    assert again == layer
    same(same_params, params)


@pytest.mark.parametrize(
    "layer",
    [
        rnn.LSTM(H, projection=2),
        rnn.GRU(H, reset_after=False),
        rnn.Elman(H),
        rnn.Dense(H, "relu"),
        rnn.Dropout(0.5, per="sequence"),
        rnn.Bidirectional(rnn.LSTM(H)),
    ],
    ids=repr,
)
def test_what_equinox_lacks_is_refused(layer):
    params = jax.eval_shape(lambda: layer.init(KEY, rnn.features(F)))
    with pytest.raises(ValueError, match="Equinox does not have"):
        to_equinox(layer, params)


def test_the_first_array_that_does_not_fit_is_named():
    cell = eqx.nn.GRUCell(F, H, key=KEY)
    wrong = eqx.tree_at(lambda cell: cell.weight_hh, cell, jnp.ones((3 * H, H + 1)))
    words = r"got GRUCell\.weight_hh float32\[12, 5\]; need GRUCell\.weight_hh of shape \(12, 4\)"
    with pytest.raises(ValueError, match=words):
        from_equinox(wrong)
