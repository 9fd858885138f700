"""The gated recurrent unit."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, sigmoid, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class GRUGates(NamedTuple):
    """The gates of one step, each `[..., H]`, activated: reset, update, candidate."""

    r: jax.Array
    z: jax.Array
    n: jax.Array


class GRUInputs(NamedTuple):
    """`x @ w_x` without its bias: the part of reset and update, `[..., 2H]`, and the candidate's,
    `[..., H]`.
    """

    h: jax.Array
    n: jax.Array


# What `Chrono` makes of the biases of r, z and n. Here h' = (1 - z) n + z h: z is the share of the
# old state, so it keeps as an LSTM's f does, and what writes is 1 - z itself. Where z is the share
# of the new state, as in `MinGRU`, its bias has the other sign.
GRU_KEEPS = (0, 1, 0)


class GRU(Cell):
    """The gated recurrent unit, with the reset after or before the candidate's matmul.

        r, z = sigmoid(x @ w_x + h @ w_h + b)          each its own block
        n = tanh(x @ w_x + b + r * (h @ w_h + b_n))    the third block, reset after the matmul
        n = tanh(x @ w_x + b + (r * h) @ w_n)          or, with the reset before it
        h' = (1 - z) * n + z * h
        y = h'

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`.
    Params: `w_x [F, 3H]`, `w_h [H, 3H]`, `b [3H]`, `b_n [H]`; with the reset before, `w_x [F, 3H]`,
    `w_h [H, 2H]`, `w_n [H, H]`, `b [3H]`. Blocks are in the order r, z, n.

    Args:
      hidden: H.
      reset_after: true for the reset after the matmul (PyTorch, cuDNN, Flax; one matmul a step),
        false for the reset before it (the paper; Haiku).
      w_x_init, w_h_init, b_init, b_n_init, w_n_init: initializers of `jax.nn.initializers`'
        protocol, called for each gate's block by itself.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none; in `init`, for
        that of a param which the other form has.

    Example:
      >>> cell = GRU(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Called `nn.GRU` in PyTorch, `GRUCell` in Flax, `GRU(reset_after=True)` in Keras; with the reset
    before, `GRU(reset_after=False)` in Keras.

    Cho et al. 2014.
    """

    hidden: int
    reset_after: bool = True
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    b_n_init: Initializer | None = None
    w_n_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_flag(self, "reset_after", self.reset_after)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = initializers.split(key, 2)
        w_x, w_h = (
            initializers.glorot(kx, size, self.hidden, 3, dtype),
            initializers.orthogonal(kh, self.hidden, self.hidden, 3, dtype),
        )
        b = jnp.zeros(3 * self.hidden, dtype)
        if self.reset_after:
            params = {"w_x": w_x, "w_h": w_h, "b": b, "b_n": jnp.zeros(self.hidden, dtype)}
            return initializers.replaced(self, key, params, w_x=3, w_h=3, b=GRU_KEEPS)
        params = {
            "w_x": w_x,
            "w_h": w_h[:, : 2 * self.hidden],
            "w_n": w_h[:, 2 * self.hidden :],
            "b": b,
        }
        return initializers.replaced(self, key, params, w_x=3, w_h=2, b=GRU_KEEPS)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> GRUInputs:
        w, cut = params["w_x"], 2 * self.hidden
        if isinstance(xs.size, int) and xs.size < w.size:  # cutting copies: cut the smaller
            z = matmul(xs, w)
            return GRUInputs(z[..., :cut], z[..., cut:])
        return GRUInputs(matmul(xs, w[:, :cut]), matmul(xs, w[:, cut:]))

    def gates(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> GRUGates:
        x, n = dot.add(z.h, "b"), dot.add(z.n, "b", 2 * self.hidden)
        if self.reset_after:
            h, c = dot(state, "w_h", 2 * self.hidden)
            r, u = map(sigmoid, jnp.split(x + h, 2, axis=-1))
            return GRUGates(r, u, jnp.tanh(n + r * dot.add(c, "b_n")))
        r, u = map(sigmoid, jnp.split(x + dot(state, "w_h"), 2, axis=-1))
        return GRUGates(r, u, jnp.tanh(n + dot(r * state, "w_n")))

    def step(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> jax.Array:
        _, u, n = self.gates(params, state, z, dot)
        return (1 - u) * n + u * state

    def readout(self, params: Params, state: jax.Array, z: GRUInputs) -> jax.Array:
        return output(state, params["w_h"])
