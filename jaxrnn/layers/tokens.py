"""Layers that make vectors of tokens."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Feedforward, Noise, Params


class Tokens(Feedforward):
    """A layer whose inputs are integer tokens `[...]`."""

    @property
    def takes_tokens(self) -> bool:
        return True

    @property
    def feature_ndim(self) -> int:
        return 0


class Embed(Tokens):
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

    def init(self, key: jax.Array, x: Any) -> Params:
        errors.check_input(self, x)
        w = initializers.normal(key, (self.vocabulary, self.width))
        return initializers.replaced(self, key, {"w": w * self.width**-0.5})

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return params["w"].at[xs].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


class OneHot(Tokens):
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

    def init(self, key: jax.Array, x: Any) -> Params:
        errors.check_input(self, x)
        return {}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        known = (xs >= 0) & (xs < self.vocabulary)
        hot = jax.nn.one_hot(xs, self.vocabulary, dtype=jnp.float32)
        return jnp.where(known[..., None], hot, jnp.nan)
