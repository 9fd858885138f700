"""Bracket languages of bounded depth, which ask for a stack."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.data import Batch
from jaxrnn.tasks.scored import Scored


@functools.cache
def completions(length: int, depth: int) -> list[list[int]]:
    """`[r][d]`: how many paths of r brackets of one kind lead from depth d back to 0, never deeper
    than `depth`.
    """
    rows = [[1] + [0] * depth]
    for _ in range(length):
        last = [*rows[-1], 0]
        rows.append([last[d + 1] + (last[d - 1] if d else 0) for d in range(depth + 1)])
    return rows


def check_dyck(name: str, length: int, batch: int, kinds: int, depth: int) -> None:
    """Refuse sizes that no word of brackets has."""
    for what, size in (("length", length), ("batch", batch), ("kinds", kinds), ("depth", depth)):
        errors.check_size(name, what, size)
    if length % 2:
        raise errors.wrong_task(
            name,
            f"length={length}",
            "an even one, since every bracket is closed",
            f"Pass length={length + 1}.",
        )


def words(key: jax.Array, length: int, batch: int, kinds: int, depth: int) -> jax.Array:
    """Words `[length, B]`, every word of this length equally likely.

    The probability that a bracket is opened is the share of words that go on with an opening one.
    """
    count = completions(length, depth)
    share = [
        [
            count[r - 1][d + 1] / count[r][d] if d < depth and count[r][d] else 0.0
            for d in range(depth + 1)
        ]
        for r in range(length, 0, -1)
    ]
    chance, draw = jax.random.split(key)
    u = jax.random.uniform(chance, (length, batch), jnp.float32)
    kind = jax.random.randint(draw, (length, batch), 0, kinds, jnp.int32)

    def step(
        state: tuple[jax.Array, jax.Array], row: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        (level, stack), (u, kind, share) = state, row
        opens = u < share[level]
        token = jnp.where(opens, kind, kinds + top(stack, level))
        return moved(level, stack, token, kinds), token

    return jax.lax.scan(
        step, nothing_open((batch,), depth), (u, kind, jnp.asarray(np.asarray(share, np.float32)))
    )[1]


def nothing_open(shape: tuple[int, ...], depth: int) -> tuple[jax.Array, jax.Array]:
    """The level and the stack of words that have not begun."""
    return jnp.zeros(shape, jnp.int32), jnp.zeros((*shape, depth), jnp.int32)


def top(stack: jax.Array, level: jax.Array) -> jax.Array:
    """The kind of the innermost open bracket; 0 where none is open."""
    return jnp.take_along_axis(stack, jnp.maximum(level - 1, 0)[..., None], -1)[..., 0]


def moved(
    level: jax.Array, stack: jax.Array, token: jax.Array, kinds: int
) -> tuple[jax.Array, jax.Array]:
    """The stack after a token; the bound of a word leaves it."""
    opens, closes = token < kinds, (token >= kinds) & (token < 2 * kinds)
    here = jnp.arange(stack.shape[-1], dtype=jnp.int32) == level[..., None]
    stack = jnp.where(opens[..., None] & here, token[..., None], stack)
    return level + opens.astype(jnp.int32) - closes.astype(jnp.int32), stack


def dyck(
    key: jax.Array, length: int = 40, batch: int = 32, kinds: int = 2, depth: int = 4
) -> Batch:
    """Well-formed brackets of k kinds, at most `depth` deep, said token by token: Dyck-(k, m)
    (Hewitt et al. 2020).

        xs     = bound, w_1 .. w_L
        values = w_1 .. w_L, bound      every step counts
        i      opens kind i, for i < k
        k + i  closes kind i
        2 k    is the bound of a word

    Words are drawn uniformly from all words of this length, so the least possible cross entropy is
    known, `dyck_floor`. `dyck_allowed(batch.xs, kinds, depth)` says which tokens the grammar
    allows: the share of likeliest tokens that are allowed is the field's usual score.

    Args:
      key: a PRNG key.
      length: L, even.
      batch: B.
      kinds: k, how many kinds of brackets there are.
      depth: m, the most brackets open at once.

    Returns:
      Tokens `xs [L + 1, B]`, `targets.values` like them, for `scored(training.cross_entropy)`.

    Example:
      >>> batch = dyck(jax.random.key(0), length=6, batch=1, kinds=1, depth=1)
      >>> batch.xs[:, 0].tolist(), batch.targets.values[:, 0].tolist()
      ([2, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 2])
    """
    errors.check_key("dyck", key)
    check_dyck("dyck", length, batch, kinds, depth)
    word = words(key, length, batch, kinds, depth)
    bound = jnp.full((1, batch), 2 * kinds, jnp.int32)
    values = jnp.concatenate([word, bound])
    return Batch(jnp.concatenate([bound, word]), Scored(values, jnp.ones(values.shape, bool)))


def dyck_floor(length: int = 40, kinds: int = 2, depth: int = 4) -> float:
    """The least cross entropy that `dyck` allows, in nats a step: log(number of words) / (length +
    1).

    Example:
      >>> dyck_floor(4, kinds=1, depth=2) == math.log(2) / 5  # ()() and (())
      True
    """
    check_dyck("dyck_floor", length, 1, kinds, depth)
    return (math.log(completions(length, depth)[length][0]) + length // 2 * math.log(kinds)) / (
        length + 1
    )


def dyck_allowed(xs: jax.Array, kinds: int = 2, depth: int = 4) -> jax.Array:
    """Which tokens the grammar allows after each step of well-formed beginnings `xs [T, ...]`:
    booleans `[T, ..., 2 kinds + 1]`.

    These are the opening brackets where `depth` is not reached, the closing one of the innermost
    open bracket, and the bound where none is open.

    Example:
      >>> dyck_allowed(jnp.array([2, 0, 1]), kinds=1, depth=1).astype(int).tolist()
      [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    errors.check_size("dyck_allowed", "kinds", kinds)
    errors.check_size("dyck_allowed", "depth", depth)
    errors.check_words("dyck_allowed", xs, kinds)
    tokens = jnp.arange(2 * kinds + 1, dtype=jnp.int32)

    def step(
        state: tuple[jax.Array, jax.Array], token: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        level, stack = moved(*state, token, kinds)
        opens = (tokens < kinds) & (level < depth)[..., None]
        closes = (tokens == kinds + top(stack, level)[..., None]) & (level > 0)[..., None]
        return (level, stack), opens | closes | ((tokens == 2 * kinds) & (level == 0)[..., None])

    return jax.lax.scan(step, nothing_open(xs.shape[1:], depth), xs)[1]


def dyck_recognition(
    key: jax.Array, length: int = 40, batch: int = 32, kinds: int = 2, depth: int = 4
) -> Batch:
    """Whether brackets are well-formed, said at the last step; half of the words have one token
    replaced by another, which always breaks them.

    The trivial score: log 2 nats, half of the answers right.

    Returns:
      Tokens `xs [L, B]` as in `dyck`, without bounds, `targets.values [L, B]` of 0 and 1, for
      `scored(training.cross_entropy)`.

    Example:
      >>> batch = dyck_recognition(jax.random.key(0), length=6, batch=4)
      >>> batch.targets.answer.shape
      (4,)
    """
    errors.check_key("dyck_recognition", key)
    check_dyck("dyck_recognition", length, batch, kinds, depth)
    draw, half, place, other = jax.random.split(key, 4)
    word = words(draw, length, batch, kinds, depth)
    fine = jax.random.bernoulli(half, 0.5, (batch,))
    at = jax.random.randint(place, (batch,), 0, length, jnp.int32)
    shift = jax.random.randint(other, (batch,), 1, 2 * kinds, jnp.int32)
    broken = (jnp.arange(length, dtype=jnp.int32)[:, None] == at) & ~fine
    xs = jnp.where(broken, (word + shift) % (2 * kinds), word)
    return Batch(
        xs, Scored.last(fine.astype(jnp.int32), jnp.full(batch, length - 1, jnp.int32), length)
    )
