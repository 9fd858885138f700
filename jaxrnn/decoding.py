"""Sequences out of a model one token at a time, inside one jit.

A model is any function `step(state, token) -> (state, logits)`; of a network it is `jax.tree_util.Partial(advance, net, params)`,
whose params then are arguments of the jitted loop and not constants baked into it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors

Step = Callable[[Any, jax.Array], tuple[Any, jax.Array]]


def greedy(step: Step, state: Any, prompt: jax.Array, length: int) -> tuple[Any, jax.Array]:
    """The most likely token again and again: `token' = argmax(logits)`.

    Args:
      step: `(state, token) -> (state, logits [..., V])`; a `jax.tree_util.Partial` does not retrace with new params.
      state: the state before the prompt.
      prompt: tokens `[P, ...]`, at least one, which are fed first. After a prompt already run by `unroll`, its last token is enough.
      length: N, how many tokens to write.

    Returns:
      The state, which has seen everything but the last token written (so `greedy(step, state, tokens[-1:], n)` goes on), and
      the tokens `[N, ...]`, the prompt not among them.

    Raises:
      ValueError: for a prompt without a token, or a negative length.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, tokens = greedy(step, net.initial_state(params, (2,)), jnp.zeros((1, 2), jnp.int32), 5)
      >>> tokens.shape
      (5, 2)
    """
    return _decode(_bound(step), state, check_prompt(prompt, length), length, None, None, None)


def sample(
    step: Step, state: Any, prompt: jax.Array, length: int, key: jax.Array, *, temperature: Any = 1.0, top_k: int | None = None
) -> tuple[Any, jax.Array]:
    """Tokens drawn from the model: `token' ~ softmax(logits / temperature)`, among the `top_k` most likely where given.

    Args:
      step, state, prompt, length: as in `greedy`.
      key: the n-th token depends on (key, n) alone, so a shorter text is the beginning of a longer one.
      temperature: below 1 sharper, above 1 flatter, 0 is `greedy`; a number, or an array that broadcasts with `[...]`.
      top_k: how many of the most likely tokens may be drawn; 1 is `greedy`.

    Returns:
      As in `greedy`.

    Raises:
      ValueError: as in `greedy`, and for a negative temperature or a `top_k` below one or above V.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, tokens = sample(step, net.initial_state(params), jnp.array([3, 1]), 5, jax.random.key(1), temperature=0.8, top_k=4)
      >>> tokens.shape
      (5,)
    """
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise errors.wrong_decoding(f"top_k={top_k!r}", "a positive integer or None")
    if isinstance(temperature, int | float) and temperature < 0:
        raise errors.wrong_decoding(f"temperature={temperature}", "zero or more")
    return _decode(_bound(step), state, check_prompt(prompt, length), length, key, jnp.asarray(temperature, jnp.float32), top_k)


def _bound(step: Step) -> jax.tree_util.Partial:
    return step if isinstance(step, jax.tree_util.Partial) else jax.tree_util.Partial(step)


def check_prompt(prompt: Any, length: int) -> jax.Array:
    prompt = jnp.asarray(prompt)
    if prompt.ndim < 1 or prompt.shape[0] < 1 or not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise errors.wrong_decoding(f"a prompt {errors.describe(prompt)}", "integer tokens [P, ...] with P of at least one")
    if length < 0:
        raise errors.wrong_decoding(f"length={length}", "zero or more")
    return prompt


@partial(jax.jit, static_argnames=("length", "top_k"))
def _decode(step: Step, state: Any, prompt: jax.Array, length: int, key: Any, temperature: Any, top_k: int | None) -> tuple[Any, jax.Array]:
    def prime(state: Any, token: jax.Array) -> tuple[Any, None]:
        return step(state, token)[0], None

    def write(carry: tuple[Any, jax.Array], n: jax.Array) -> tuple[Any, jax.Array]:
        state, logits = step(*carry)
        token = choose(logits, None if key is None else jax.random.fold_in(key, n), temperature, top_k).astype(prompt.dtype)
        return (state, token), token

    state, _ = jax.lax.scan(prime, state, prompt[:-1])
    (state, _), tokens = jax.lax.scan(write, (state, prompt[-1]), jnp.arange(length))
    return state, tokens


def choose(logits: jax.Array, key: Any, temperature: Any, top_k: int | None) -> jax.Array:
    """One token `[...]` from logits `[..., V]`."""
    best = jnp.argmax(logits, -1)
    if key is None:
        return best
    if top_k is not None and top_k > logits.shape[-1]:
        raise errors.wrong_decoding(f"top_k={top_k} for logits {errors.describe(logits)}", f"at most {logits.shape[-1]}, the size of the vocabulary")
    scaled = logits.astype(jnp.float32) / jnp.where(temperature > 0, temperature, 1)[..., None]
    if top_k is None:
        drawn = jax.random.categorical(key, scaled)
    else:
        likely, tokens = jax.lax.top_k(scaled, top_k)
        drawn = jnp.take_along_axis(tokens, jax.random.categorical(key, likely)[..., None], -1)[..., 0]
    return jnp.where(temperature > 0, drawn, best.astype(drawn.dtype))
