"""Layers without memory."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import activation, input_spec, output
from jaxrnn.autodiff.products import matmul
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Feedforward, Noise, Params
from jaxrnn.layers.noise import PERS, Per, bernoulli, drop


class Dense(Feedforward):
    """An affine map of the features.

        y = activation(x @ w + b)

    Shapes: x `[..., F]`, y `[..., width]`. Params: `w [F, width]`, `b [width]`.

    Args:
      width: the size of the output.
      activation: the name of an elementwise function in `jax.nn`, or a function of your own that
        hashes and keeps shapes, such as `jax.nn.softmax`.
      w_init, b_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for a width below one, an unknown activation, or an initializer that is
        none; while tracing, for an activation whose result has another shape or is not floating.

    Example:
      >>> head = Dense(10, activation="relu")
      >>> params = head.init(jax.random.key(0), features(3))

    Called `nn.Linear` in PyTorch, `nn.Dense` in Flax, `Dense` in Keras.
    """

    width: int
    activation: str | Callable[[jax.Array], jax.Array] = "identity"
    _: KW_ONLY
    w_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "width", self.width)
        errors.check_activation(self, self.activation)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        params = {
            "w": initializers.glorot(key, size, self.width, 1, dtype),
            "b": jnp.zeros(self.width, dtype),
        }
        return initializers.replaced(self, key, params)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        y = matmul(xs, params["w"])
        y = activation(self.activation, self)(y + params["b"].astype(y.dtype))
        return output(y, params["w"])


class Dropout(Feedforward):
    """Features set to zero at random, the rest scaled up.

        y = m * x / (1 - rate),  each entry of m one with probability 1 - rate, else zero

    It drops only with a key; without one it is the identity, which is the expectation.

    Shapes: x and y `[..., F]`. Params: none.

    Args:
      rate: the probability of dropping, in [0, 1).
      per: "step" for a fresh mask at each step, "sequence" for one mask at all steps (variational
        dropout). Rows differ either way.

    Raises:
      TypeError, ValueError: for a rate outside [0, 1) or an unknown `per`.

    Example:
      >>> net = Stack((LSTM(8), Dropout(0.5), Dense(4)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(net, params, jnp.ones((5, 3)), key=jax.random.key(1))

    Called `nn.Dropout` in PyTorch and Flax, `Dropout` in Keras.

    Srivastava et al. 2014; between recurrent layers: Zaremba et al. 2014; one mask per sequence:
    Gal & Ghahramani 2016.
    """

    rate: float
    per: Per = "step"

    def __post_init__(self) -> None:
        errors.check_rate(self, "rate", self.rate)
        errors.check_choice(self, "per", self.per, PERS)

    def init(self, key: jax.Array, x: Any) -> Params:
        input_spec(self, x)
        return {}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        if noise is None:
            return xs
        return drop(xs, bernoulli(noise, 1 - self.rate, xs.shape[1:], self.per), self.rate)
