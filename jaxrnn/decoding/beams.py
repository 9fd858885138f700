"""Beam search."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.decoding.checks import Step, bound, ending, signed, written


class Beams(NamedTuple):
    """The K best sequences found, best first.

    `tokens [N, ..., K]` with the end token after each one's end; `lengths [..., K]` with the end
    token counted; `scores [..., K]`, the log-probability divided by the length penalty. Where fewer
    than K sequences are possible the rest have score -inf and length 0; where the model gave NaN
    the whole row has score NaN, length 0 and the token -1 throughout.
    """

    tokens: jax.Array
    lengths: jax.Array
    scores: jax.Array


def beam(
    step: Step,
    state: Any,
    first: jax.Array,
    length: int,
    *,
    beams: int = 5,
    end: int | None,
    penalty: Any = 0.6,
) -> Beams:
    """The most likely sequences, of which the `beams` best beginnings are kept at every step.

        score = log p(tokens) / ((5 + n) / 6)^penalty        n tokens, the end token among them

    Each step extends the K living sequences by every token and looks at the 2K best extensions.
    Those among the K best that end are finished, and the K best of the others live on, so that no
    end costs a living one its place. After N tokens the living ones compete as they are. The search
    stops earlier when no living sequence can reach a better score than the worst of K finished
    ones. `beams=1, penalty=0` is `greedy`; with as many beams as there are sequences the result is
    the exact maximum. Rows do not depend on one another.

    Args:
      step: `(state, tokens [..., K]) -> (state, logits [..., K, V])`, called with the state's
        leaves repeated to `[..., K, *]`. A logit of -inf forbids its token. What a
        `jax.tree_util.Partial` binds (params, an attention's memory) is neither repeated nor
        gathered.
      state: the state before `first`; every leaf `[..., *]` begins with the batch axes.
      first: the tokens `[...]` that are fed first, and are not part of the result: any batch axes,
        also none; narrow integers become int32.
      length: N, how many tokens to generate at most.
      beams: K, which may be more than there are tokens.
      end: the token that ends a sequence, or None where none does; what lies beyond the end of a
        sequence is then -1.
      penalty: 0 compares log-probabilities; larger ones favour longer sequences.

    Returns:
      `Beams`.

    Raises:
      TypeError: for a step that is no function or returns no logits, or tokens, an end, `beams` or
        a length that are no integers.
      ValueError: for a negative length, `beams` below one, an end out of the vocabulary, a penalty
        that is no finite number, or a state without the batch axes.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> step = jax.tree_util.Partial(advance, net, params)
      >>> state, first = net.initial_state(params, (2,)), jnp.array([3, 1])
      >>> best = beam(step, state, first, 6, beams=4, end=0)
      >>> best.tokens.shape, best.scores.shape
      ((6, 2, 4), (2, 4))

    The length penalty: Wu et al. 2016, Google's Neural Machine Translation System.
    """
    first, step = jnp.asarray(first), bound(step)
    errors.check_tokens("first tokens", first, "integer tokens [...]")
    beams, length = (
        errors.check_count("decoding", "beams", beams, 1),
        errors.check_count("decoding", "length", length, 0),
    )
    errors.check_setting("penalty", penalty, (), np.isfinite, "one finite number")
    errors.check_state_rows(state, first.shape)
    first = signed(first)
    ends = -1 if end is None else ending(end, step, state, first)
    return _beam(
        step,
        state,
        first,
        length,
        beams,
        jnp.asarray(ends, first.dtype),
        jnp.asarray(penalty, jnp.float32),
    )


class _Search(NamedTuple):
    """Living sequences are a trail of tokens and parents; a finished one is its score, its length
    and the place its trail begins.
    """

    n: jax.Array  # tokens so far
    state: Any  # [..., K, *]
    living: jax.Array  # log-probabilities [..., K], -inf where there is none
    tokens: jax.Array  # [N, ..., K]: the token of each living sequence at a step
    parents: jax.Array  # [N, ..., K]: whose continuation it was
    scores: jax.Array  # of finished sequences [..., K], best first
    lengths: jax.Array
    places: jax.Array  # which living one it ended
    done: jax.Array  # [...]: nothing can change any more
    broken: jax.Array  # [...]: the model gave NaN


@partial(jax.jit, static_argnames=("length", "beams"))
def _beam(
    step: Step, state: Any, first: jax.Array, length: int, beams: int, end: Any, penalty: jax.Array
) -> Beams:
    batch, axis = first.shape, first.ndim

    def pick(values: Any, index: jax.Array) -> Any:
        """`values[..., index, *]` row by row."""
        take = lambda a, i: a.at[i].get(mode="promise_in_bounds")  # noqa: E731
        for _ in range(axis):
            take = jax.vmap(take)
        return jax.tree.map(lambda a: take(a, index), values)

    def normalised(logp: jax.Array, n: jax.Array) -> jax.Array:
        return logp / ((5 + n.astype(jnp.float32)) / 6) ** penalty

    def going(search: _Search) -> jax.Array:
        return (search.n < length) & ~search.done.all()

    def extend(search: _Search) -> _Search:
        n = search.n
        before = jnp.where(n > 0, search.tokens[jnp.maximum(n - 1, 0)], first[..., None])
        new, logits = written(step, search.state, before)
        size = logits.shape[-1]
        total = search.living[..., None] + log_probabilities(logits)
        # A row that is done and a place without a sequence have no extension, even where the logits
        # are NaN.
        total = jnp.where(
            (search.done[..., None] | jnp.isneginf(search.living))[..., None], -jnp.inf, total
        )
        broken = search.broken | jnp.isnan(total).any((-1, -2))
        total = total.reshape(*batch, beams * size)
        if size < 2:
            total = jnp.pad(total, [(0, 0)] * axis + [(0, beams)], constant_values=-jnp.inf)
        best, index = jax.lax.top_k(total, 2 * beams)
        parent, token = (index // size).astype(jnp.int32), (index % size).astype(first.dtype)
        ends = token == end

        ended = normalised(jnp.where(ends & (jnp.arange(2 * beams) < beams), best, -jnp.inf), n + 1)
        # Among equals the first stays.
        scores, order = jax.lax.top_k(jnp.concatenate([search.scores, ended], -1), beams)
        lengths = jnp.concatenate([search.lengths, jnp.full(ended.shape, n + 1)], -1)
        lengths, places = pick((lengths, jnp.concatenate([search.places, parent], -1)), order)

        living, order = jax.lax.top_k(jnp.where(ends, -jnp.inf, best), beams)
        token, parent = pick((token, parent), order)
        # log-probabilities only fall: no future score of the best living sequence is above this one
        hope = jnp.maximum(
            normalised(living[..., 0], n + 1), normalised(living[..., 0], jnp.int32(length))
        )
        done = search.done | broken | (scores[..., -1] >= hope)
        tokens, parents = search.tokens.at[n].set(token), search.parents.at[n].set(parent)
        return _Search(
            n + 1, pick(new, parent), living, tokens, parents, scores, lengths, places, done, broken
        )

    repeated = jax.tree.map(lambda a: jnp.repeat(jnp.expand_dims(a, axis), beams, axis), state)
    nothing, empty = jnp.full((*batch, beams), -jnp.inf), jnp.zeros((*batch, beams), jnp.int32)
    history, no = (max(length, 1), *batch, beams), jnp.zeros(batch, bool)
    start = _Search(
        jnp.int32(0),
        repeated,
        nothing.at[..., 0].set(0),
        jnp.zeros(history, first.dtype),
        jnp.zeros(history, jnp.int32),
        nothing,
        empty,
        empty,
        no,
        no,
    )
    last = jax.lax.while_loop(going, extend, start)

    # Living sequences compete too; in a row that is done they have lost already.
    score = normalised(jnp.where(last.done[..., None], -jnp.inf, last.living), last.n)
    scores, order = jax.lax.top_k(jnp.concatenate([last.scores, score], -1), beams)
    whole = jnp.concatenate([jnp.zeros_like(empty), jnp.ones_like(empty)], -1)
    lengths = jnp.concatenate([last.lengths, jnp.full(score.shape, last.n)], -1)
    places = jnp.concatenate(
        [last.places, jnp.broadcast_to(jnp.arange(beams, dtype=jnp.int32), score.shape)], -1
    )
    lengths, places, whole = pick((lengths, places, whole), order)
    lengths = jnp.where(last.broken[..., None], 0, lengths)

    def back(place: jax.Array, both: tuple) -> tuple[jax.Array, jax.Array]:
        t, tokens, parents = both
        inside = t < lengths - 1 + whole  # the last token of one that ended is the end
        token, parent = pick((tokens, parents), place)
        return jnp.where(inside, parent, place), jnp.where(inside, token, end)

    _, tokens = jax.lax.scan(
        back,
        places,
        (jnp.arange(length), last.tokens[:length], last.parents[:length]),
        reverse=True,
    )
    broken = last.broken[..., None]
    return Beams(jnp.where(broken, -1, tokens), lengths, jnp.where(broken, jnp.nan, scores))


def log_probabilities(logits: jax.Array) -> jax.Array:
    """log_softmax in float32; -inf throughout where every token is forbidden."""
    logits = logits.astype(jnp.float32)
    dead = jnp.isneginf(logits).all(-1, keepdims=True)
    return jnp.where(dead, -jnp.inf, jax.nn.log_softmax(jnp.where(dead, 0, logits), -1))
