"""How a loop over time runs on one CPU device.

Every y is written row by row, over a free x if one has its shape. Steps lie within a fence, a
`cond` that is always true, which makes them one operation that the compiler neither looks into nor
takes apart. Without it XLA:CPU reads a row again for each of its uses. To the compiler some of
these reads come after the row is overwritten, so it copies the whole array in every step; nor does
it vectorise what it computes from a slice of a slice.

Short rows are read and written a few steps at a time, within one fence: there the operations around
a step take longer than the step. What does not depend on the carry is then computed for these steps
at once; in a gradient, this is all that is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray, eval_jaxpr

from jaxrnn.autodiff._jax import ClosedJaxpr, Var, varied, varying

# Steps within a fence, where no row has more bytes and there are at least so many steps.
TOGETHER, SHORT, LONG = 4, 8192, 64


def in_place(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    free: tuple,
) -> list:
    """The loop `loop_p` as one CPU device runs it: the last carry and all ys."""
    first = num_consts + num_carry
    consts, carry, xs = list(args[:num_consts]), list(args[num_consts:first]), list(args[first:])
    if not length:
        return [*carry, *(jnp.zeros((0, *a.shape), a.dtype) for a in jaxpr.out_avals[num_carry:])]
    rows, given = jaxpr.out_avals[num_carry:], [x.shape[1:] for x in xs]
    place = places(rows, xs, free)
    # Axes of size one are left out: XLA copies an array to move them.
    xs = [x.reshape(length, *_slim(x.shape[1:])) for x in xs]
    # Each is filled with another number: equal arrays would become one, copied for each.
    axes = varying(args)
    buffers = [
        xs[place[j]]
        if j in place
        else varied(jnp.full((length, *_slim(a.shape)), j, a.dtype), axes)
        for j, a in enumerate(rows)
    ]
    # The compiler must not know the length: it would remove a fence that is always passed.
    unknown = jax.lax.optimization_barrier(jnp.asarray(length))
    ahead, after = halves(jaxpr, num_consts, num_carry)

    def steps(n: int, carry: list, x: list) -> tuple[list, list]:
        x = [a.reshape(n, *row) for a, row in zip(x, given, strict=True)]
        early = jax.vmap(lambda *x: ahead(*consts, *x))(*x) if x else []
        ys: list = [None] * n
        for k in reversed(range(n)) if reverse else range(n):
            outs = after(*consts, *carry, *[a[k] for a in (*x, *early)])
            carry, ys[k] = outs[:num_carry], outs[num_carry:]
        stacks = [jnp.stack(column) for column in zip(*ys, strict=True)]
        return carry, [s.reshape(n, *_slim(s.shape[1:])) for s in stacks]

    def idle(n: int, carry: list, x: list) -> tuple[list, list]:
        return carry, [varied(jnp.zeros((n, *b.shape[1:]), b.dtype), axes) for b in buffers]

    take = partial(jax.lax.dynamic_slice_in_dim, allow_negative_indices=False)
    put = partial(jax.lax.dynamic_update_slice_in_dim, axis=0, allow_negative_indices=False)

    def block(n: int, first: int, k: Any, state: Any) -> Any:
        """The n steps from first + k * n on."""
        carry, buffers, count = state
        t = first + k * n
        t = length - n - t if reverse else t
        source = dict(enumerate(xs)) | {i: buffers[j] for j, i in place.items()}
        x = [take(source[i], t, n) for i in range(len(xs))]
        carry, ys = jax.lax.cond(k < count, partial(steps, n), partial(idle, n), carry, x)
        return carry, [put(b, y, t) for b, y in zip(buffers, ys, strict=True)], count

    all_rows = (*rows, *jaxpr.in_avals[first:])
    short = max((math.prod(a.shape) * a.dtype.itemsize for a in all_rows), default=0) <= SHORT
    together = TOGETHER if short and length >= LONG else 1
    together = max(1, min(max(unroll, together), length))
    whole, rest = divmod(length, together)
    state = jax.lax.fori_loop(0, whole, partial(block, together, 0), (carry, buffers, unknown))
    carry, buffers, _ = block(rest, whole * together, 0, state) if rest else state
    shapes = [(length, *a.shape) for a in rows]
    return [*carry, *(b.reshape(shape) for b, shape in zip(buffers, shapes, strict=True))]


def places(rows: list, xs: list, free: tuple) -> dict[int, int]:
    """For each y the free x that it overwrites, if there is one; each x is used once."""
    left, place = list(free), {}
    for j, row in enumerate(rows):
        like = (row.shape, row.dtype)
        i = next((i for i in left if (xs[i].shape[1:], xs[i].dtype) == like), None)
        if i is not None:
            left.remove(i)
            place[j] = i
    return place


def halves(jaxpr: ClosedJaxpr, num_consts: int, num_carry: int) -> tuple[Callable, Callable]:
    """A step in two parts: `ahead(*consts, *x)`, which does not depend on the carry, and
    `after(*consts, *carry, *x, *results)`, the rest.
    """
    body, first = jaxpr.jaxpr, num_consts + num_carry
    waiting, rows = set(body.invars[num_consts:first]), set(body.invars[first:])
    early, late = [], []
    for eqn in body.eqns:
        used = {v for v in eqn.invars if isinstance(v, Var)}
        keys = any(is_key(v) for v in (*used, *eqn.outvars))
        if used & waiting or eqn.effects or keys:  # keys may draw other numbers under vmap
            waiting.update(eqn.outvars)
            late.append(eqn)
        elif used & rows:
            rows.update(eqn.outvars)
            early.append(eqn)
        else:  # of constants alone: in both
            early.append(eqn)
            late.append(eqn)
    made = rows & {v for eqn in early for v in eqn.outvars}
    reads = [v for eqn in late for v in eqn.invars] + body.outvars
    between = list(dict.fromkeys(v for v in reads if isinstance(v, Var) and v in made))
    ahead_in, after_in = [*body.invars[:num_consts], *body.invars[first:]], body.invars
    names = body.debug_info.with_unknown_names()
    ahead = body.replace(eqns=early, invars=ahead_in, outvars=between, debug_info=names)
    after = body.replace(eqns=late, invars=[*after_in, *between], debug_info=names)
    return partial(eval_jaxpr, ahead, jaxpr.consts), partial(eval_jaxpr, after, jaxpr.consts)


def is_key(v: Any) -> bool:
    """Whether a variable holds PRNG keys."""
    aval = v.aval
    return isinstance(aval, ShapedArray) and jnp.issubdtype(aval.dtype, jax.dtypes.extended)


def _slim(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
