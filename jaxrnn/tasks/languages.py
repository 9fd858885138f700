"""Tasks that ask for a stack: bracket languages of bounded depth, and nested lists of
operations.
"""

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


MIN, MAX, MEDIAN, SUM_MOD, CLOSE = range(10, 15)


def listops(
    key: jax.Array,
    length: int = 60,
    batch: int = 32,
    depth: int = 6,
    arguments: int = 5,
    share: float = 0.25,
) -> Batch:
    """The value of nested operations on digits, e.g. `[MAX 2 9 [MIN 4 7 ] 0 ]` is 9 (Nangia &
    Bowman 2018; flat, as in Tay et al. 2021).

    Tokens 0 to 9 are digits, 10 to 14 are `[MIN`, `[MAX`, `[MED`, `[SM` and `]`. The median of an
    even number is the mean of the two in the middle, rounded down; SM is the sum modulo 10. Trees
    are drawn as by the authors: each argument is an operation with probability `share`, of 2 to
    `arguments` arguments, down to `depth`. Here the root is always an operation. Where `length` has
    no more room, an operation has fewer arguments, or a digit stands in its place.

    The trivial score, one of ten classes: always answering the likeliest of them (0 or 9, for MIN
    and MAX) is right about one time in six.

    Args:
      key: a PRNG key.
      length: T, at least 4; rows are shorter, and masked from their end on.
      batch: B.
      depth: how many operations may lie within one another.
      arguments: the most arguments of an operation, at least 2.
      share: the probability that an argument is an operation.

    Returns:
      Tokens `xs [T, B]`, `mask [T, B]`, `targets.values [T, B]`, the answer at each row's last
      step, for `scored(training.cross_entropy)`.

    Example:
      >>> batch = listops(jax.random.key(0), length=20, batch=3)
      >>> batch.xs.shape, batch.mask.shape, batch.targets.answer.shape
      ((20, 3), (20, 3), (3,))
    """
    errors.check_key("listops", key)
    for name, size in (
        ("length", length),
        ("batch", batch),
        ("depth", depth),
        ("arguments", arguments),
    ):
        errors.check_size("listops", name, size)
    errors.check_rate("listops", "share", share)
    if length < 4 or arguments < 2:
        got, need = (
            f"length={length}, arguments={arguments}",
            "a length of 4 for one operation on two digits, and 2 arguments",
        )
        raise errors.wrong_task("listops", got, need, "Make them larger.")
    row = functools.partial(expression, length=length, depth=depth, most=arguments, share=share)
    xs, count, answer = jax.vmap(row, out_axes=(1, 0, 0))(jax.random.split(key, batch))
    return Batch(
        xs,
        Scored.last(answer, count - 1, length),
        jnp.arange(length, dtype=jnp.int32)[:, None] < count,
    )


def expression(
    key: jax.Array, *, length: int, depth: int, most: int, share: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One expression from left to right, valued as it goes: tokens `[length]`, how many there are,
    and the value.
    """
    keys = jax.random.split(key, 4)
    chance = jax.random.uniform(keys[0], (length,), jnp.float32)
    digits = jax.random.randint(keys[1], (length,), 0, 10, jnp.int32)
    operations = jax.random.randint(keys[2], (length,), MIN, CLOSE, jnp.int32)
    sizes = jax.random.randint(keys[3], (length,), 2, most + 1, jnp.int32)
    levels, places = jnp.arange(depth, dtype=jnp.int32), jnp.arange(most, dtype=jnp.int32)

    def step(
        state: tuple[jax.Array, ...], row: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        # Of each open list: what it does, its size, its arguments so far.
        level, operation, size, seen, values, answer = state
        t, chance, digit, drawn, n = row
        inner = jnp.maximum(level - 1, 0)
        begins, done = t == 0, (t > 0) & (level == 0)
        closes = ~begins & ~done & (seen[inner] == size[inner])
        # The number of tokens that close all open lists, with digits for the missing arguments. An
        # open list is itself an argument of the list around it, so it is not missing there.
        needed = jnp.where(levels < level, size - seen + jnp.where(levels == inner, 1, 0), 0).sum(
            dtype=jnp.int32
        )
        # The number of tokens that a further operation may take, with its own brackets.
        room = length - t - jnp.where(begins, 0, needed - 1)
        n = jnp.minimum(n, room - 2)
        opens = begins | (~done & ~closes & (chance < share) & (level < depth) & (room >= 4))
        value = jnp.where(closes, result(operation[inner], size[inner], values[inner]), digit)
        # A finished argument goes to the list around it: the innermost for a digit, the next one
        # out for a closed list.
        level = jnp.where(closes, level - 1, level)
        said = ~opens & ~done & (level > 0)
        here = levels == level - 1
        values = jnp.where((said & here)[:, None] & (places == seen[:, None]), value, values)
        seen = jnp.where(said & here, seen + 1, seen)
        answer = jnp.where(closes & (level == 0), value, answer)
        new = opens & (levels == level)
        operation, size, seen = (
            jnp.where(new, drawn, operation),
            jnp.where(new, n, size),
            jnp.where(new, 0, seen),
        )
        token = jnp.where(opens, drawn, jnp.where(closes, CLOSE, digit))
        return (
            jnp.where(opens, level + 1, level),
            operation,
            size,
            seen,
            values,
            answer,
        ), jnp.where(done, -1, token)

    none = jnp.zeros(depth, jnp.int32)
    start = (jnp.int32(0), none, none, none, jnp.zeros((depth, most), jnp.int32), jnp.int32(0))
    state, tokens = jax.lax.scan(
        step, start, (jnp.arange(length, dtype=jnp.int32), chance, digits, operations, sizes)
    )
    return jnp.maximum(tokens, 0), (tokens >= 0).sum(dtype=jnp.int32), state[-1]


def result(operation: jax.Array, size: jax.Array, values: jax.Array) -> jax.Array:
    """The value of an operation on its first `size` values."""
    valid = jnp.arange(values.shape[0], dtype=jnp.int32) < size
    least, most = jnp.where(valid, values, 10).min(), jnp.where(valid, values, -1).max()
    ranked = jnp.sort(jnp.where(valid, values, 10))
    median = (ranked[(size - 1) // 2] + ranked[size // 2]) // 2
    total = jnp.where(valid, values, 0).sum(dtype=jnp.int32) % 10
    return jnp.select(
        [operation == MIN, operation == MAX, operation == MEDIAN], [least, most, median], total
    )
