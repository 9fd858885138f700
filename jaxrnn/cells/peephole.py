"""Long short-term memory whose gates see the cell."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, sigmoid, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.cells.lstm import LSTM_KEEPS, LSTMGates, LSTMState
from jaxrnn.initializers import Initializer


class PeepholeLSTM(Cell):
    """Long short-term memory whose gates see the cell through diagonal weights.

        z = x @ w_x + h @ w_h + b       blocks z_i, z_f, z_g, z_o
        i = sigmoid(z_i + p_i * c)
        f = sigmoid(z_f + p_f * c)
        g = tanh(z_g)
        c' = f * c + i * g
        o = sigmoid(z_o + p_o * c')
        h' = o * tanh(c')
        y = h'

    Shapes: x `[..., F]`, h, c, y `[..., H]`.
    Params: `w_x [F, 4H]`, `w_h [H, 4H]`, `b [4H]`, blocks in the order i, f, g, o; `p [3H]` in the
    order i, f, o.

    Args:
      hidden: H.
      forget_bias: the first value of the forget gate's part of `b`.
      w_x_init, w_h_init, b_init, p_init: initializers of `jax.nn.initializers`' protocol, called
        for each gate's block by itself.

    Raises:
      TypeError, ValueError: for a size below one, a forget bias that is not finite or stands beside
        `b_init`, or an initializer that is none.

    Example:
      >>> cell = PeepholeLSTM(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Gers & Schmidhuber 2000.
    """

    hidden: int
    forget_bias: float = 1.0
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    p_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_range(self, "forget_bias", self.forget_bias)
        errors.check_initializers(self)
        errors.check_unused(self, "forget_bias", "b_init")

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh, kp = jax.random.split(key, 3)
        params = {
            "w_x": initializers.glorot(kx, size, self.hidden, 4, dtype),
            "w_h": initializers.orthogonal(kh, self.hidden, self.hidden, 4, dtype),
            "b": initializers.gate_bias(self.hidden, (0.0, self.forget_bias, 0.0, 0.0), dtype),
            "p": jax.random.uniform(kp, (3 * self.hidden,), dtype, -0.1, 0.1),
        }
        return initializers.replaced(self, key, params, w_x=4, w_h=4, b=LSTM_KEEPS, p=3)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zero = jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))
        return LSTMState(zero, zero)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return matmul(xs, params["w_x"])

    def gates(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMGates:
        i, f, g, o = jnp.split(dot.add(z, "b") + dot(state.h, "w_h"), 4, axis=-1)
        p_i, p_f, p_o = jnp.split(params["p"].astype(state.c.dtype), 3)
        i, f, g = sigmoid(i + p_i * state.c), sigmoid(f + p_f * state.c), jnp.tanh(g)
        return LSTMGates(i, f, g, sigmoid(o + p_o * (f * state.c + i * g)))

    def step(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMState:
        i, f, g, o = self.gates(params, state, z, dot)
        c = f * state.c + i * g
        return LSTMState(o * jnp.tanh(c), c)

    def readout(self, params: Params, state: LSTMState, z: jax.Array) -> jax.Array:
        return output(state.h, params["w_h"])
