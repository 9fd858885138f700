"""A loop over time as it runs: `Shape` says what it is, `written` writes it out.

Every y is written row by row, on a CPU where an x was if that was asked for and fits. There steps lie within a fence, a `cond` that is always true,
which makes them one operation that the compiler neither looks into nor takes apart. Without it XLA:CPU reads a row again for each of its uses, some
of them after the row has been written over as it sees it, and so copies the whole array in every step; nor does it vectorise what it computes from
a slice of a slice. On an accelerator a fence would wait for the host.

Short rows are read and written a few steps at a time, within one fence: there the operations around a step take longer than the step. What the
carry is no part of is then computed for these steps at once; of a gradient that is all that is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
from jax.core import ShapedArray, eval_jaxpr
from jax.extend.core import Var

TOGETHER, SHORT, LONG = 4, 8192, 64  # steps within a fence, where no row has more bytes and there are at least so many steps


class Shape(NamedTuple):
    """What is static about a loop. Its arguments are constants, the carry, and xs; its results the carry and ys."""

    body: Any  # the closed jaxpr of one step
    consts: int
    carry: int
    length: int
    reverse: bool
    unroll: int
    reuse: tuple[tuple[int, int], ...]  # (x, y): y has the place of x; in a linear loop: so has the cotangent of y, one of xs
    linear: tuple[bool, ...] = ()  # of the arguments, in a linear loop

    def split(self, args: Sequence) -> tuple[list, list, list]:
        ends = self.consts, self.consts + self.carry
        return list(args[: ends[0]]), list(args[ends[0] : ends[1]]), list(args[ends[1] :])

    def step(self, consts: Sequence, carry: Sequence, x: Sequence) -> tuple[list, list]:
        outs = jax.extend.core.jaxpr_as_fun(self.body)(*consts, *carry, *x)
        return outs[: self.carry], outs[self.carry :]

    def rows(self) -> list[Any]:
        """A row of every y."""
        return self.body.out_avals[self.carry :]


def written(*args: Any, shape: Shape, fenced: bool) -> list:
    consts, carry, xs = shape.split(args)
    rows, given = shape.rows(), [x.shape[1:] for x in xs]
    place = {}
    if fenced and not shape.linear:
        place = {j: i for i, j in shape.reuse if (xs[i].shape[1:], xs[i].dtype) == (rows[j].shape, rows[j].dtype)}
    # Axes of size one are left out: XLA copies an array to move them.
    xs = [x.reshape(shape.length, *_slim(x.shape[1:])) for x in xs]
    # Each is filled with another number: equal arrays would become one, copied for each.
    buffers = [xs[place[j]] if j in place else jnp.full((shape.length, *_slim(a.shape)), j, a.dtype) for j, a in enumerate(rows)]
    unknown = jax.lax.optimization_barrier(jnp.asarray(shape.length))  # to the compiler, which would remove a fence that is always passed
    ahead, after = halves(shape)

    def steps(n: int, carry: list, x: list) -> tuple[list, list]:
        x = [a.reshape(n, *row) for a, row in zip(x, given, strict=True)]
        known = jax.vmap(lambda *x: ahead(*consts, *x))(*x) if x else []
        made: list = [None] * n
        for k in reversed(range(n)) if shape.reverse else range(n):
            outs = after(*consts, *carry, *[a[k] for a in (*x, *known)])
            carry, made[k] = outs[: shape.carry], outs[shape.carry :]
        return carry, [jnp.stack(ys).reshape(n, *_slim(a.shape)) for a, ys in zip(rows, zip(*made, strict=True), strict=False)]

    def idle(n: int, carry: list, x: list) -> tuple[list, list]:
        return carry, [jnp.zeros((n, *b.shape[1:]), b.dtype) for b in buffers]

    read = partial(jax.lax.dynamic_slice_in_dim, allow_negative_indices=False)
    put = partial(jax.lax.dynamic_update_slice_in_dim, axis=0, allow_negative_indices=False)

    def block(n: int, first: int, k: Any, state: Any) -> Any:
        """The n steps from first + k * n on."""
        carry, buffers, length = state
        t = first + k * n
        t = shape.length - n - t if shape.reverse else t
        source = dict(enumerate(xs)) | {i: buffers[j] for j, i in place.items()}
        x = [read(source[i], t, n) for i in range(len(xs))]
        carry, ys = jax.lax.cond(k < length, partial(steps, n), partial(idle, n), carry, x) if fenced else steps(n, carry, x)
        return carry, [put(b, y, t) for b, y in zip(buffers, ys, strict=True)], length

    short = max((math.prod(a.shape) * a.dtype.itemsize for a in (*rows, *shape.body.in_avals[shape.consts + shape.carry :])), default=0) <= SHORT
    together = TOGETHER if fenced and short and shape.length >= LONG else 1
    together = max(1, min(max(shape.unroll, together), shape.length))
    whole, rest = divmod(shape.length, together)
    state = jax.lax.fori_loop(0, whole, partial(block, together, 0), (carry, buffers, unknown))
    carry, buffers, _ = block(rest, whole * together, 0, state) if rest else state
    return [*carry, *(b.reshape(shape.length, *a.shape) for b, a in zip(buffers, rows, strict=True))]


def halves(shape: Shape) -> tuple[Callable, Callable]:
    """A step in two: `ahead(*consts, *x)`, what the carry is no part of, and `after(*consts, *carry, *x, *that)`, the rest."""
    body, first = shape.body.jaxpr, shape.consts + shape.carry
    waiting, rows = set(body.invars[shape.consts : first]), set(body.invars[first:])
    early, late = [], []
    for eqn in body.eqns:
        used = {v for v in eqn.invars if isinstance(v, Var)}
        drawn = any(jnp.issubdtype(v.aval.dtype, jax.dtypes.extended) for v in (*used, *eqn.outvars) if isinstance(v.aval, ShapedArray))
        if used & waiting or eqn.effects or drawn:  # keys may draw other numbers under vmap
            waiting.update(eqn.outvars)
            late.append(eqn)
        elif used & rows:
            rows.update(eqn.outvars)
            early.append(eqn)
        else:  # of constants alone: in both
            early.append(eqn)
            late.append(eqn)
    made = rows & {v for eqn in early for v in eqn.outvars}
    needed = [v for eqn in late for v in eqn.invars] + body.outvars
    known = list(dict.fromkeys(v for v in needed if isinstance(v, Var) and v in made))
    ahead = body.replace(eqns=early, invars=[*body.invars[: shape.consts], *body.invars[first:]], outvars=known)
    after = body.replace(eqns=late, invars=[*body.invars, *known])
    return partial(eval_jaxpr, ahead, shape.body.consts), partial(eval_jaxpr, after, shape.body.consts)


def _slim(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
