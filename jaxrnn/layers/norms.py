"""Layers that shift and scale the features of a step."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output
from jaxrnn.autodiff.products import wide
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Feedforward, Noise, Params


class LayerNorm(Feedforward):
    """Each step's features shifted and scaled to mean 0 and variance 1, then by a learned scale and
    bias.

        y = (x - mean(x)) / sqrt(var(x) + eps) * scale + bias

    Shapes: x and y `[..., F]`; the statistics are taken over F, in float32 or wider. Params:
    `scale [F]`, ones, and `bias [F]`, zeros.

    Args:
      eps: a positive number that keeps constant features finite.
      scale_init, bias_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for an eps that is no float, or not positive and finite, or an
        initializer that is none.

    Example:
      >>> net = Stack((LSTM(8), LayerNorm(), Dense(4)))
      >>> params = net.init(jax.random.key(0), features(3))

    Called `nn.LayerNorm` in PyTorch and Flax, `LayerNormalization` in Keras.

    Ba et al. 2016.
    """

    eps: float = 1e-5
    _: KW_ONLY
    scale_init: Initializer | None = None
    bias_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_eps(self, self.eps)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        return initializers.replaced(
            self, key, {"scale": jnp.ones(size, dtype), "bias": jnp.zeros(size, dtype)}
        )

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        xs = _wide(xs, params["scale"])
        xs = xs - xs.mean(-1, keepdims=True)
        y = _scaled(xs, params["scale"], self.eps) + params["bias"].astype(xs.dtype)
        return output(y, params["scale"])


class RMSNorm(Feedforward):
    """Each step's features scaled to root mean square 1, then by a learned scale.

        y = x / sqrt(mean(x^2) + eps) * scale

    Shapes: x and y `[..., F]`; the statistics are taken over F, in float32 or wider. Params:
    `scale [F]`, ones.

    Args:
      eps: a positive number that keeps zero features finite.
      scale_init: an initializer of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for an eps that is no float, or not positive and finite, or an
        initializer that is none.

    Example:
      >>> net = Stack((LSTM(8), RMSNorm(), Dense(4)))
      >>> params = net.init(jax.random.key(0), features(3))

    Called `nn.RMSNorm` in PyTorch and Flax, `RMSNormalization` in Keras.

    Zhang & Sennrich 2019.
    """

    eps: float = 1e-5
    _: KW_ONLY
    scale_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_eps(self, self.eps)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        return initializers.replaced(self, key, {"scale": jnp.ones(size, dtype)})

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return output(
            _scaled(_wide(xs, params["scale"]), params["scale"], self.eps), params["scale"]
        )


def _wide(xs: jax.Array, scale: jax.Array) -> jax.Array:
    return xs.astype(wide(scale.dtype))


def _scaled(xs: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """`x / rms(x) * scale` over the last axis."""
    return xs * jax.lax.rsqrt((xs * xs).mean(-1, keepdims=True) + eps) * scale.astype(xs.dtype)
