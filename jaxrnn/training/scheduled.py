"""Scheduled sampling: a decoder that learns on its own mistakes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.advance import advance
from jaxrnn.composite import batch_shape
from jaxrnn.layer import Layer, Params, State
from jaxrnn.params import checked


def scheduled_sampling(
    cell: Layer,
    params: Params,
    xs: Any,
    rate: Any,
    key: jax.Array,
    *,
    state: State | None = None,
    mask: Any = None,
    noise: Any = None,
) -> jax.Array:
    """The tokens `[T, ...]` to train on: each but the first replaced, with probability `rate`, by
    one drawn from the net's own logits.

        x'_0 = x_0
        x'_t = token ~ softmax(logits_{t-1})    with probability rate, else x_t
        logits_t = net(x'_0 .. x'_t)

    First the net runs once without gradients, step by step, to choose its inputs x'. Then compute
    the loss on `unroll(cell, params, x')` with the same state, mask and key. Its gradient is that
    of the whole procedure, since a drawn token has none. At rate 0 the result is `xs`; at rate 1
    the tokens are those of `decoding.sample(step, state, xs[:1], T - 1, key)`.

    Args:
      cell: a causal net from tokens to logits.
      params: its params, bound where it looks at a memory.
      xs: the true tokens.
      rate: a number or an array that broadcasts with `[...]`; it may be traced, as a schedule's
        value is: then what is below 0 counts as 0, and what is above 1 as 1.
      key: draws coins and tokens; those of step t depend on (key, t) alone.
      state: the state before the first step.
      mask: booleans `[T, ...]`, true where the step is valid; what lies under false stays as it is.
      noise: the key that `unroll` will receive, for dropout and the like.

    Raises:
      TypeError: for inputs that are not integer tokens, a rate that is no number, or a key that is
        none.
      ValueError: for a rate outside [0, 1], where it is known, or of a shape that does not fit, and
        for params, a state or a mask that do not fit the net.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> xs, key = jnp.zeros((5, 2), jnp.int32), jax.random.key(1)
      >>> xs = scheduled_sampling(net, params, xs, 0.25, key)
      >>> xs.shape
      (5, 2)

    Bengio, Vinyals, Jaitly & Shazeer 2015.
    """
    errors.check_cell(cell, Layer)
    errors.check_array("scheduled_sampling", "xs", xs)
    if not jnp.issubdtype(xs.dtype, jnp.integer):
        raise errors.error(
            TypeError,
            "scheduled_sampling",
            f"xs {errors.describe(xs)}",
            "integer tokens [T, ...]",
            "Pass token ids.",
        )
    if not cell.causal:
        raise errors.not_causal(cell, "scheduled_sampling")
    errors.check_rank(cell, xs, 1)
    batch = batch_shape(cell, xs, 1)
    errors.check_sampling(rate, batch)
    errors.check_key("scheduled_sampling", key)
    if noise is not None:
        errors.check_key("scheduled_sampling", noise)
    if mask is not None:
        errors.check_flags("scheduled_sampling", "mask", mask, (xs.shape[0], *batch))
    return _scheduled(cell, params, xs, jnp.asarray(rate, jnp.float32), key, state, mask, noise)


@jax.jit
def _scheduled(
    cell: Layer,
    params: Params,
    xs: jax.Array,
    rate: jax.Array,
    key: jax.Array,
    state: State,
    mask: Any,
    noise: Any,
) -> jax.Array:
    params, batch = jax.lax.stop_gradient(checked(cell, params, xs)), xs.shape[1:]
    state = cell.initial_state(params, batch) if state is None else jax.lax.stop_gradient(state)

    def write(carry: tuple[State, jax.Array], given: tuple) -> tuple[Any, jax.Array]:
        (state, drawn), (t, x, valid) = carry, given
        coin = jax.random.bernoulli(
            jax.random.fold_in(jax.random.fold_in(key, t - 1), 1), rate, batch
        ) & (t > 0)
        x = jnp.where(coin if valid is None else coin & valid, drawn, x)
        state, logits = advance(cell, params, state, x, mask=valid, key=noise, t=t)
        drawn = jax.random.categorical(
            jax.random.fold_in(key, t), logits.astype(jnp.float32)
        ).astype(x.dtype)
        return (state, drawn), x

    return jax.lax.scan(
        write, (state, jnp.zeros(batch, xs.dtype)), (jnp.arange(xs.shape[0]), jnp.asarray(xs), mask)
    )[1]
