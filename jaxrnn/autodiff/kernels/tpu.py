"""How a loop of rows runs on a TPU as one kernel: what `Fused` asks for.

Time is the grid. The params stay in fast memory, the state in the block of the results
that holds the last one; a block of time is read while the one before it is computed. What lies
behind the end of time in the last block is not computed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr

from jaxrnn.autodiff._jax import ClosedJaxpr, typed, varying
from jaxrnn.autodiff.in_place import places
from jaxrnn.autodiff.kernels.rows import Kernel, flat, of_all_rows, refused

# Bytes of a TPU core's vector memory, of which a v5e has 128 MiB and a v7x 64: what a kernel may
# take by the account of `plan`, what the compiler may, and what the blocks of time may take.
MEMORY, LIMIT, BLOCKS = 40 * 2**20, 56 * 2**20, 8 * 2**20
STEPS = 16  # of a block, at most: past it nothing is gained


class Plan(NamedTuple):
    """How a kernel divides its work: rows of a tile, and steps of a block."""

    rows: int
    steps: int

    def __str__(self) -> str:
        return f"{self.rows} rows a tile, {self.steps} steps a block"


def plan(
    jaxpr: ClosedJaxpr, kernel: Kernel, num_consts: int, num_carry: int, length: int, count: int
) -> Plan | str:
    """The plan for a TPU, or why there is none."""
    flags, first = kernel.rows or (), num_consts + num_carry
    if not count:
        return "there are no rows"
    of_rows = [a for a, flag in zip(jaxpr.in_avals, flags, strict=True) if flag]
    if any(not a.shape for a in (*of_rows, *jaxpr.out_avals)):
        return "it has numbers of rows that are no vectors"
    step = of_all_rows(flat(jaxpr), kernel, count)
    reason = refused(step)
    # The interpreter takes any dtype: laws are held to float64 too.
    if reason and not (kernel.interpret and reason.startswith("its step computes")):
        return reason
    resident = sum(
        _bytes(a) for a, flag in zip(jaxpr.in_avals[:num_consts], flags, strict=False) if not flag
    )
    carried = sum(map(_bytes, jaxpr.in_avals[num_consts:first]))
    streamed = sum(map(_bytes, (*jaxpr.in_avals[first:], *jaxpr.out_avals[num_carry:])))
    inside = sum(_bytes(v.aval) for eqn in step.eqns for v in eqn.outvars) // count
    for rows in tiles(count):
        left = MEMORY - resident - rows * (4 * carried + inside)
        steps = min(left, BLOCKS) // max(2 * rows * streamed, 1)
        if steps >= 1:
            return Plan(rows, min(STEPS, steps, length))
    return f"its params take {resident:,} bytes of fast memory, and a kernel has {MEMORY:,}"


def _bytes(a: Any) -> int:
    return math.prod(a.shape) * a.dtype.itemsize


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
    step = of_all_rows(flat(jaxpr), kernel, tile)
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
        return pl.BlockSpec(a.shape, lambda i, k: (0,) * a.ndim, pipeline_mode=pl.Buffered(1))

    def timed(shape: tuple, flag: bool) -> Any:
        if flag:
            return pl.BlockSpec(
                (steps, tile, *shape[2:]), lambda i, k: (when(k), i, *[0] * (len(shape) - 2))
            )
        return pl.BlockSpec((steps, *shape[1:]), lambda i, k: (when(k), *[0] * (len(shape) - 1)))

    kinds = [jnp.dtype(jnp.int32) if a.dtype == bool else a.dtype for a in outs]
    shapes = [
        typed((*([length] * (j >= num_carry)), count, *a.shape[1:]), kind, varying(args))
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
            values = [
                ref[...] if a.ndim else ref[0, 0]
                for ref, a in zip((*consts, *last), args, strict=False)
            ]
            values += [ref[t] for ref in xs]
            values = [
                v != 0 if a.dtype == bool else v for v, a in zip(values, step.in_avals, strict=True)
            ]
            new = eval_jaxpr(step.jaxpr, step.consts, *values)
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
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=LIMIT
        ),
        interpret=kernel.interpret,
        name="loop",
    )(*(a if a.ndim else a.reshape(1, 1) for a in args))
    return [r.astype(a.dtype) for r, a in zip(results, outs, strict=True)]


def stored(a: Any) -> Any:
    """An array as a kernel's memory holds it: flags as numbers."""
    return a.astype(jnp.int32) if a.dtype == bool else a
