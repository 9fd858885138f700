"""Bad calls of `init`, `unroll`, `fold` and `advance`."""

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad

CELL = rnn.LSTM(4)
PARAMS = CELL.init(jax.random.key(0), 3)
XS = jnp.ones((5, 2, 3))

CALLS = [
    Bad("xs as a list", lambda: rnn.unroll(CELL, PARAMS, [[1.0]]), TypeError, ("xs", "list")),
]
