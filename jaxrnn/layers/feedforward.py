"""Layers without memory."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import activation, input_spec, output
from jaxrnn.autodiff.products import matmul, wide
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


class Embed(Feedforward):
    """A learned vector for each token.

        y = w[x]

    A token outside `0 .. vocabulary-1`, negative ones included, gives NaN instead of another
    token's vector; under a false mask, where padding lies, any token will do.

    Shapes: x `[...]` integers, y `[..., width]`. Params: `w [vocabulary, width]`, each entry normal
    with variance 1 / width.

    Args:
      vocabulary: how many tokens there are.
      width: the size of a vector.
      w_init: an initializer of `jax.nn.initializers`' protocol. Its fan-in would be the vocabulary:
        `variance_scaling(1.0, "fan_out", "normal")` is the default's variance.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none; while tracing,
        for inputs that are not integers.

    Example:
      >>> net = Stack((Embed(256, 16), LSTM(32), Dense(256)))
      >>> params = net.init(jax.random.key(0), TOKEN)

    Called `nn.Embedding` in PyTorch, `nn.Embed` in Flax, `Embedding` in Keras.
    """

    vocabulary: int
    width: int
    _: KW_ONLY
    w_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "vocabulary", self.vocabulary)
        errors.check_size(self, "width", self.width)
        errors.check_initializers(self)

    @property
    def takes_tokens(self) -> bool:
        return True

    @property
    def feature_ndim(self) -> int:
        return 0

    def init(self, key: jax.Array, x: Any) -> Params:
        errors.check_input(self, x)
        w = initializers.normal(key, (self.vocabulary, self.width))
        return initializers.replaced(self, key, {"w": w * self.width**-0.5})

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return params["w"].at[xs].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


class OneHot(Feedforward):
    """A token as a vector of zeros with a one in its place.

        y[i] = 1 if i == x else 0

    A token outside `0 .. vocabulary-1` gives NaN, as in `Embed`; under a false mask any will do.

    Shapes: x `[...]` integers, y `[..., vocabulary]` in float32. Params: none.

    Args:
      vocabulary: how many tokens there are.

    Raises:
      TypeError, ValueError: for a size below one; while tracing, for inputs that are not integers.

    Example:
      >>> net = Stack((OneHot(4), LSTM(8)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> unroll(OneHot(4), {}, jnp.array([2, 0]))[1].tolist()
      [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]

    Called `F.one_hot` in PyTorch, `jax.nn.one_hot` beside Flax, `CategoryEncoding` in Keras.
    """

    vocabulary: int

    def __post_init__(self) -> None:
        errors.check_size(self, "vocabulary", self.vocabulary)

    @property
    def takes_tokens(self) -> bool:
        return True

    @property
    def feature_ndim(self) -> int:
        return 0

    def init(self, key: jax.Array, x: Any) -> Params:
        errors.check_input(self, x)
        return {}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        known = (xs >= 0) & (xs < self.vocabulary)
        hot = jax.nn.one_hot(xs, self.vocabulary, dtype=jnp.float32)
        return jnp.where(known[..., None], hot, jnp.nan)


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
