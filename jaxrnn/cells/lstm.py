"""Long short-term memory, and its variants."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, sigmoid, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class LSTMState(NamedTuple):
    """The output `h [..., P or H]` and the cell `c [..., H]`."""

    h: jax.Array
    c: jax.Array


jax.export.register_namedtuple_serialization(LSTMState, serialized_name="jaxrnn.LSTMState")


class LSTMGates(NamedTuple):
    """The gates of one step, each `[..., H]`, activated: input, forget, candidate, output."""

    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array


# What `Chrono` makes of the biases of i, f, g and o: c' = f c + i g is kept by f and written by i.
LSTM_KEEPS = (-1, 1, 0, 0)


class LSTM(Cell):
    """Long short-term memory with input, forget and output gates.

        i, f, o = sigmoid(x @ w_x + h @ w_h + b)       each its own block
        g = tanh(x @ w_x + h @ w_h + b)                the block between f and o
        c' = f * c + i * g
        h' = o * tanh(c')                              or (o * tanh(c')) @ w_p with a projection
        y = h'

    Shapes: x `[..., F]`, h `[..., P]`, c `[..., H]`, y `[..., P]`, where P = projection, or H
    without one. Params: `w_x [F, 4H]`, `w_h [P, 4H]`, `b [4H]`, and `w_p [H, P]` with a projection;
    blocks in the order i, f, g, o.

    Args:
      hidden: H.
      projection: P, the size of a projected output, or None.
      forget_bias: the first value of the forget gate's part of `b`.
      w_x_init, w_h_init, b_init, w_p_init: initializers of `jax.nn.initializers`' protocol, called
        for each gate's block by itself.

    Raises:
      TypeError, ValueError: for a size below one, a forget bias that is not finite or stands beside
        `b_init`, or an initializer that is none; in `init`, for `w_p_init` without a projection.

    Example:
      >>> cell = LSTM(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Called `nn.LSTM` in PyTorch, `OptimizedLSTMCell` in Flax, `LSTM` in Keras. The projection is
    PyTorch's `proj_size`.

    Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000; projection: Sak et al. 2014; bias:
    Jozefowicz et al. 2015.
    """

    hidden: int
    projection: int | None = None
    forget_bias: float = 1.0
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    w_p_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        if self.projection is not None:
            errors.check_size(self, "projection", self.projection)
        errors.check_range(self, "forget_bias", self.forget_bias)
        errors.check_initializers(self)
        errors.check_unused(self, "forget_bias", "b_init")

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh, kp = initializers.split(key, 3)
        out = self.projection or self.hidden
        params = {
            "w_x": initializers.glorot(kx, size, self.hidden, 4, dtype),
            "w_h": initializers.orthogonal(kh, out, self.hidden, 4, dtype),
            "b": initializers.gate_bias(self.hidden, (0.0, self.forget_bias, 0.0, 0.0), dtype),
        }
        if self.projection:
            params["w_p"] = initializers.glorot(kp, self.hidden, self.projection, 1, dtype)
        return initializers.replaced(self, key, params, w_x=4, w_h=4, b=LSTM_KEEPS)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> LSTMState:
        dtype = state_dtype(params["w_h"])
        return LSTMState(
            jnp.zeros((*batch_shape, params["w_h"].shape[0]), dtype),
            jnp.zeros((*batch_shape, self.hidden), dtype),
        )

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return matmul(xs, params["w_x"])

    def gates(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMGates:
        i, f, g, o = jnp.split(dot.add(z, "b") + dot(state.h, "w_h"), 4, axis=-1)
        return LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))

    def step(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMState:
        i, f, g, o = self.gates(params, state, z, dot)
        c = f * state.c + i * g
        h = o * jnp.tanh(c)
        return LSTMState(dot(h, "w_p") if self.projection else h, c)

    def readout(self, params: Params, state: LSTMState, z: jax.Array) -> jax.Array:
        return output(state.h, params["w_h"])
