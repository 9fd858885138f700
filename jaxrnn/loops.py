"""A loop over time that writes its results into the memory of its inputs.

`lax.scan` fills arrays of its own with zeros, writes into them, and copies them; its gradient keeps whatever autodiff happens to need. `loop` is
`lax.scan` with two more promises: rows of `ys` may be written where rows of `xs` were, and a loop that is linear in some of its arguments has a
transpose that recomputes the rest from what it is given. Differentiated, it is differentiated as `lax.scan` is, in every mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
from jax.core import ShapedArray, Tracer, eval_jaxpr
from jax.interpreters import ad, batching, mlir

from jaxrnn.lowering import Shape, written

Leaves = list
Body = Callable[[Leaves, Leaves, Leaves], tuple[Leaves, Leaves]]  # body(consts, carry, x) -> (carry, y)


def loop(
    body: Body,
    consts: Leaves,
    carry: Leaves,
    xs: Leaves,
    length: int,
    reverse: bool = False,
    unroll: int = 1,
    reuse: Sequence[tuple[int, int]] = (),
    linear: Sequence[list[bool]] | None = None,
) -> tuple[Leaves, Leaves]:
    """`carry, ys_t = body(consts, carry, xs_t)` for all t: the last carry and all ys. All are lists of arrays.

    `reuse` holds pairs `(i, j)`: `ys[j]` may be written over `xs[i]`. With `linear`, flags for all of consts, carry and xs, the loop is linear in
    what is flagged, which must be all of the carry, and `reuse` says that the cotangent of `xs[j]` may be written over `xs[i]`.
    """
    counts = len(consts), len(consts) + len(carry)

    def flat(*args: Any) -> list:
        carry, ys = body(list(args[: counts[0]]), list(args[counts[0] : counts[1]]), list(args[counts[1] :]))
        return [*carry, *ys]

    specs = [_spec(a) for a in (*consts, *carry)] + [_spec(x, row=True) for x in xs]
    step = jax.make_jaxpr(flat)(*specs)
    closed = list(step.consts) if any(isinstance(c, Tracer) for c in step.consts) else []
    if closed:  # what the body closes over becomes a constant like the others
        n, inner = len(closed), step.jaxpr
        step = jax.make_jaxpr(lambda *args: eval_jaxpr(inner, args[:n], *args[n:]))(*map(_spec, closed), *specs)
    flags = () if linear is None else (*[False] * len(closed), *chain(*linear))
    shape = Shape(step, len(closed) + len(consts), len(carry), length, reverse, unroll, tuple(reuse), flags)
    outs = loop_p.bind(*closed, *consts, *carry, *xs, shape=shape)
    return outs[: len(carry)], outs[len(carry) :]


def _spec(a: Any, row: bool = False) -> Any:
    return jax.ShapeDtypeStruct(a.shape[row:], a.dtype)


def scanned(*args: Any, shape: Shape) -> list:
    """The same as `lax.scan`, whose derivatives JAX knows."""
    consts, carry, xs = shape.split(args)
    carry, ys = jax.lax.scan(lambda c, x: shape.step(consts, c, x), carry, xs, shape.length, shape.reverse, shape.unroll)
    return [*carry, *ys]


def _shapes(*args: Any, shape: Shape) -> list:
    carry = [ShapedArray(a.shape, a.dtype) for a in shape.body.out_avals[: shape.carry]]
    return carry + [ShapedArray((shape.length, *a.shape), a.dtype) for a in shape.rows()]


def _jvp(primals: tuple, tangents: tuple, *, shape: Shape) -> tuple[list, list]:
    moving = [i for i, d in enumerate(tangents) if type(d) is not ad.Zero]
    if shape.linear and all(shape.linear[i] for i in moving):
        given = [ad.instantiate_zeros(d) if flag else a for a, d, flag in zip(primals, tangents, shape.linear, strict=True)]
        return loop_p.bind(*primals, shape=shape), loop_p.bind(*given, shape=shape)

    def moved(*values: Any) -> list:
        args = list(primals)
        for i, value in zip(moving, values, strict=True):
            args[i] = value
        return scanned(*args, shape=shape)

    outs, made = jax.jvp(moved, [primals[i] for i in moving], [tangents[i] for i in moving])
    return outs, [ad.Zero(jax.typeof(x).to_tangent_aval()) if d.dtype == jax.dtypes.float0 else d for x, d in zip(outs, made, strict=True)]


def _batched(args: tuple, axes: tuple, *, shape: Shape) -> tuple[list, list]:
    """The steps are batched, not the loop: time stays first."""
    size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    last = shape.consts + shape.carry
    moved, inside = [], []
    for i, (a, axis) in enumerate(zip(args, axes, strict=True)):
        to = 0 if i < last else 1
        if axis is None and shape.consts <= i < last:
            a, axis = jnp.broadcast_to(a, (size, *a.shape)), 0
        moved.append(a if axis is None else jnp.moveaxis(a, axis, to))
        inside.append(None if axis is None else 0)
    body = jax.make_jaxpr(jax.vmap(jax.extend.core.jaxpr_as_fun(shape.body), inside))(*[_spec(a, i >= last) for i, a in enumerate(moved)])
    outs = loop_p.bind(*moved, shape=shape._replace(body=body))
    return outs, [0] * shape.carry + [1] * (len(outs) - shape.carry)


def _transposed(cts: Sequence, *args: Any, shape: Shape) -> list:
    consts, carry, xs = shape.split(range(len(args)))
    given = {i: a for i, a in enumerate(args) if not shape.linear[i]}
    fixed = [i for i in consts if i in given], [i for i in xs if i in given]
    moved = [i for i in consts if i not in given], [i for i in xs if i not in given]
    avals = shape.body.in_avals
    arrived = [j for j, ct in enumerate(cts) if j >= shape.carry and type(ct) is not ad.Zero]  # the ys whose cotangent is not zero

    def body(consts: list, state: list, x: list) -> tuple[list, list]:
        ct, sums = state[: shape.carry], state[shape.carry :]
        known = dict(zip((*fixed[0], *fixed[1]), (*consts, *x[: len(fixed[1])]), strict=True))

        def forward(*linear: Any) -> list:
            values = known | dict(zip((*moved[0], *carry, *moved[1]), linear, strict=True))
            outs = jax.extend.core.jaxpr_as_fun(shape.body)(*[values[i] for i in range(len(args))])
            return [*outs[: shape.carry], *[outs[j] for j in arrived]]

        specs = [_spec(avals[i]) for i in (*moved[0], *carry, *moved[1])]
        back = jax.linear_transpose(forward, *specs)([*ct, *x[len(fixed[1]) :]])
        a, b = len(moved[0]), len(moved[0]) + shape.carry
        return [*back[a:b], *[s + d for s, d in zip(sums, back[:a], strict=True)]], list(back[b:])

    state = [ad.instantiate_zeros(ct) for ct in cts[: shape.carry]] + [jnp.zeros(avals[i].shape, avals[i].dtype) for i in moved[0]]
    first = shape.consts + shape.carry
    reuse = [(fixed[1].index(first + i), moved[1].index(first + j)) for i, j in shape.reuse]
    rows = [given[i] for i in fixed[1]] + [cts[j] for j in arrived]
    made, ys = loop(body, [given[i] for i in fixed[0]], state, rows, shape.length, not shape.reverse, shape.unroll, reuse)
    back = dict(zip((*carry, *moved[0], *moved[1]), (*made, *ys), strict=True))
    return [back[i] if ad.is_undefined_primal(a) else None for i, a in enumerate(args)]


loop_p = jax.extend.core.Primitive("loop")
loop_p.multiple_results = True
loop_p.def_impl(jax.jit(lambda *args, shape: loop_p.bind(*args, shape=shape), static_argnames="shape"))
loop_p.def_abstract_eval(_shapes)
mlir.register_lowering(loop_p, mlir.lower_fun(partial(written, fenced=True), multiple_results=True), platform="cpu")
mlir.register_lowering(loop_p, mlir.lower_fun(partial(written, fenced=False), multiple_results=True))
ad.primitive_jvps[loop_p] = _jvp
ad.primitive_transposes[loop_p] = _transposed
batching.primitive_batchers[loop_p] = _batched
