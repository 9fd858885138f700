"""Gated cells with layer normalisation inside."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, sigmoid, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.cells.gru import GRU_KEEPS, GRUGates, GRUInputs
from jaxrnn.cells.lstm import LSTM_KEEPS, LSTMGates, LSTMState
from jaxrnn.initializers import Initializer


def normalise(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """`scale * (x - mean) / sqrt(variance + eps)` over the last axis."""
    x = x - x.mean(axis=-1, keepdims=True)
    return (
        x * jax.lax.rsqrt(jnp.square(x).mean(axis=-1, keepdims=True) + eps) * scale.astype(x.dtype)
    )


class LayerNormLSTM(Cell):
    """Long short-term memory with layer normalisation of the input part, the recurrent part and the
    cell.

        u = N(x @ w_x) * scale_x + N(h @ w_h) * scale_h + b
        i, f, o = sigmoid(u)            each its own block
        g = tanh(u)                     the block between f and o
        c' = f * c + i * g
        h' = o * tanh(N(c') * scale_c + b_c)
        y = h'

    `N(v) = (v - mean(v)) / sqrt(var(v) + eps)`, over all 4H features of the first two at once. The
    inputs are normalised outside the loop.

    Shapes: x `[..., F]`, h, c, y `[..., H]`.
    Params: `w_x [F, 4H]`, `w_h [H, 4H]`, `b [4H]`, `scale_x [4H]`, `scale_h [4H]`, `scale_c [H]`,
    `b_c [H]`; blocks in the order i, f, g, o.

    Args:
      hidden: H.
      forget_bias: the first value of the forget gate's part of `b`.
      eps: a positive number that keeps the division finite.
      w_x_init, w_h_init, b_init, scale_x_init, scale_h_init, scale_c_init, b_c_init: initializers
        of `jax.nn.initializers`' protocol, called for each gate's block by itself.

    Raises:
      TypeError, ValueError: for a size below one, a forget bias that is not finite or stands beside
        `b_init`, an eps that is not positive, or an initializer that is none.

    Example:
      >>> cell = LayerNormLSTM(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Ba, Kiros & Hinton 2016, equations 20 to 22.
    """

    hidden: int
    forget_bias: float = 1.0
    eps: float = 1e-5
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    scale_x_init: Initializer | None = None
    scale_h_init: Initializer | None = None
    scale_c_init: Initializer | None = None
    b_c_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_range(self, "forget_bias", self.forget_bias)
        errors.check_eps(self, self.eps)
        errors.check_initializers(self)
        errors.check_unused(self, "forget_bias", "b_init")

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        params = {
            "w_x": initializers.glorot(kx, size, self.hidden, 4, dtype),
            "w_h": initializers.orthogonal(kh, self.hidden, self.hidden, 4, dtype),
            "b": initializers.gate_bias(self.hidden, (0.0, self.forget_bias, 0.0, 0.0), dtype),
            "scale_x": jnp.ones(4 * self.hidden, dtype),
            "scale_h": jnp.ones(4 * self.hidden, dtype),
            "scale_c": jnp.ones(self.hidden, dtype),
            "b_c": jnp.zeros(self.hidden, dtype),
        }
        blocks = {"w_x": 4, "w_h": 4, "b": LSTM_KEEPS, "scale_x": 4, "scale_h": 4}
        return initializers.replaced(self, key, params, **blocks)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zero = jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))
        return LSTMState(zero, zero)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        z = normalise(matmul(xs, params["w_x"]), params["scale_x"], self.eps)
        return z + params["b"].astype(z.dtype)

    def gates(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMGates:
        i, f, g, o = jnp.split(
            z + normalise(dot(state.h, "w_h"), params["scale_h"], self.eps), 4, axis=-1
        )
        return LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))

    def step(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMState:
        i, f, g, o = self.gates(params, state, z, dot)
        c = f * state.c + i * g
        return LSTMState(
            o * jnp.tanh(normalise(c, params["scale_c"], self.eps) + params["b_c"].astype(c.dtype)),
            c,
        )

    def readout(self, params: Params, state: LSTMState, z: jax.Array) -> jax.Array:
        return output(state.h, params["w_h"])


class LayerNormGRU(Cell):
    """The gated recurrent unit, reset after the matmul, with layer normalisation of the input part
    and the recurrent part.

        r, z = sigmoid(N(x @ w_x) * scale_x + N(h @ w_h) * scale_h + b)
        n = tanh(N(x @ w_x) * scale_x + b + r * (N(h @ w_h) * scale_h + b_n))
        h' = (1 - z) * n + z * h
        y = h'

    The blocks of r and z are normalised together, the third block, n, by itself:
    `N(v) = (v - mean(v)) / sqrt(var(v) + eps)`. The inputs are normalised outside the loop.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`.
    Params: `w_x [F, 3H]`, `w_h [H, 3H]`, `b [3H]`, `b_n [H]`, `scale_x [3H]`, `scale_h [3H]`;
    blocks in the order r, z, n.

    Args:
      hidden: H.
      eps: a positive number that keeps the division finite.
      w_x_init, w_h_init, b_init, b_n_init, scale_x_init, scale_h_init: initializers of
        `jax.nn.initializers`' protocol, called for each gate's block by itself.

    Raises:
      TypeError, ValueError: for a size below one, an eps that is not positive, or an initializer
        that is none.

    Example:
      >>> cell = LayerNormGRU(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Ba, Kiros & Hinton 2016, supplement.
    """

    hidden: int
    eps: float = 1e-5
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    b_n_init: Initializer | None = None
    scale_x_init: Initializer | None = None
    scale_h_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_eps(self, self.eps)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        params = {
            "w_x": initializers.glorot(kx, size, self.hidden, 3, dtype),
            "w_h": initializers.orthogonal(kh, self.hidden, self.hidden, 3, dtype),
            "b": jnp.zeros(3 * self.hidden, dtype),
            "b_n": jnp.zeros(self.hidden, dtype),
            "scale_x": jnp.ones(3 * self.hidden, dtype),
            "scale_h": jnp.ones(3 * self.hidden, dtype),
        }
        blocks = {"w_x": 3, "w_h": 3, "b": GRU_KEEPS, "scale_x": 3, "scale_h": 3}
        return initializers.replaced(self, key, params, **blocks)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def blocks(self, x: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The gates' part `[..., 2H]` and the candidate's `[..., H]`, each normalised."""
        cut = 2 * self.hidden
        return normalise(x[..., :cut], scale[:cut], self.eps), normalise(
            x[..., cut:], scale[cut:], self.eps
        )

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> GRUInputs:
        h, n = self.blocks(matmul(xs, params["w_x"]), params["scale_x"])
        b = params["b"].astype(h.dtype)
        return GRUInputs(h + b[: 2 * self.hidden], n + b[2 * self.hidden :])

    def gates(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> GRUGates:
        h, n = self.blocks(dot(state, "w_h"), params["scale_h"])
        r, u = jnp.split(sigmoid(z.h + h), 2, axis=-1)
        return GRUGates(r, u, jnp.tanh(z.n + r * (n + params["b_n"].astype(n.dtype))))

    def step(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> jax.Array:
        _, u, n = self.gates(params, state, z, dot)
        return (1 - u) * n + u * state

    def readout(self, params: Params, state: jax.Array, z: GRUInputs) -> jax.Array:
        return output(state, params["w_h"])
