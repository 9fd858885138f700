"""The gated recurrent unit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.cells.shared import input_spec, output, state_dtype
from jaxrnn.products import matmul
from jaxrnn.recurrence import Dot


class GRUGates(NamedTuple):
    """The gates of one step, each `[..., H]`, activated: reset, update, candidate."""

    r: jax.Array
    z: jax.Array
    n: jax.Array


class GRUInputs(NamedTuple):
    """What the loop needs of the inputs: `h` is added to `h @ w_h` as it stands (`[..., 3H]`, its last block `b_n`; or
    `[..., 2H]` where the reset comes first), `n [..., H]` is the candidate's part."""

    h: jax.Array
    n: jax.Array


class GRU(Cell):
    """The gated recurrent unit, with the reset after or before the candidate's matmul.

        r, z = sigmoid(x @ w_x + h @ w_h + b), each its own block
        n = tanh(x @ w_x + b + r * (h @ w_h + b_n)), the third block: the reset after the matmul
        n = tanh(x @ w_x + b + (r * h) @ w_n): the reset before it
        h' = (1 - z) * n + z * h;  y = h'

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`.
    Params: `w_x [F, 3H]`, `w_h [H, 3H]`, `b [3H]`, `b_n [H]`; with the reset before, `w_x [F, 3H]`, `w_h [H, 2H]`, `w_n [H, H]`,
    `b [3H]`. Blocks are in the order r, z, n.

    Args:
      hidden: H.
      reset_after: after (torch, cuDNN, Flax; one matmul a step), or before (the paper; Haiku).

    Raises:
      TypeError, ValueError: for a size below one.

    Example:
      >>> cell = GRU(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Cho et al. 2014.
    """

    hidden: int
    reset_after: bool = True

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        w_x, w_h = initializers.glorot(kx, size, self.hidden, 3, dtype), initializers.orthogonal(kh, self.hidden, self.hidden, 3, dtype)
        b = jnp.zeros(3 * self.hidden, dtype)
        if self.reset_after:
            return {"w_x": w_x, "w_h": w_h, "b": b, "b_n": jnp.zeros(self.hidden, dtype)}
        return {"w_x": w_x, "w_h": w_h[:, : 2 * self.hidden], "w_n": w_h[:, 2 * self.hidden :], "b": b}

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> GRUInputs:
        z = matmul(xs, params["w_x"])
        z = z + params["b"].astype(z.dtype)
        h, n = z[..., : 2 * self.hidden], z[..., 2 * self.hidden :]
        if self.reset_after:
            # b_n rides along, so that all of h @ w_h is only ever added to an input, whose tangent then carries that of w_h
            h = jnp.concatenate([h, jnp.broadcast_to(params["b_n"].astype(z.dtype), n.shape)], axis=-1)
        return GRUInputs(h, n)

    def gates(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> GRUGates:
        h = z.h + dot(state, "w_h")
        r, u = jnp.split(jax.nn.sigmoid(h[..., : 2 * self.hidden]), 2, axis=-1)
        n = z.n + (r * h[..., 2 * self.hidden :] if self.reset_after else dot(r * state, "w_n"))
        return GRUGates(r, u, jnp.tanh(n))

    def step(self, params: Params, state: jax.Array, z: GRUInputs, dot: Dot) -> jax.Array:
        _, u, n = self.gates(params, state, z, dot)
        return (1 - u) * n + u * state

    def readout(self, params: Params, state: jax.Array, z: GRUInputs) -> jax.Array:
        return output(state, params["w_h"])
