"""The reference that JAX has for cuDNN's LSTM against the layers that `interop.cudnn` makes of its
packed weights: outputs, last states and every gradient, to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.rnn import get_num_params_in_lstm, lstm_ref, unpack_lstm_weights

import jaxrnn as rnn
from helpers.equal import same
from helpers.parity import compare, fill
from helpers.tables import first
from jaxrnn.interop.cudnn import from_packed, to_packed

T, B, F, H = 5, 2, 3, 4
LENGTHS = jnp.array([T, 2], jnp.int32)


def packed(layers, both):
    sizes = F, H, layers, both
    return sizes, fill(np.empty(get_num_params_in_lstm(*sizes)))


@pytest.mark.parametrize(("layers", "both"), first(1, [(2, True), (1, False), (2, False)]))
def test_outputs_and_gradients(layers, both):
    sizes, weights = packed(layers, both)
    net, params = from_packed(weights, *sizes, biases="both")

    def carry(state):  # h, c of every direction of every layer
        leaves = jax.tree.leaves(state)
        return jnp.stack(leaves[::2]), jnp.stack(leaves[1::2])

    def run(weights, state, xs):
        parts = unpack_lstm_weights(weights, *sizes)
        ys, h, c = lstm_ref(
            jnp.swapaxes(xs, 0, 1), *state, *parts, LENGTHS, F, H, layers, 0.0, both
        )
        return (h, c), jnp.swapaxes(ys, 0, 1)

    ours_of = lambda grads: from_packed(grads, *sizes, biases="both")[1]  # noqa: E731
    mask = rnn.lengths_to_mask(LENGTHS, T)
    xs = fill(np.empty((T, B, F)), 2)
    compare(net, params, weights, run, ours_of, carry, xs, mask=mask)


def test_there_and_back():
    for sizes, weights in (packed(2, True), packed(3, False), packed(1, True)):
        net, params = from_packed(weights, *sizes, biases="both")
        same(to_packed(net, params), weights)
        plain, summed = from_packed(weights, *sizes)
        again, same_params = from_packed(to_packed(plain, summed), *sizes)
        assert again == plain
        same(same_params, summed)


@pytest.mark.parametrize(
    "layer",
    [
        rnn.LSTM(H, projection=2),
        rnn.GRU(H),
        rnn.Stack((rnn.LSTM(H), rnn.LSTM(2))),
        rnn.Stack((rnn.LSTM(H), rnn.Dropout(0.5), rnn.LSTM(H))),
        rnn.Bidirectional(rnn.LSTM(H), merge="sum"),
    ],
    ids=repr,
)
def test_what_it_lacks_is_refused(layer):
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), rnn.features(F)))
    with pytest.raises(ValueError, match="rnn does not have"):
        to_packed(layer, params)


def test_a_vector_of_another_length_is_refused():
    sizes, weights = packed(2, True)
    words = rf"got weights float32\[{weights.size - 1}\]; need weights of shape \({weights.size}\)"
    with pytest.raises(ValueError, match=words):
        from_packed(weights[1:], *sizes)
