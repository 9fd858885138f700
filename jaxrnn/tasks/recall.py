"""Tasks that test how long and how exactly a net remembers: adding, copying, parity, delayed match
to sample, temporal order.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.data import Batch
from jaxrnn.tasks.scored import Scored


def adding(key: jax.Array, length: int = 100, batch: int = 32) -> Batch:
    """The sum of the two marked numbers of a sequence (Hochreiter & Schmidhuber 1997; this variant:
    Le et al. 2015, Arjovsky et al. 2016).

        xs[t] = (u_t, m_t)
        u_t ~ U[0, 1)
        m_t = 1 at one step of each half, else 0
        answer at the last step = sum_t u_t m_t

    The trivial score, answering 1 always: a mean squared error of 1/6 = 0.1667 (often printed as
    0.1767).

    Args:
      key: a PRNG key.
      length: T, at least 2; the first half has T // 2 steps.
      batch: B.

    Returns:
      `xs [T, B, 2]`, `targets.values [T, B, 1]`, for `scored(training.mse)`.

    Example:
      >>> batch = adding(jax.random.key(0), length=10, batch=3)
      >>> answers = (batch.xs[..., 0] * batch.xs[..., 1]).sum(0)
      >>> bool(jnp.allclose(batch.targets.answer[:, 0], answers))
      True
    """
    errors.check_key("adding", key)
    errors.check_size("adding", "length", length)
    errors.check_size("adding", "batch", batch)
    if length < 2:
        raise errors.wrong_task(
            "adding",
            f"length={length}",
            "at least 2 steps, since two are marked",
            "Take a longer one.",
        )
    draw, first, second = jax.random.split(key, 3)
    numbers = jax.random.uniform(draw, (length, batch), jnp.float32)
    i = jax.random.randint(first, (batch,), 0, length // 2, jnp.int32)
    j = jax.random.randint(second, (batch,), length // 2, length, jnp.int32)
    times = jnp.arange(length, dtype=jnp.int32)[:, None]
    marks = ((times == i) | (times == j)).astype(jnp.float32)
    answer = (numbers * marks).sum(0)[:, None]
    return Batch(
        jnp.stack([numbers, marks], -1),
        Scored.last(answer, jnp.full(batch, length - 1, jnp.int32), length),
    )


def copy(
    key: jax.Array, lag: int = 100, batch: int = 32, symbols: int = 10, categories: int = 8
) -> Batch:
    """Say some symbols again after a lag (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016).

    With S symbols of K categories:

        xs     = s_1 .. s_S,  lag-1 blanks,  the marker,  S blanks
        values = lag + S blanks,  s_1 .. s_S        every step counts
        blank  = K
        marker = K + 1

    The trivial score, blanks and then guessing without memory: a cross entropy of S log K / (lag +
    2 S), `copy_baseline`.

    Args:
      key: a PRNG key.
      lag: at least 1; the time between a symbol and its repetition is lag + S.
      batch: B.
      symbols: S, how many are to be remembered.
      categories: K, how many different symbols there are.

    Returns:
      Tokens `xs [lag + 2 S, B]` below K + 2, `targets.values` like them, for
      `scored(training.cross_entropy)`.

    Example:
      >>> batch = copy(jax.random.key(0), lag=2, batch=1, symbols=3)
      >>> (batch.xs[3:, 0].tolist(), batch.targets.values[:5, 0].tolist())
      ([8, 9, 8, 8, 8], [8, 8, 8, 8, 8])
    """
    errors.check_key("copy", key)
    for name, size in (
        ("lag", lag),
        ("batch", batch),
        ("symbols", symbols),
        ("categories", categories),
    ):
        errors.check_size("copy", name, size)
    said = jax.random.randint(key, (symbols, batch), 0, categories, jnp.int32)
    blanks = jnp.full((lag + symbols, batch), categories, jnp.int32)
    xs = jnp.concatenate([said, blanks.at[lag - 1].set(categories + 1)])
    values = jnp.concatenate([blanks, said])
    return Batch(xs, Scored(values, jnp.ones(values.shape, bool)))


def copy_baseline(lag: int = 100, symbols: int = 10, categories: int = 8) -> float:
    """The cross entropy of the memoryless answer to `copy`, in nats a step.

    Example:
      >>> round(copy_baseline(1000), 4)
      0.0204
    """
    for name, size in (("lag", lag), ("symbols", symbols), ("categories", categories)):
        errors.check_size("copy_baseline", name, size)
    return symbols * math.log(categories) / (lag + 2 * symbols)


def sequential_parity(key: jax.Array, length: int = 100, batch: int = 32) -> Batch:
    """Whether the ones so far are odd in number, at every step: `values[t] = x_0 xor ... xor x_t`.

    The trivial score: log 2 nats, half of the answers right. A net without a nonlinear recurrence
    learns only the lengths that it saw.

    Returns:
      Tokens `xs [T, B]` of 0 and 1, `targets.values` like them, for
      `scored(training.cross_entropy)`.

    Example:
      >>> batch = sequential_parity(jax.random.key(0), length=5, batch=1)
      >>> bool((batch.targets.values == batch.xs.cumsum(0) % 2).all())
      True
    """
    errors.check_key("sequential_parity", key)
    errors.check_size("sequential_parity", "length", length)
    errors.check_size("sequential_parity", "batch", batch)
    xs = jax.random.bernoulli(key, 0.5, (length, batch)).astype(jnp.int32)
    values = jnp.cumsum(xs, axis=0, dtype=jnp.int32) % 2
    return Batch(xs, Scored(values, jnp.ones(values.shape, bool)))


def parity(key: jax.Array, length: int = 100, batch: int = 32) -> Batch:
    """Whether the ones of a sequence are odd in number, said once at its end: `sequential_parity`,
    asked at the last step alone.

    The trivial score: log 2 nats, half of the answers right.

    Returns:
      Tokens `xs [T, B]` of 0 and 1, `targets.values [T, B]`, for `scored(training.cross_entropy)`.

    Example:
      >>> batch = parity(jax.random.key(0), length=5, batch=3)
      >>> bool((batch.targets.answer == batch.xs.sum(0) % 2).all())
      True
    """
    every = sequential_parity(key, length, batch)
    return Batch(
        every.xs,
        Scored.last(every.targets.values[-1], jnp.full(batch, length - 1, jnp.int32), length),
    )


def delayed_match(key: jax.Array, delay: int = 20, batch: int = 32, stimuli: int = 8) -> Batch:
    """Delayed match to sample: whether the stimulus after a delay is the one before it (Blough
    1959; a test of working memory).

        xs    = sample, delay blanks, test
        blank = stimuli
        answer at the last step = 1 if test == sample else 0        both equally likely

    The trivial score: log 2 nats, half of the answers right.

    Args:
      key: a PRNG key.
      delay: the blanks between the sample and the test.
      batch: B.
      stimuli: how many there are, at least 2.

    Returns:
      Tokens `xs [delay + 2, B]` up to `stimuli`, `targets.values` like them, for
      `scored(training.cross_entropy)`.

    Example:
      >>> batch = delayed_match(jax.random.key(0), delay=3, batch=4)
      >>> bool(((batch.targets.answer == 1) == (batch.xs[0] == batch.xs[-1])).all())
      True
    """
    errors.check_key("delayed_match", key)
    for name, size in (("delay", delay), ("batch", batch), ("stimuli", stimuli)):
        errors.check_size("delayed_match", name, size)
    if stimuli < 2:
        raise errors.wrong_task(
            "delayed_match",
            "one stimulus",
            "at least 2, since some tests must not match",
            "Pass stimuli=2.",
        )
    first, match, other = jax.random.split(key, 3)
    sample = jax.random.randint(first, (batch,), 0, stimuli, jnp.int32)
    same = jax.random.bernoulli(match, 0.5, (batch,))
    shift = jax.random.randint(other, (batch,), 1, stimuli, jnp.int32)
    test = jnp.where(same, sample, (sample + shift) % stimuli)
    xs = jnp.concatenate([sample[None], jnp.full((delay, batch), stimuli, jnp.int32), test[None]])
    return Batch(
        xs, Scored.last(same.astype(jnp.int32), jnp.full(batch, delay + 1, jnp.int32), delay + 2)
    )


def temporal_order(key: jax.Array, length: int = 100, batch: int = 32) -> Batch:
    """In which order two symbols came, each of them 0 or 1, among distractors (Hochreiter &
    Schmidhuber 1997, experiment 6a; the positions of every length: Pascanu et al. 2013).

        xs[t]  ~ 2, 3, 4 or 5
        xs[p]  = a in {0, 1},    L / 10 <= p < 2 L / 10
        xs[q]  = b in {0, 1},    5 L / 10 <= q < 6 L / 10
        answer at the last step = 2 a + b

    Positions and symbols are uniform; so is one of four answers. The trivial score: log 4 = 1.386
    nats, a quarter of the answers right; with the second symbol alone log 2, half of them.

    Args:
      key: a PRNG key.
      length: L, at least 10; fractions are rounded down.
      batch: B.

    Returns:
      Tokens `xs [L, B]` below 6, `targets.values [L, B]` below 4, for
      `scored(training.cross_entropy)`.

    Example:
      >>> batch = temporal_order(jax.random.key(0), length=10, batch=3)
      >>> bool((batch.targets.answer == 2 * batch.xs[1] + batch.xs[5]).all())
      True
    """
    errors.check_key("temporal_order", key)
    errors.check_size("temporal_order", "length", length)
    errors.check_size("temporal_order", "batch", batch)
    if length < 10:
        got, need = f"length={length}", "at least 10 steps, a tenth for each symbol"
        raise errors.wrong_task("temporal_order", got, need, "Pass length=10 or more.")
    others, symbols, places = jax.random.split(key, 3)
    xs = jax.random.randint(others, (length, batch), 2, 6, jnp.int32)
    both = jax.random.randint(symbols, (2, batch), 0, 2, jnp.int32)
    begins = jnp.array([[length // 10], [length // 2]], jnp.int32)
    at = begins + jax.random.randint(places, (2, batch), 0, length // 10, jnp.int32)
    times = jnp.arange(length, dtype=jnp.int32)[:, None]
    for place, symbol in zip(at, both, strict=True):
        xs = jnp.where(times == place, symbol, xs)
    last = jnp.full(batch, length - 1, jnp.int32)
    return Batch(xs, Scored.last(2 * both[0] + both[1], last, length))
