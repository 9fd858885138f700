"""How a loop over time runs on a GPU.

There a step of a recurrent net costs what it launches, two to three microseconds a kernel, more
than its arithmetic. A scan launches, besides the product and the pointwise part of a step, a copy
for each row that it writes and an addition to its counter. Here a few steps are one iteration: each
writes its rows, a block of them, at once, and over a free x if one has their shape. So a step
launches its product, its pointwise part (`fences.py`) and a share of the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import ClosedJaxpr, Var, rows_of, varied, varying
from jaxrnn.autodiff.fences import with_fences
from jaxrnn.autodiff.in_place import places

# Steps of an iteration, fewer where they are long: compiling takes as long as a program is.
TOGETHER, EQUATIONS = 16, 1280


def in_blocks(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    free: tuple,
    members: int | None = None,
) -> list:
    """The loop `loop_p` as a GPU runs it: the last carry and all ys. Members, if there are any,
    have the first axis of each row, const and carry.
    """
    first = num_consts + num_carry
    consts, carry, xs = list(args[:num_consts]), list(args[num_consts:first]), list(args[first:])
    rows, axes = jaxpr.out_avals[num_carry:], varying(args)
    step = with_fences(jaxpr, num_consts, num_carry)
    if members is not None:
        rows, step = [rows_of(members, a) for a in rows], jax.vmap(step)
    place = places(rows, xs, free)
    again = {i for j, i in place.items() if summed(jaxpr, first + i, num_carry + j)}
    buffers = [
        xs[place[j]] if j in place else varied(jnp.zeros((length, *a.shape), a.dtype), axes)
        for j, a in enumerate(rows)
    ]
    together = min(TOGETHER, EQUATIONS // max(len(jaxpr.eqns), 1))
    most = max(1, min(max(unroll, together), length))
    together = min(range(most, most // 2, -1), key=lambda n: length % n)  # few steps are left over
    whole, rest = divmod(length, together)
    # The compiler must not know these numbers: the same step at another place would be another
    # kernel, to be compiled by itself.
    index = jax.lax.optimization_barrier([jnp.int32(k) for k in range(together)])
    row = partial(jax.lax.dynamic_index_in_dim, keepdims=False, allow_negative_indices=False)
    take = partial(jax.lax.dynamic_slice_in_dim, allow_negative_indices=False)
    put = partial(jax.lax.dynamic_update_slice_in_dim, axis=0, allow_negative_indices=False)

    def block(n: int, first: int, k: Any, state: Any) -> Any:
        """The n steps from first + k * n on."""
        carry, buffers = state
        t = first + k * n
        t = length - n - t if reverse else t
        source = dict(enumerate(xs)) | {i: buffers[j] for j, i in place.items()}
        # A row of sums is computed twice, for the step and where it is written, which is cheaper
        # than a launch that stores it in between. The compiler does so only if what it reads is
        # not what it writes to: a copy of the block, a launch for all its steps.
        copies = {i: jax.lax.optimization_barrier(take(source[i], t, n)) for i in again}
        ys: list = [None] * n
        for k in reversed(range(n)) if reverse else range(n):
            p = index[k]
            x = [row(copies[i], p) if i in copies else row(source[i], t + p) for i in source]
            outs = step(*consts, *carry, *x)
            carry, ys[k] = outs[:num_carry], outs[num_carry:]
        stacks = [jnp.stack(column) for column in zip(*ys, strict=True)]
        return carry, [put(b, y, t) for b, y in zip(buffers, stacks, strict=True)]

    state = (carry, buffers)
    state = jax.lax.fori_loop(0, whole, partial(block, together, 0), state) if whole else state
    carry, buffers = block(rest, whole * together, 0, state) if rest else state
    return [*carry, *buffers]


def summed(jaxpr: ClosedJaxpr, x: int, y: int) -> bool:
    """Whether a result of a step is one of its arguments with something added."""
    sums = {jaxpr.jaxpr.invars[x]}
    for eqn in jaxpr.eqns:
        read = {v for v in eqn.invars if isinstance(v, Var)}
        if eqn.primitive.name in ("add", "add_any") and sums & read:
            sums.update(eqn.outvars)
    return jaxpr.jaxpr.outvars[y] in sums
