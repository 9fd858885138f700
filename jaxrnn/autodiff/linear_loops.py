"""Loops over a linear recurrence `h_t = a_t h_{t-1} + b_t`: one step after another, and chunks of
time side by side. They are plain, and linear in `b` and `start`; `linear_scan.py` differentiates
them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.autodiff.choose import choose
from jaxrnn.autodiff.transitions import (
    evolve,
    has_time_axis,
    identity,
    is_transition,
    map_transitions,
    multiply,
)


class Plan(NamedTuple):
    """How a linear recurrence is run on one kind of platform."""

    reverse: bool = False
    unroll: int = 1
    radix: int = 0  # the steps of chunks that are run side by side, or 0 for one loop
    nested: int = 0  # the steps that a loop takes as a loop within a loop, or 0


def states_before(start: Any, states: Any, reverse: bool) -> Any:
    """The state before each step, if no mask or reset changes it."""
    if reverse:
        return jax.tree.map(lambda s, h: jnp.concatenate([h[1:], s[None]]), start, states)
    return jax.tree.map(lambda s, h: jnp.concatenate([s[None], h[:-1]]), start, states)


def steps_of(b: Any) -> Any:
    """T; a symbol where a program is exported for any T."""
    return jax.tree.leaves(b)[0].shape[0]


def longer(b: Any, radix: int) -> bool:
    """Whether time can be cut into more than one chunk.

    The program depends on the number of chunks, so a symbolic T is run in one loop.
    """
    return isinstance(steps_of(b), int) and steps_of(b) > radix


def run(plan: Plan, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    """The recurrence as a plan has it: the last state and all states."""
    if not plan.radix:
        return sequential(plan, a, b, start, mask, resets)
    if not plan.reverse:
        return in_chunks(plan.radix, a, b, start, mask, resets)
    flip = partial(jnp.flip, axis=0)
    a, b, mask, resets = map_timed(flip, a, b, mask, resets)
    last, states = in_chunks(plan.radix, a, b, start, mask, resets)
    return last, jax.tree.map(flip, states)


def map_timed(f: Callable, a: Any, b: Any, mask: Any, resets: Any) -> tuple[Any, Any, Any, Any]:
    """`f` of every array that has a time axis."""
    a = map_transitions(lambda a, b: jax.tree.map(f, a) if has_time_axis(a, b) else a, a, b)
    return a, *(jax.tree.map(f, tree) for tree in (b, mask, resets))


def split_transitions(a: Any, b: Any) -> tuple[list, Callable[[list], Any]]:
    """The transitions that have a time axis, to scan over, and a function from those of one step to
    all transitions of that step.
    """
    parts, tree = jax.tree.flatten(a, is_leaf=is_transition)
    timed = jax.tree.leaves(map_transitions(has_time_axis, a, b))

    def join(now: list) -> Any:
        scanned = iter(now)
        both = zip(parts, timed, strict=True)
        return jax.tree.unflatten(tree, [next(scanned) if time else part for part, time in both])

    return [part for part, time in zip(parts, timed, strict=True) if time], join


def forget(resets: Any, h: Any) -> Any:
    """The state, but zero where a reset is true, even where it was NaN."""
    return h if resets is None else choose(resets, jax.tree.map(jnp.zeros_like, h), h)


def sequential(plan: Plan, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    """One step after another."""
    scanned, join = split_transitions(a, b)

    def step(h: Any, now: tuple) -> tuple[Any, Any]:
        a, b, mask, reset = now
        after = evolve(join(a), forget(reset, h), b)
        h = after if mask is None else choose(mask, after, h)
        return h, h

    def loop(h: Any, steps: Any) -> tuple[Any, Any]:
        return jax.lax.scan(step, h, steps, reverse=plan.reverse, unroll=plan.unroll)

    steps = scanned, b, mask, resets
    if not plan.nested:
        return loop(start, steps)
    steps = jax.tree.map(lambda x: x.reshape(-1, plan.nested, *x.shape[1:]), steps)
    last, states = jax.lax.scan(loop, start, steps, reverse=plan.reverse)
    return last, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)


def in_chunks(radix: int, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    """Chunks of `radix` steps side by side, and behind them the few steps that are left over."""
    count = steps_of(b) // radix
    length = count * radix

    def cut(x: jax.Array) -> jax.Array:  # [T, ...] to [radix, count, ...]
        return x[:length].reshape(count, radix, *x.shape[1:]).swapaxes(0, 1)

    def joined(x: jax.Array) -> jax.Array:
        return x.swapaxes(0, 1).reshape(length, *x.shape[2:])

    chunks = map_timed(cut, a, b, mask, resets)
    a_, b_, mask_, resets_ = chunks
    side = jax.tree.map(lambda s: jnp.broadcast_to(s, (count, *s.shape)), start)
    # The products are computed apart from the sums, so that each loop is either linear in what is
    # differentiated or free of it.
    p = product(*chunks, side)
    ends, _ = sequential(Plan(), a_, b_, jax.tree.map(jnp.zeros_like, side), mask_, resets_)
    # A chunk that contains a reset forgets what came before, even NaN, so for the loop over chunks
    # it is a reset. A reset under a false mask does not count.
    resets_ = None if resets is None else unmasked(mask_, resets_).any(0)
    plan = Plan(radix=radix if longer(ends, radix) else 0)
    last, after = run(plan, p, ends, start, None, resets_)
    before = states_before(start, after, reverse=False)
    _, states = sequential(Plan(), a_, b_, before, *chunks[2:])
    states = jax.tree.map(joined, states)
    if length < steps_of(b):
        a_, b_, *flags = map_timed(lambda x: x[length:], a, b, mask, resets)
        last, tail = sequential(Plan(), a_, b_, last, *flags)
        states = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), states, tail)
    return last, states


def unmasked(mask: Any, resets: jax.Array) -> jax.Array:
    """The resets that are not under a false mask, which may have fewer axes, or more."""
    if mask is None:
        return resets
    rank = max(mask.ndim, resets.ndim)
    mask, resets = (x.reshape(x.shape + (1,) * (rank - x.ndim)) for x in (mask, resets))
    return mask & resets


def product(a: Any, b: Any, mask: Any, resets: Any, like: Any, reverse: bool = False) -> Any:
    """The product of the transitions of all steps, for a state `like` this: one transition."""
    scanned, join = split_transitions(a, b)

    def step(p: Any, now: tuple) -> tuple[Any, None]:
        scanned, mask, reset = now
        new = map_transitions(multiply, join(scanned), forget(reset, p))  # overflows, too
        return new if mask is None else choose(mask, new, p), None

    first = map_transitions(identity, a, like)
    steps = scanned, mask, resets
    return jax.lax.scan(step, first, steps, steps_of(b), reverse=reverse)[0]
