"""An embedding that is also the output head."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output
from jaxrnn.autodiff.products import matmul
from jaxrnn.composite import Child, Composite
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Feedforward, Layer, Noise, Params
from jaxrnn.layers.tokens import Embed


class TiedEmbedding(Composite):
    """Tokens in, logits out, with one matrix E for both ends of a body.

        y = body(E[x]) @ E^T,  + b where there is a bias

    Shapes: x `[...]` tokens, y `[..., vocabulary]`. Params and state: the pairs (embedding's,
    body's); E is `params[0]["w"] [vocabulary, width]`. With a bias they are triples, and b is
    `params[2]["b"] [vocabulary]`, zero at first.

    Args:
      vocabulary: how many tokens there are.
      width: the size of an embedding, which the body must give back.
      body: any cell from `width` features to `width` features: `Stack((LSTM(512), Dense(width)))`
        where it has another size inside.
      bias: whether the logits have one.
      w_init, b_init: initializers of `jax.nn.initializers`' protocol, for E as in `Embed` and for
        the bias.

    Raises:
      TypeError: unless `body` is a cell, `bias` a bool, and an initializer one.
      ValueError: for a size below one, or a `b_init` without a bias; while tracing, where the
        body's output is not `width` wide.

    Example:
      >>> net = TiedEmbedding(256, 16, LSTM(16))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> state, logits = unroll(net, params, jnp.zeros((5, 2), jnp.int32))
      >>> logits.shape
      (5, 2, 256)

    In Flax this is one `nn.Embed`, called on the tokens and, as `attend`, on the outputs.

    Press & Wolf 2017.
    """

    vocabulary: int
    width: int
    body: Layer
    bias: bool = False
    _: KW_ONLY
    w_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_child(self, self.body, Layer)
        errors.check_size(self, "vocabulary", self.vocabulary)
        errors.check_size(self, "width", self.width)
        errors.check_flag(self, "bias", self.bias)
        errors.check_initializers(self)
        if self.b_init is not None:
            errors.check_param(self, "b_init", {"w": None} | ({"b": None} if self.bias else {}))

    @property
    def children(self) -> tuple[Layer, ...]:
        pair = Embed(self.vocabulary, self.width, w_init=self.w_init), self.body
        return (*pair, Bias(b_init=self.b_init)) if self.bias else pair

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        y = child(1, child(0, x))
        errors.check_array(self, "its body's output", y)
        if y.shape[-1] != self.width:
            raise errors.tied_width(self, self.body, y)
        embedding = params[0]["w"]
        logits = matmul(y, embedding.T)
        return output(child(2, logits) if self.bias else logits, embedding)


class Bias(Feedforward):
    """A learned number added to each feature, zero at first."""

    _: KW_ONLY
    b_init: Initializer | None = None

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        return initializers.replaced(self, key, {"b": jnp.zeros(size, dtype)})

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return xs + params["b"].astype(xs.dtype)
