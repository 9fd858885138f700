"""Nested lists of operations, which ask for a stack."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.data import Batch
from jaxrnn.tasks.scored import Scored

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
