"""A loop over time as one kernel: what `Fused` asks for.

A kernel is written for a tile of rows, however many fit, and a step is traced for one: rows do not
depend on one another (law 5). So such a loop keeps the jaxpr of one row, and `vmap` over all rows is
left for its lowering, which takes as many as the kernel wants.

On a TPU time is the grid. The params stay in fast memory, the state in the block of the results
that holds the last one; a block of time is read while the one before it is computed. What lies
behind the end of time in the last block is not computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.extend.core.primitives import jit_p

from jaxrnn.autodiff._jax import ClosedJaxpr, bind, evaluate, read, trace
from jaxrnn.autodiff.in_place import places
from jaxrnn.autodiff.products import general, rows_p

ROWS = "rows of a kernel"  # the name of the axis that `vmap` leaves to the lowering

# Bytes of a TPU core's vector memory: what a kernel may take of it (a v5e and a v6e have 128 MiB, a
# v7x has 64), and what the blocks of time may take of that.
MEMORY, BLOCKS = 48 * 2**20, 8 * 2**20
STEPS = 16  # of a block, at most: past it nothing is gained


class Kernel(NamedTuple):
    """That a loop is to be one kernel.

    Once it is under the `vmap` over `ROWS`, `rows` says which of its arguments have an axis of
    rows: the first, or behind time.
    """

    interpret: bool = False
    rows: tuple[bool, ...] | None = None


class Plan(NamedTuple):
    """How a kernel divides its work: rows of a tile, and steps of a block."""

    rows: int
    steps: int


def of_all_rows(jaxpr: ClosedJaxpr, kernel: Kernel | None, count: int) -> ClosedJaxpr:
    """The step of one row as that of `count` of them."""
    if kernel is None or kernel.rows is None:
        return jaxpr
    axes = [0 if flag else None for flag in kernel.rows]
    shapes = [
        jax.ShapeDtypeStruct((count, *a.shape) if flag else a.shape, a.dtype)
        for a, flag in zip(jaxpr.in_avals, kernel.rows, strict=True)
    ]
    return trace(jax.vmap(jaxpr_as_fun(jaxpr), axes), *shapes)


def inlined(eqns: Sequence[Any], env: dict[Any, Any]) -> None:
    """Evaluate equations in operations that a kernel's compiler knows."""

    def rule(eqn: Any, *args: Any) -> list:
        if eqn.primitive is rows_p:
            return [general(*args, **eqn.params)]
        if eqn.primitive is jit_p:
            inner = eqn.params["jaxpr"]
            inside = dict(zip(inner.jaxpr.constvars, inner.consts, strict=True))
            inside |= dict(zip(inner.jaxpr.invars, args, strict=True))
            inlined(inner.jaxpr.eqns, inside)
            return [read(inside, v) for v in inner.jaxpr.outvars]
        return bind(eqn, *args)

    evaluate(eqns, env, rule)


def plan(
    jaxpr: ClosedJaxpr, kernel: Kernel, num_consts: int, num_carry: int, length: int, count: int
) -> Plan | str:
    """The plan for a TPU, or why there is none."""
    flags = kernel.rows
    if flags is None:
        return "its rows are not known"
    first = num_consts + num_carry
    avals = jaxpr.in_avals

    def size(a: Any) -> int:
        return math.prod(a.shape) * a.dtype.itemsize

    resident = sum(
        size(a) for a, flag in zip(avals[:num_consts], flags, strict=False) if not flag
    )
    carried = sum(map(size, avals[num_consts:first]))
    streamed = sum(map(size, (*avals[first:], *jaxpr.out_avals[num_carry:])))
    inside = sum(size(v.aval) for eqn in jaxpr.eqns for v in eqn.outvars)
    inside += sum(size(a) for a, flag in zip(avals[:num_consts], flags, strict=False) if flag)
    for rows in tiles(count):
        left = MEMORY - resident - rows * (4 * carried + inside)
        steps = min(left, BLOCKS) // (2 * rows * streamed) if streamed else STEPS
        if steps >= 1:
            return Plan(rows, min(STEPS, steps, length))
    return f"its params take {resident:,} bytes, of {MEMORY:,}"


def tiles(count: int) -> list[int]:
    """How many rows a tile may have: all of them, or a multiple of eight that divides them."""
    return [count, *(n for n in range(count - 1, 0, -1) if count % n == 0 and n % 8 == 0)]


def in_kernel(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    free: tuple,
    kernel: Kernel,
    plan: Plan,
) -> list:
    """The loop `loop_p` as one kernel."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    first = num_consts + num_carry
    flags: Any = kernel.rows
    tile, steps = plan
    count = args[num_consts].shape[0]
    args = tuple(map(stored, args))
    step = of_all_rows(jaxpr, kernel, tile)
    outs = step.out_avals
    rows = [jax.ShapeDtypeStruct((length, *a.shape), a.dtype) for a in jaxpr.in_avals[first:]]
    overwritten = [i for i in free if flags[first + i] and rows[i].dtype != bool]
    place = places(jaxpr.out_avals[num_carry:], rows, tuple(overwritten))
    blocks = -(-length // steps)

    def when(k: Any) -> Any:
        return blocks - 1 - k if reverse else k

    def const(a: Any, flag: bool) -> Any:
        if not a.ndim:
            return pl.BlockSpec((1, 1), lambda i, k: (0, 0), memory_space=pltpu.SMEM)
        rank = a.ndim - 1
        if flag:
            return pl.BlockSpec((tile, *a.shape[1:]), lambda i, k: (i, *[0] * rank))
        return pl.BlockSpec(
            a.shape, lambda i, k: (0,) * a.ndim, pipeline_mode=pl.Buffered(1)
        )

    def timed(shape: tuple, flag: bool) -> Any:
        if flag:
            return pl.BlockSpec(
                (steps, tile, *shape[2:]), lambda i, k: (when(k), i, *[0] * (len(shape) - 2))
            )
        return pl.BlockSpec((steps, *shape[1:]), lambda i, k: (when(k), *[0] * (len(shape) - 1)))

    kinds = [jnp.dtype(jnp.int32) if a.dtype == bool else a.dtype for a in outs]
    shapes = [
        jax.ShapeDtypeStruct((*([length] * (j >= num_carry)), count, *a.shape[1:]), kind)
        for j, (a, kind) in enumerate(zip(outs, kinds, strict=True))
    ]

    def body(*refs: Any) -> None:
        consts, carry, xs = refs[:num_consts], refs[num_consts:first], refs[first : len(args)]
        last, ys = refs[len(args) : len(args) + num_carry], refs[len(args) + num_carry :]
        k = pl.program_id(1)

        @pl.when(k == 0)
        def begin() -> None:
            for ref, start in zip(last, carry, strict=True):
                ref[...] = start[...]

        size = jnp.minimum(steps, length - when(k) * steps)

        def one(j: Any, _: Any) -> None:
            t = size - 1 - j if reverse else j
            env = dict(zip(step.jaxpr.constvars, step.consts, strict=True))
            values = [
                ref[...] if a.ndim else ref[0, 0]
                for ref, a in zip((*consts, *last), args, strict=False)
            ]
            values += [ref[t] for ref in xs]
            values = [
                v != 0 if a.dtype == bool else v
                for v, a in zip(values, step.in_avals, strict=True)
            ]
            env |= dict(zip(step.jaxpr.invars, values, strict=True))
            inlined(step.jaxpr.eqns, env)
            new = [read(env, v) for v in step.jaxpr.outvars]
            for ref, value in zip(last, new[:num_carry], strict=True):
                ref[...] = stored(value)
            for ref, value in zip(ys, new[num_carry:], strict=True):
                ref[t] = stored(value)

        jax.lax.fori_loop(0, size, one, None)

    results = pl.pallas_call(
        body,
        out_shape=shapes,
        grid=(count // tile, blocks),
        in_specs=[
            *(const(a, flag) for a, flag in zip(args[:first], flags, strict=False)),
            *(timed(a.shape, flag) for a, flag in zip(args[first:], flags[first:], strict=True)),
        ],
        out_specs=[
            *(const(a, True) for a in shapes[:num_carry]),
            *(timed(a.shape, True) for a in shapes[num_carry:]),
        ],
        input_output_aliases={first + i: num_carry + j for j, i in place.items()},
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=2 * MEMORY
        ),
        interpret=kernel.interpret,
        name="loop",
    )(*(a if a.ndim else a.reshape(1, 1) for a in args))
    return [r.astype(a.dtype) for r, a in zip(results, outs, strict=True)]


def stored(a: Any) -> Any:
    """An array as a kernel's memory holds it: flags as numbers."""
    return a.astype(jnp.int32) if a.dtype == bool else a
