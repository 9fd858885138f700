"""Gated cells without a recurrent weight: minGRU and minLSTM."""

from __future__ import annotations

import abc
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import LinearCell, Noise, Params
from jaxrnn.initializers import Initializer


class Minimal(LinearCell):
    """Cells whose gates and candidate depend on the input alone; an author says which there are and
    what they mean.
    """

    hidden: int
    _: KW_ONLY
    w_x_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_initializers(self)

    @property
    @abc.abstractmethod
    def keeps(self) -> tuple[int, ...]:
        """What `Chrono` makes of each bias, those of the gates and of the candidate."""

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        parts = len(self.keeps)
        params = {
            "w_x": initializers.glorot(key, size, self.hidden, parts, dtype),
            "b": jnp.zeros(parts * self.hidden, dtype),
        }
        return initializers.replaced(self, key, params, w_x=parts, b=self.keeps)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_x"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        z = matmul(xs, params["w_x"])
        return z + params["b"].astype(z.dtype)

    def readout(self, params: Params, state: jax.Array, z: jax.Array) -> jax.Array:
        return output(state, params["w_x"])


class MinGRU(Minimal):
    """The minimal gated recurrent unit: a GRU whose gate and candidate do not see the state.

        z = sigmoid(x @ w_x + b)
        n = x @ w_x + b                 the second block
        h' = (1 - z) * h + z * n
        y = h'

    Here z is the share of the new candidate, as in the paper; in `GRU` it is the share of the old
    state. All gates are sigmoids, so the recurrence is stable without logarithms.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`. Params: `w_x [F, 2H]`, `b [2H]`, blocks in the
    order z, n.

    Args:
      hidden: H.
      w_x_init, b_init: initializers of `jax.nn.initializers`' protocol, called for each block by
        itself.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none.

    Example:
      >>> cell = MinGRU(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 8)

    Feng et al. 2024.
    """

    @property
    def keeps(self) -> tuple[int, ...]:
        return -1, 0  # z is the share of what is new

    def coefficients(self, params: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        gate, n = jnp.split(z, 2, axis=-1)
        return jax.nn.sigmoid(-gate), jax.nn.sigmoid(gate) * n


class MinLSTM(Minimal):
    """The minimal long short-term memory: gates that do not see the state and sum to one.

        i, f = sigmoid(x @ w_x + b)     each its own block
        n = x @ w_x + b                 the third block
        h' = f / (f + i) * h + i / (f + i) * n
        y = h'

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`. Params: `w_x [F, 3H]`, `b [3H]`, blocks in the
    order i, f, n.

    Args:
      hidden: H.
      w_x_init, b_init: initializers of `jax.nn.initializers`' protocol, called for each block by
        itself.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none.

    Example:
      >>> cell = MinLSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 8)

    Feng et al. 2024.
    """

    @property
    def keeps(self) -> tuple[int, ...]:
        return -1, 1, 0  # i = 1 - f, so f / (f + i) = f

    def coefficients(self, params: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        i, f, n = jnp.split(z, 3, axis=-1)
        # f / (f + i) = sigmoid(log f - log i), which no small gate makes 0 / 0
        share = jax.nn.softplus(-i) - jax.nn.softplus(-f)
        return jax.nn.sigmoid(share), jax.nn.sigmoid(-share) * n
