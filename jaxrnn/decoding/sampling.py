"""Greedy decoding and sampling."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.decoding.checks import Step, bound, ending, signed, written


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
      prompt: tokens `[P, ...]`, at least one, which are fed first; narrow integers become int32.
        After a prompt already run by `unroll`, its last token is enough.
      length: N, how many tokens to generate.
      end: once a row has generated this token it repeats it, and its state stands still; when all
        rows have, no more steps are run. The prompt may contain it.
      lengths: integers `[...]`, 1 to P each: how many tokens of each row of the prompt count. Each
        row is then as if decoded alone. With `end` or `lengths` every leaf of the state begins with
        the batch axes.

    Returns:
      The state and the generated tokens `[N, ...]`, without the prompt. The state has seen all but
      the last generated token, so `greedy(step, state, tokens[-1:], n)` goes on. Where a row ended,
      it has seen all but the end token. A token is -1 where there was none to choose: a logit was
      NaN, or all were -inf. `Embed` gives NaN for -1 and for any token out of its vocabulary, so
      the rest of such a row is -1 too.

    Raises:
      TypeError: for a step that is no function or returns no logits, or tokens, lengths or an end
        that are no integers.
      ValueError: for a prompt without a token, a negative length, lengths that are not in 1 to P,
        an end out of the vocabulary, or a state without the batch axes. Lengths and an end that
        are traced are not looked at: with a length out of range the row begins with the token -1.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, prompt = net.initial_state(params, (2,)), jnp.zeros((1, 2), jnp.int32)
      >>> state, tokens = greedy(step, state, prompt, 5)
      >>> tokens.shape
      (5, 2)
    """
    step, length = bound(step), errors.check_count("decoding", "length", length, 0)
    prompt, lengths, end = prepare(step, state, prompt, end, lengths)
    return _decode(step, state, prompt, lengths, length, end, None, None, None, None)


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
      key: a key of `jax.random`; the n-th token depends on (key, n) alone, so a shorter text is the
        beginning of a longer one.
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
      TypeError: as in `greedy`, and for a key that is none.
      ValueError: as in `greedy`, and for a temperature that is negative or NaN, a `top_k` below one
        or above V, or a `top_p` outside (0, 1]; values that are traced are not looked at.

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
    step, length = bound(step), errors.check_count("decoding", "length", length, 0)
    errors.check_key("sample", key)
    if top_k is not None:
        top_k = errors.check_count("decoding", "top_k", top_k, 1)
    prompt, lengths, end = prepare(step, state, prompt, end, lengths)
    batch = prompt.shape[1:]
    errors.check_setting("temperature", temperature, batch, lambda t: t >= 0, "zero or more")
    if top_p is not None:
        need = "a number above 0 and up to 1, or None"
        errors.check_setting("top_p", top_p, batch, lambda p: (p > 0) & (p <= 1), need)
        top_p = jnp.asarray(top_p, jnp.float32)
    temperature = jnp.asarray(temperature, jnp.float32)
    return _decode(step, state, prompt, lengths, length, end, key, temperature, top_k, top_p)


def prepare(
    step: Step, state: Any, prompt: Any, end: Any, lengths: Any
) -> tuple[jax.Array, Any, Any]:
    """The prompt, its lengths and the end token as checked arrays."""
    prompt, need = jnp.asarray(prompt), "integer tokens [P, ...] with P of at least one"
    if prompt.ndim < 1 or prompt.shape[0] < 1:
        do = "Begin with a start token; one token is jnp.array([token])."
        raise errors.wrong_decoding(f"a prompt {errors.describe(prompt)}", need, do)
    errors.check_tokens("a prompt", prompt, need)
    prompt, batch = signed(prompt), prompt.shape[1:]
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        errors.check_prompt_lengths(lengths, prompt)
        lengths = lengths.astype(jnp.int32)
    if lengths is not None or end is not None:
        errors.check_state_rows(state, batch)
    return prompt, lengths, ending(end, step, state, prompt[0])


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
        state, logits = written(step, state, token)
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

        def prime(state: Any, token: jax.Array) -> tuple[Any, None]:
            return written(step, state, token)[0], None

        return jax.lax.scan(prime, state, prompt[:-1])[0], prompt[-1]
    counts = controls.lengths_to_mask(lengths - 1, prompt.shape[0] - 1)
    # A token that does not count may be anything, so the first token, which counts, replaces it.
    tokens = jnp.where(counts, prompt[:-1], prompt[0])

    def masked(state: Any, both: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        token, counts = both
        return controls.choose(counts, written(step, state, token)[0], state), None

    last = jnp.take_along_axis(prompt, (lengths - 1)[None], 0)[0]
    last = jnp.where((lengths >= 1) & (lengths <= prompt.shape[0]), last, -1)
    return jax.lax.scan(masked, state, (tokens, counts))[0], last


def choose(
    logits: jax.Array, key: Any, temperature: Any, top_k: int | None, top_p: Any
) -> jax.Array:
    """One token `[...]` from logits `[..., V]`; -1 where one is NaN or all are -inf."""
    some = logits.max(-1) > -jnp.inf  # a NaN is the maximum, and is above nothing
    best = jnp.where(some, jnp.argmax(logits, -1), -1)
    if key is None:
        return best
    if top_k is not None:
        errors.check_top_k(top_k, logits)
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
    return jnp.where(some & (temperature > 0), drawn, best.astype(drawn.dtype))


def nucleus(falling: jax.Array, top_p: jax.Array) -> jax.Array:
    """Which of the logits `[..., V]`, likeliest first, are in the nucleus: those before which
    `top_p` is not yet reached.
    """
    p = jax.nn.softmax(falling, -1)
    before = jnp.cumsum(p, -1) - p
    top_p = top_p[..., None]
    return (before < top_p) | (top_p >= 1)
