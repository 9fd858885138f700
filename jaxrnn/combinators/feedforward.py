"""Layers without memory."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.cell import Feedforward, Noise, Params
from jaxrnn.cells.shared import input_spec, output
from jaxrnn.recurrence import matmul


class Dense(Feedforward):
    """An affine map of the features: `y = activation(x @ w + b)`.

    Params: `w [F, width]`, `b [width]`.
    """

    width: int
    activation: str = "identity"

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        return {"w": initializers.glorot(key, size, self.width, 1, dtype), "b": jnp.zeros(self.width, dtype)}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        y = matmul(xs, params["w"])
        y = getattr(jax.nn, self.activation)(y + params["b"].astype(y.dtype))
        return output(y, params["w"])


class Embed(Feedforward):
    """A learned vector for each token: `y = w[x]`.

    Params: `w [vocabulary, width]`.
    """

    takes_tokens = True
    vocabulary: int
    width: int

    @property
    def feature_ndim(self) -> int:
        return 0

    def init(self, key: jax.Array, x: Any) -> Params:
        return {"w": jax.random.normal(key, (self.vocabulary, self.width)) * self.width**-0.5}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return params["w"][xs]
