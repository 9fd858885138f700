"""Attention over a memory, after a recurrent cell."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output
from jaxrnn.autodiff.products import matmul
from jaxrnn.combinators.attention_memory import (
    Bound,
    Score,
    bound,
    check,
    context,
    found,
    weigh,
    weights_of,
)
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Feedforward, Noise, Params


class AttentionGates(NamedTuple):
    """Where a layer looked: `[..., S]`."""

    attention: jax.Array


class Attention(Feedforward):
    """A layer that looks at a memory: it sits after a recurrent cell, whose output is the query
    (global attention).

        a = softmax over s of score(x, memory_s);  context = sum_s a_s memory_s
        y = tanh([context; x] @ w_c + b)
        score = x . (memory_s @ w_k), multiplicative
        score = v . tanh(x @ w_q + memory_s @ w_k), additive

    Bind the memory first, for the whole network: `params = net.bind(params, memory, mask)`, with a
    memory `[S, *batch, M]` and a mask `[S, *batch]`, true where the memory is valid. A row whose
    mask is all false has a context of zero. Queries may have axes after the memory's batch, such as
    beams, which share it; a memory without batch axes is shared by all rows. There is no loop: all
    T steps are a few batched matmuls.

    Shapes: x `[..., F]`, memory `[S, *batch, M]`, y `[..., hidden]`. Params: `w_k [M, F]`, or,
    additive, `w_k [M, size]`, `w_q [F, size]` and `v [size]`; `w_c [M + F, hidden]`, `b [hidden]`;
    and `bound`, once bound. Gates: `attention [..., S]`.

    Args:
      hidden: the size of the output.
      memory: M, the width of the memory; twice an encoder's width after `Bidirectional`.
      score: "multiplicative" (the paper's "general") or "additive".
      size: the width at which queries and keys are added; `hidden` by default, and of no use to the
        multiplicative score.
      w_k_init, w_q_init, v_init, w_c_init, b_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for a size below one, an unknown score, or an initializer that is none;
        in `init`, for `w_q_init` or `v_init` of the multiplicative score; while tracing, where
        nothing is bound, or for a memory of another batch.

    Example:
      >>> net = Stack((LSTM(8), Attention(8, memory=6)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> params = net.bind(params, jnp.ones((7, 2, 6)))
      >>> state, ys = unroll(net, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

    The nearest layers in Keras are `Attention` and `AdditiveAttention`, which give the context
    without the weights around it.

    Luong, Pham & Manning 2015; the additive score: Bahdanau, Cho & Bengio 2015.
    """

    hidden: int
    memory: int
    score: Score = "multiplicative"
    size: int | None = None
    _: KW_ONLY
    w_k_init: Initializer | None = None
    w_q_init: Initializer | None = None
    v_init: Initializer | None = None
    w_c_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        check(self)

    @property
    def takes_memory(self) -> bool:
        return True

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        ks, kc = jax.random.split(key)
        params = weights_of(self, ks, size, self.size or self.hidden, dtype)
        w_c = initializers.glorot(kc, self.memory + size, self.hidden, 1, dtype)
        params = {**params, "w_c": w_c, "b": jnp.zeros(self.hidden, dtype)}
        return initializers.replaced(self, key, params)

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return bound(self, params, memory, mask)

    def weights(self, params: Params, xs: jax.Array) -> jax.Array:
        """The attention `a [T, ..., S]` for bound params and queries `[T, ..., F]`, the outputs of
        the layer below: the rows of a heat map.

        Example:
          >>> layer = Attention(8, memory=6)
          >>> params = layer.bind(layer.init(jax.random.key(0), features(3)), jnp.ones((7, 6)))
          >>> layer.weights(params, jnp.ones((5, 3))).shape
          (5, 7)
        """
        if "bound" not in params:
            raise errors.not_bound(self)
        return self._weights(params, xs, found(self, params, xs.shape[1:-1]))

    def _weights(self, params: Params, xs: jax.Array, memory: Bound) -> jax.Array:
        query = matmul(xs, params["w_q"]) if self.score == "additive" else xs
        return weigh(self, params, memory, query, 1)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        memory = found(self, params, xs.shape[1:-1])
        mean = context(memory, self._weights(params, xs, memory), 1)
        y = matmul(jnp.concatenate([mean.astype(xs.dtype), xs], -1), params["w_c"])
        return output(jnp.tanh(y + params["b"].astype(y.dtype)), params["w_c"])

    def gates(self, params: Params, xs: jax.Array) -> AttentionGates:
        return AttentionGates(self.weights(params, xs))
