"""A loop over time as one kernel on a GPU: what `Fused` asks for.

A kernel's blocks know nothing of one another, so each runs the whole loop, its state in registers:

- a step that is elementwise has units that do not depend on one another: a block takes some units
  of one row, a thread a unit;
- another takes whole rows, sixteen of them, the least that a tensor core multiplies. The params of
  its products are read once, into the block's shared memory, and must fit there.

The rows of the next steps are read before these are computed: the memory answers meanwhile. So all
rows that a step reads are read before it writes, and ys may take the place of xs.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import ClosedJaxpr, Var
from jaxrnn.autodiff.in_place import places
from jaxrnn.autodiff.kernels import parts
from jaxrnn.autodiff.kernels.parts import size
from jaxrnn.autodiff.kernels.rows import DTYPES, Kernel, flat
from jaxrnn.autodiff.kernels.tpu import stored
from jaxrnn.autodiff.products import row_product

WARP, THREADS = 32, 128  # of a block that takes units of one row, at most
ROWS, WIDTH = 16, 16  # of a product, at least
# Numbers that a thread reads ahead, and for how many steps, at most: each takes a register.
AHEAD, STEPS = 40, 8
PRODUCTS = 64  # of parts, in a step: compiling takes as long as a program is
NOT_MOSAIC = {"sqrt", "log1p", "expm1", "pow", "erf_inv", "floor", "ceil", "is_finite"}


class Plan(NamedTuple):
    """How a kernel divides its work."""

    compiler: str  # "mosaic_gpu" or "triton"
    rows: int | None  # of a block; None for one that takes units of one row
    part: int  # the size of a part of a value
    tile: int  # how many units of every part a block takes
    ahead: int  # for how many steps rows are read ahead
    warps: int

    def __str__(self) -> str:
        units = f"{self.tile} units of a row" if self.rows is None else f"{self.rows} rows"
        steps = "a step" if self.ahead == 1 else f"{self.ahead} steps"
        return f"{units} a block, which reads {steps} ahead"


def plan(
    jaxpr: ClosedJaxpr, kernel: Kernel, num_consts: int, num_carry: int, length: int, count: int
) -> Plan | str:
    """The plan for a GPU, or why there is none."""
    if kernel.rows is None:
        return "its rows are not known"
    if not length * count:
        return "it has no steps"
    closed = flat(jaxpr)
    inner, weights = closed.jaxpr, parts.matrices(closed)
    shared_by_rows = {
        v for v, flag in zip(inner.invars[:num_consts], kernel.rows, strict=False) if not flag
    }
    used = [v for eqn in closed.eqns for v in (*eqn.invars, *eqn.outvars)]
    if strange := sorted({v.aval.dtype.name for v in (*inner.invars, *used)} - {*DTYPES}):
        return f"its step computes in {strange[0]}"
    if strange := [why for eqn in closed.eqns if (why := parts.obstacle(eqn))]:
        return f"its step has operations that kernels have not: {strange[0]}"
    if not weights <= shared_by_rows or any(
        isinstance(v, Var) and v in weights and not (row_product(eqn) and i == 1)
        for eqn in closed.eqns
        for i, v in enumerate(eqn.invars)
    ):
        return "its products are not all of rows with params"
    if closed.consts:
        return "its step holds an array of its own"
    unit, card = parts.divisor(closed), capability()
    power = unit & -unit  # the largest power of two in it
    if not unit:
        return "it has no units"
    if card < 80:
        return "its compiler does not know so old a GPU"
    names = {eqn.primitive.name for eqn in closed.eqns}
    if not weights and "reduce_sum" not in names:
        wide = all(size(v) > 1 for v in inner.outvars)
        mosaic = not (unit % THREADS or names & NOT_MOSAIC) and wide and card >= 90
        compiler = "mosaic_gpu" if mosaic and has("mosaic_gpu") else "triton"
        if not has(compiler):
            return "this version of JAX compiles no such kernel"
        tile = min(THREADS, power if power >= WARP else above(unit, WARP))
        read = sum(max(1, size(v) // unit) for v in inner.invars[num_consts + num_carry :])
        ahead = max(1, min(STEPS, AHEAD // max(1, read), length))
        return Plan(compiler, None, unit, tile, ahead, tile // WARP)
    if not has("triton"):
        return "this version of JAX compiles no products in such a kernel"
    products = [eqn.invars[1].aval for eqn in closed.eqns if row_product(eqn)]
    whole = power >= WIDTH and sum(map(size, products)) <= PRODUCTS * power**2
    part = power if whole else unit
    tile = power if whole else above(unit, WIDTH)
    if sum(map(size, products)) > PRODUCTS * part**2:
        return f"its sizes fall into too many parts, of {part}"
    # Beside the params: what a product reads, and a result on its way to another layout.
    beside = 4 * ROWS * tile * (1 + sum(a.shape[0] // part for a in products))
    memory = sum(size(v) * v.aval.dtype.itemsize for v in weights) * tile**2 // part**2
    if memory + beside > (most := shared_memory(card)):
        return f"its params take {memory:,} bytes, of {most - beside:,} in a block"
    return Plan("triton", ROWS, part, tile, 1, 8)


def above(n: int, least: int) -> int:
    """The power of two that is not below n, nor below the least."""
    return max(least, 1 << (n - 1).bit_length())


def capability() -> int:
    """The compute capability of this machine's GPU; where it has none an H100's, 90."""
    try:
        major, _, minor = str(jax.local_devices(backend="gpu")[0].compute_capability).partition(".")
        return 10 * int(major) + int(minor or 0)
    except (RuntimeError, AttributeError, ValueError):
        return 90


def shared_memory(card: int) -> int:
    """Bytes of shared memory that a block may take."""
    large = {80: 163, 87: 163} | dict.fromkeys(range(90, 120), 227)
    return large.get(card, 99) * 1024


def has(compiler: str) -> bool:
    """Whether this version of JAX has a compiler of kernels."""
    try:
        importlib.import_module(f"jax.experimental.pallas.{compiler}")
    except ImportError:
        return False
    return True


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

    compiler: Any = importlib.import_module(f"jax.experimental.pallas.{plan.compiler}")
    closed = flat(jaxpr)
    flags: Any = kernel.rows
    first, count = num_consts + num_carry, args[num_consts].shape[0]
    avals, outs, weights = closed.in_avals, closed.out_avals, parts.matrices(closed)
    part, tile = plan.part, plan.tile
    shape = (tile,) if plan.rows is None else (plan.rows, tile)

    def kind(a: Any) -> Any:
        return jnp.dtype(jnp.int32) if a.dtype == bool else a.dtype

    def flattened(i: int, a: Any) -> Any:
        lead = a.shape[: a.ndim - avals[i].ndim]
        return stored(a) if closed.jaxpr.invars[i] in weights else stored(a).reshape(*lead, -1)

    def own(a: Any, flag: bool) -> bool:
        return flag and size(a) > 1 and a.dtype != bool

    args = tuple(flattened(i, a) for i, a in enumerate(args))
    xs = [jax.ShapeDtypeStruct((length, size(a)), kind(a)) for a in avals[first:]]
    ys = [jax.ShapeDtypeStruct((size(a),), kind(a)) for a in outs[num_carry:]]
    # What a thread overwrites no other thread may still have to read. Units of a row belong to one
    # thread each. Of whole rows threads share what they read, and wait for each other in products.
    apart = bool(weights) or (plan.rows is None and part % tile == 0)
    place = places(
        ys, xs, tuple(i for i in free if apart and own(avals[first + i], flags[first + i]))
    )
    shapes = [
        jax.ShapeDtypeStruct((*[length] * (j >= num_carry), count, size(a)), kind(a))
        for j, a in enumerate(outs)
    ]

    def body(*refs: Any) -> None:
        row, offset = pl.program_id(0), pl.program_id(1) * tile
        # Rows behind the last one are the last one again, and so are units: computed again.
        if plan.rows is not None:
            row = jnp.minimum(row * plan.rows + jax.lax.iota(jnp.int32, plan.rows), count - 1)

        def columns(start: int) -> Any:
            if part % tile == 0:
                return pl.ds(start + offset, tile)
            return start + jnp.minimum(offset + jax.lax.iota(jnp.int32, tile), part - 1)

        def places_in(width: int) -> list:
            """For each part of a value its place in memory."""
            if width == 1:
                return [0 if plan.rows is None else pl.ds(0, 1)]
            return [columns(start) for start in range(0, width, part)]

        def of_rows(column: Any) -> tuple:
            if plan.rows is None or isinstance(column, pl.Slice):
                return row, column
            return row[:, None], column[None, :]

        def matrix(i: int) -> list:
            """Its rows of parts; what a product should not count twice is zero."""
            ks, ns = map(places_in, avals[i].shape)
            if part % tile == 0:
                return [[refs[i][k, n] for n in ns] for k in ks]
            inside = jax.lax.iota(jnp.int32, tile)[:, None] < part
            return [[jnp.where(inside, refs[i][k[:, None], n[None]], 0) for n in ns] for k in ks]

        def values(i: int, *when: Any) -> list:
            """The parts of an argument."""
            ref, a = refs[i], avals[i]
            if closed.jaxpr.invars[i] in weights:
                return matrix(i)
            found = places_in(size(a))
            if flags[i]:
                found = [ref[(*when, *of_rows(c))] for c in found]
            else:
                found = [ref[(*when, c)] for c in found]
                found = found if plan.rows is None else [p.reshape(1, -1) for p in found]
            return [p != 0 for p in found] if a.dtype == bool else found

        def write(j: int, value: list, *when: Any) -> None:
            for c, p in zip(places_in(size(outs[j])), value, strict=True):
                p = jnp.broadcast_to(p, shape_of(outs[j]))
                refs[len(args) + j][(*when, *of_rows(c))] = stored(p)

        def shape_of(a: Any) -> tuple[int, ...]:
            return shape if size(a) > 1 else shape[:-1] + (1,) * (plan.rows is not None)

        def rows(n: Any, many: int, k: Any) -> list:
            """The rows of many steps, from step n + k * many on."""
            times = [when(n + k * many + m) for m in range(many)]
            return [[values(i, t) for i in range(first, len(args))] for t in times]

        def when(n: Any) -> Any:
            return length - 1 - n if reverse else n

        def steps(state: list, n: int, many: int, times: int) -> list:
            """The state after so many times many steps, from step n on."""

            def some(k: Any, both: Any) -> Any:
                state, now = both
                ahead = rows(n, many, jnp.minimum(k + 1, times - 1))
                for m, row in enumerate(now):
                    results = parts.run(closed, part, shape, [*consts, *state, *row])
                    state = [
                        [jnp.broadcast_to(p, shape_of(a)) for p in value]
                        for value, a in zip(results[:num_carry], outs, strict=False)
                    ]
                    for j in range(num_carry, len(outs)):
                        write(j, results[j], when(n + k * many + m))
                return state, ahead

            return jax.lax.fori_loop(0, times, some, (state, rows(n, many, 0)))[0]

        consts = [values(i) for i in range(num_consts)]
        whole, rest = divmod(length, plan.ahead)
        state = steps([values(i) for i in range(num_consts, first)], 0, plan.ahead, whole)
        state = steps(state, whole * plan.ahead, 1, rest) if rest else state
        for j, value in enumerate(state):
            write(j, value)

    if plan.compiler == "triton":
        options, spec = compiler.CompilerParams(num_warps=plan.warps, num_stages=1), pl.BlockSpec()
    else:
        # A thread reads and writes its own units alone: it has nobody to wait for.
        options = compiler.CompilerParams(unsafe_no_auto_barriers=True)
        spec = pl.BlockSpec(memory_space=compiler.GMEM)
    blocks = (count, -(-part // tile)) if plan.rows is None else (-(-count // plan.rows), 1)
    results = pl.pallas_call(
        body,
        out_shape=shapes,
        grid=blocks,
        in_specs=[spec] * len(args),
        out_specs=[spec] * len(outs),
        input_output_aliases={first + i: num_carry + j for j, i in place.items()},
        compiler_params=options,
        interpret=kernel.interpret,
        name="loop",
    )(*args)
    lead = [() if j < num_carry else (length,) for j in range(len(outs))]
    return [
        r.reshape(*n, count, *a.shape).astype(a.dtype)
        for r, n, a in zip(results, lead, outs, strict=True)
    ]
