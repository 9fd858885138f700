"""The independently recurrent network."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import activation, input_spec, output, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class IndRNN(Cell):
    """The independently recurrent network: a unit sees its own past and no other's.

        h' = activation(x @ w_x + w_h * h + b)
        y = h'

    Its Jacobian is diagonal, so `Newton` solves it by the scan of a diagonal linear cell. Stack it,
    with `Dense` between, to mix units. After T steps a relu unit has its state times `w_h ** T`: in
    the paper `abs(w_h)` is kept below `2 ** (1 / T)`, by clipping it after each update.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`. Params: `w_x [F, H]`, `w_h [H]`, `b [H]`.
    `w_h` begins uniform between 0 and 1.

    Args:
      hidden: H.
      activation: the name of an elementwise function in `jax.nn`.
      w_x_init, w_h_init, b_init: initializers of `jax.nn.initializers`' protocol; that of `w_h`
        draws a vector `[H]`.

    Raises:
      TypeError, ValueError: for a size below one, an activation that has no such name, or an
        initializer that is none.

    Example:
      >>> cell = IndRNN(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Li, Li, Cook, Zhu & Gao 2018.
    """

    hidden: int
    activation: str = "relu"
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        # A function of the caller's might mix units.
        errors.check_choice(self, "activation", self.activation, errors.ACTIVATIONS)
        errors.check_initializers(self)

    @property
    def elementwise(self) -> bool:
        return True

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        params = {
            "w_x": initializers.glorot(kx, size, self.hidden, 1, dtype),
            "w_h": jax.random.uniform(kh, (self.hidden,), dtype),
            "b": jnp.zeros(self.hidden, dtype),
        }
        return initializers.replaced(self, key, params)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        z = matmul(xs, params["w_x"])
        return z + params["b"].astype(z.dtype)

    def step(self, params: Params, state: jax.Array, z: jax.Array, dot: Dot) -> jax.Array:
        return activation(self.activation, self)(z + params["w_h"].astype(state.dtype) * state)

    def readout(self, params: Params, state: jax.Array, z: jax.Array) -> jax.Array:
        return output(state, params["w_h"])
