"""LSTMs from and to the one vector of weights of `jax.experimental.rnn`, which is cuDNN's.

For layers l = 0, 1, ..., of each the forward direction and then the backward one:

    (w_ih, w_hh) of every one of them, then (b_ih, b_hh) of every one

Each block is `[4H, ...]`, its rows in the order of gates i, f, g, o, which is ours too.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from jaxrnn import LSTM, Layer, errors
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
from jaxrnn.interop.two_biases import with_biases
from jaxrnn.interop.weights import joined, parted, parts_of, second_bias


def from_packed(
    weights: jax.Array,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    *,
    biases: Literal["sum", "both"] = "sum",
) -> tuple[Layer, Any]:
    """The layer and params that compute what `jax.experimental.rnn.lstm` computes.

    Several layers become a `Stack`, both directions a `Bidirectional`. Time is axis 0 here, and the
    batch there. `seq_lengths` is `mask=lengths_to_mask(lengths, T)`, `h_0` and `c_0` are `state`.

    Shapes: weights `[N]` with the N that `get_num_params_in_lstm` says.

    Args:
      weights: the vector that `init_lstm_weight` draws.
      input_size: F, as `lstm` is given it.
      hidden_size: H.
      num_layers: how many layers there are.
      bidirectional: whether each has both directions.
      biases: `"sum"` adds the two biases of a layer; `"both"` keeps them in a `TwoBiases`, so that
        the way back is bit for bit and training follows `lstm`'s step by step.

    Returns:
      `(layer, params)`.

    Raises:
      TypeError: for weights that are no floating array, or sizes that are no integers.
      ValueError: for a vector of another length, a size below one, or other `biases`.

    Example:
      >>> from jax.experimental.rnn import init_lstm_weight
      >>> weights = init_lstm_weight(jax.random.key(0), 3, 8, 2, True)
      >>> layer, params = from_packed(weights, 3, 8, 2, True)
      >>> unroll(layer, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 16)
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("from_packed", biases)
    errors.check_size("from_packed", "input_size", input_size)
    errors.check_size("from_packed", "hidden_size", hidden_size)
    errors.check_size("from_packed", "num_layers", num_layers)
    errors.check_flag("from_packed", "bidirectional", bidirectional)
    sizes = input_size, hidden_size, num_layers, bidirectional
    errors.check_weight("from_packed", "weights", weights, (rnn.get_num_params_in_lstm(*sizes),))
    names = "w_x", "w_h", "b", "b_h"
    unpacked = dict(zip(names, rnn.unpack_lstm_weights(jnp.asarray(weights), *sizes), strict=True))
    parts = [{name: unpacked[name][k].T for name in names} for k in unpacked["w_x"]]
    return joined([with_biases(LSTM(hidden_size), p, biases) for p in parts], bidirectional)


def to_packed(layer: Layer, params: Any) -> jax.Array:
    """The vector of weights with which `jax.experimental.rnn.lstm` computes what a layer computes:
    the inverse of `from_packed`.

    Args:
      layer: an `LSTM` without projection, also in a `TwoBiases`; a `Bidirectional` of one, merged
        by concat; or a `Stack` of equal ones.
      params: the layer's params.

    Returns:
      The weights `[N]`. Biases are in `b_ih`, the second ones of `TwoBiases` in `b_hh`.

    Raises:
      TypeError: for params that are no arrays.
      ValueError: for another layer, or params of another one.

    Example:
      >>> to_packed(LSTM(8), LSTM(8).init(jax.random.key(0), features(3))).shape
      (416,)
    """
    cell, _, _, dropout = parted(layer) or (None, 0, False, 0.0)
    if not isinstance(cell, LSTM) or cell.projection or dropout:
        raise errors.not_convertible(
            layer,
            "a layer that jax.experimental.rnn does not have",
            "equal layers of LSTM without projection, alone or Bidirectional with concat",
            "Convert its layers one by one; dropout is an argument of lstm there.",
        )
    check_converted(layer, params)
    parts = parts_of(layer, params)
    matrices = [p[name].T for p in parts for name in ("w_x", "w_h")]
    biases = [b for p in parts for b in (p["b"], second_bias(p))]
    return jnp.concatenate([a.ravel() for a in (*matrices, *biases)])
