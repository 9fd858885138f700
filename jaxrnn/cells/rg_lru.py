"""The real-gated linear recurrent unit of Griffin."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import LinearCell, Noise, Params
from jaxrnn.initializers import Initializer

SHARPNESS = 8.0  # the paper's c
LEAST = 1e-7  # below it the root of 1 - a^2 has no gradient to speak of


class GatedInputs(NamedTuple):
    """The gates' inputs `[..., 2F]` and the input itself `[..., F]`."""

    gates: jax.Array
    x: jax.Array


class RGLRU(LinearCell):
    """The real-gated linear recurrent unit: a decay for each feature, which inputs can slow down.

        r, i = sigmoid(x @ w_x + b)     each its own block
        a = sigmoid(decay) ** (8 r)
        h' = a h + sqrt(1 - a^2) (i x)
        y = h'

    It has no size of its own: the state is as wide as the input. `sigmoid(decay) ** 8` begins
    uniform between 0.9 and 0.999. The gates' weights are dense (the paper's are block-diagonal).

    Shapes: x, h and y `[..., F]`. Params: `w_x [F, 2F]`, `b [2F]` (blocks r, i), `decay [F]`.

    Args:
      w_x_init, b_init: initializers of `jax.nn.initializers`' protocol, called for each block by
        itself. The decays keep their own draw.

    Raises:
      TypeError, ValueError: for an initializer that is none.

    Example:
      >>> cell = RGLRU()
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 3)

    De et al. 2024.
    """

    _: KW_ONLY
    w_x_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kd = jax.random.split(key)
        log = jnp.log(jax.random.uniform(kd, (size,), dtype, 0.9, 0.999)) / SHARPNESS
        w_x = initializers.glorot(kx, size, size, 2, dtype)
        params = {
            "w_x": w_x,
            "b": jnp.zeros(2 * size, dtype),
            "decay": log - jnp.log(-jnp.expm1(log)),
        }
        return initializers.replaced(self, key, params, w_x=2, b=2)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, *params["decay"].shape), state_dtype(params["w_x"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> GatedInputs:
        z = matmul(xs, params["w_x"])
        return GatedInputs(z + params["b"].astype(z.dtype), xs.astype(z.dtype))

    def coefficients(self, params: Params, z: GatedInputs) -> tuple[jax.Array, jax.Array]:
        r, i = jnp.split(jax.nn.sigmoid(z.gates), 2, axis=-1)
        log_a = -SHARPNESS * r * jax.nn.softplus(-params["decay"].astype(r.dtype))
        return jnp.exp(log_a), jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), LEAST)) * i * z.x

    def readout(self, params: Params, state: jax.Array, z: GatedInputs) -> jax.Array:
        return output(state, params["w_x"])
