"""Greedy decoding and sampling."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn import controls, errors
from jaxrnn.decoding.checks import Step, bound, check_batch, check_length, ending


def greedy(
    step: Step,
    state: Any,
    prompt: jax.Array,
    length: int,
    *,
    end: int | None = None,
    lengths: Any = None,
) -> tuple[Any, jax.Array]:
    """The most likely token again and again: `token' = argmax(logits)`.

    Args:
      step: `(state, token) -> (state, logits [..., V])`; a `jax.tree_util.Partial` does not retrace
        with new params. A logit of -inf forbids its token.
      state: the state before the prompt.
      prompt: tokens `[P, ...]`, at least one, which are fed first. After a prompt already run by
        `unroll`, its last token is enough.
      length: N, how many tokens to generate.
      end: once a row has generated this token it repeats it, and its state stands still; when all
        rows have, no more steps are run. The prompt may contain it.
      lengths: integers `[...]`, at least 1 each: how many tokens of each row of the prompt count.
        Each row is then as if decoded alone. With `end` or `lengths` every leaf of the state begins
        with the batch axes.

    Returns:
      The state and the generated tokens `[N, ...]`, without the prompt. The state has seen all but
      the last generated token, so `greedy(step, state, tokens[-1:], n)` goes on. Where a row ended,
      it has seen all but the end token.

    Raises:
      ValueError: for a prompt without a token, a negative length, lengths that are not in 1 to P,
        or a state without the batch axes.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, prompt = net.initial_state(params, (2,)), jnp.zeros((1, 2), jnp.int32)
      >>> state, tokens = greedy(step, state, prompt, 5)
      >>> tokens.shape
      (5, 2)
    """
    prompt, lengths, end = prepare(state, prompt, length, end, lengths)
    return _decode(bound(step), state, prompt, lengths, length, end, None, None, None, None)


def sample(
    step: Step,
    state: Any,
    prompt: jax.Array,
    length: int,
    key: jax.Array,
    *,
    temperature: Any = 1.0,
    top_k: int | None = None,
    top_p: Any = None,
    end: int | None = None,
    lengths: Any = None,
) -> tuple[Any, jax.Array]:
    """Tokens drawn from the model: `token' ~ softmax(logits / temperature)`, among the likeliest
    with `top_k` or `top_p`.

    Args:
      step: `(state, token) -> (state, logits [..., V])`, as in `greedy`.
      state: the state before the prompt.
      prompt: tokens `[P, ...]`, at least one, which are fed first.
      length: N, how many tokens to generate.
      key: the n-th token depends on (key, n) alone, so a shorter text is the beginning of a longer
        one.
      temperature: below 1 sharper, above 1 flatter, 0 is `greedy`; a number, or an array that
        broadcasts with `[...]`.
      top_k: how many of the most likely tokens may be drawn; 1 is `greedy`.
      top_p: only the nucleus is drawn from, the fewest most likely tokens whose probabilities
        (after the temperature and `top_k`) reach `top_p` together; 1 is no restriction, and one
        near 0 is `greedy`; a number, or an array that broadcasts with `[...]`.
      end: the token after which a row stands still, as in `greedy`.
      lengths: how many tokens of each row of the prompt count, as in `greedy`.

    Returns:
      As in `greedy`.

    Raises:
      ValueError: as in `greedy`, and for a negative temperature, a `top_k` below one or above V, or
        a `top_p` outside (0, 1].

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, prompt, key = net.initial_state(params), jnp.array([3, 1]), jax.random.key(1)
      >>> state, tokens = sample(step, state, prompt, 5, key, temperature=0.8, top_p=0.9)
      >>> tokens.shape
      (5,)

    The nucleus: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration.
    """
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise errors.wrong_decoding(f"top_k={top_k!r}", "a positive integer or None")
    if isinstance(temperature, int | float) and temperature < 0:
        raise errors.wrong_decoding(f"temperature={temperature}", "zero or more")
    if isinstance(top_p, int | float) and not 0 < top_p <= 1:
        raise errors.wrong_decoding(f"top_p={top_p}", "a number above 0 and up to 1, or None")
    prompt, lengths, end = prepare(state, prompt, length, end, lengths)
    top_p = None if top_p is None else jnp.asarray(top_p, jnp.float32)
    return _decode(
        bound(step),
        state,
        prompt,
        lengths,
        length,
        end,
        key,
        jnp.asarray(temperature, jnp.float32),
        top_k,
        top_p,
    )


def prepare(
    state: Any, prompt: Any, length: int, end: Any, lengths: Any
) -> tuple[jax.Array, Any, Any]:
    """The prompt, its lengths and the end token as checked arrays."""
    prompt = jnp.asarray(prompt)
    if prompt.ndim < 1 or prompt.shape[0] < 1 or not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise errors.wrong_decoding(
            f"a prompt {errors.describe(prompt)}", "integer tokens [P, ...] with P of at least one"
        )
    check_length(length)
    batch = prompt.shape[1:]
    if lengths is not None:
        if jnp.shape(lengths) != batch or not jnp.issubdtype(
            jnp.asarray(lengths).dtype, jnp.integer
        ):
            raise errors.wrong_decoding(
                f"lengths {errors.describe(jnp.asarray(lengths))} "
                f"for a prompt {errors.describe(prompt)}",
                f"integers {batch}",
            )
        if (
            not isinstance(lengths, Tracer)
            and not ((np.asarray(lengths) >= 1) & (np.asarray(lengths) <= prompt.shape[0])).all()
        ):
            raise errors.wrong_decoding(
                f"lengths from {np.min(lengths)} to {np.max(lengths)}",
                f"1 to {prompt.shape[0]}, the length of the prompt",
            )
        lengths = jnp.asarray(lengths)
    if lengths is not None or end is not None:
        check_batch(state, batch)
    return prompt, lengths, ending(end, prompt.dtype)


@partial(jax.jit, static_argnames=("length", "top_k"))
def _decode(
    step: Step,
    state: Any,
    prompt: jax.Array,
    lengths: Any,
    length: int,
    end: Any,
    key: Any,
    temperature: Any,
    top_k: int | None,
    top_p: Any,
) -> tuple[Any, jax.Array]:
    state, last = _prime(step, state, prompt, lengths)

    def write(state: Any, token: jax.Array, n: jax.Array) -> tuple[Any, jax.Array]:
        state, logits = step(state, token)
        drawn = choose(
            logits, None if key is None else jax.random.fold_in(key, n), temperature, top_k, top_p
        )
        return state, drawn.astype(prompt.dtype)

    if end is None:

        def again(carry: tuple[Any, jax.Array], n: jax.Array) -> tuple[Any, jax.Array]:
            state, token = write(*carry, n)
            return (state, token), token

        (state, _), tokens = jax.lax.scan(again, (state, last), jnp.arange(length))
        return state, tokens

    def going(carry: tuple) -> jax.Array:
        n, ended = carry[0], carry[3]
        return (n < length) & ~ended.all()

    def until(carry: tuple) -> tuple:
        n, state, token, ended, tokens = carry
        new, drawn = write(state, token, n)
        token = jnp.where(ended, end, drawn)
        return (
            n + 1,
            controls.choose(ended, state, new),
            token,
            ended | (token == end),
            tokens.at[n].set(token),
        )

    batch = prompt.shape[1:]
    start = (jnp.int32(0), state, last, jnp.zeros(batch, bool), jnp.full((length, *batch), end))
    _, state, _, _, tokens = jax.lax.while_loop(going, until, start)
    return state, tokens


def _prime(step: Step, state: Any, prompt: jax.Array, lengths: Any) -> tuple[Any, jax.Array]:
    """The state after all but the last token of each row's prompt, and that token."""
    if lengths is None:
        return jax.lax.scan(lambda state, token: (step(state, token)[0], None), state, prompt[:-1])[
            0
        ], prompt[-1]
    counts = controls.lengths_to_mask(lengths - 1, prompt.shape[0] - 1)
    # A token that does not count may be anything, so the first token, which counts, replaces it.
    tokens = jnp.where(counts, prompt[:-1], prompt[0])

    def prime(state: Any, both: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        token, counts = both
        return controls.choose(counts, step(state, token)[0], state), None

    last = jnp.take_along_axis(prompt, (lengths - 1)[None], 0)[0]
    return jax.lax.scan(prime, state, (tokens, counts))[0], last


def choose(
    logits: jax.Array, key: Any, temperature: Any, top_k: int | None, top_p: Any
) -> jax.Array:
    """One token `[...]` from logits `[..., V]`."""
    best = jnp.argmax(logits, -1)
    if key is None:
        return best
    if top_k is not None and top_k > logits.shape[-1]:
        raise errors.wrong_decoding(
            f"top_k={top_k} for logits {errors.describe(logits)}",
            f"at most {logits.shape[-1]}, the size of the vocabulary",
        )
    scaled = logits.astype(jnp.float32) / jnp.where(temperature > 0, temperature, 1)[..., None]
    if top_k is None:
        if top_p is not None:
            order = jnp.argsort(scaled, -1, descending=True)
            inside = nucleus(jnp.take_along_axis(scaled, order, -1), top_p)
            scaled = jnp.where(
                jnp.take_along_axis(inside, jnp.argsort(order, -1), -1), scaled, -jnp.inf
            )
        drawn = jax.random.categorical(key, scaled)
    else:
        likely, tokens = jax.lax.top_k(scaled, top_k)
        if top_p is not None:
            likely = jnp.where(nucleus(likely, top_p), likely, -jnp.inf)
        drawn = jnp.take_along_axis(tokens, jax.random.categorical(key, likely)[..., None], -1)[
            ..., 0
        ]
    return jnp.where(temperature > 0, drawn, best.astype(drawn.dtype))


def nucleus(falling: jax.Array, top_p: jax.Array) -> jax.Array:
    """Which of the logits `[..., V]`, likeliest first, are in the nucleus: those before which
    `top_p` is not yet reached.
    """
    p = jax.nn.softmax(falling, -1)
    before = jnp.cumsum(p, -1) - p
    top_p = top_p[..., None]
    return (before < top_p) | (top_p >= 1)
