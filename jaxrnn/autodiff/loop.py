"""A loop over time that may write its results into the memory of its inputs.

`loop_p` means what `lax.scan` means, as `scanned` defines it; only its lowering on one CPU device
(`in_place.py`), on one GPU (`in_blocks.py`) and as one kernel (`kernels/`) differs. For a scan's
results XLA fills new arrays with zeros and copies rows into them; here rows of `ys` may overwrite
rows of `xs`.

Three rules are not those of `lax.scan`:

- transposed, a loop runs the other way with its steps transposed one by one. A step computes its
  primal values again from its rows, where the partial evaluation of a scan would store them all;
- invariant equations of a step, transposed weights among them, leave the loop when it is built;
- under `vmap` the steps are batched, as a scan's are, but time stays first and `free` is kept.

Differentiated once more, it is the scan that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp

from jaxrnn.autodiff._jax import (
    ClosedJaxpr,
    ad,
    batching,
    derived_jvp,
    evaluate,
    lowered,
    primitive,
    prunable,
    read,
    row_of,
    rows_of,
    trace,
    typed_zeros,
)
from jaxrnn.autodiff.hoist import before_loop
from jaxrnn.autodiff.in_blocks import in_blocks
from jaxrnn.autodiff.in_place import in_place
from jaxrnn.autodiff.kernels.lowering import fused
from jaxrnn.autodiff.kernels.rows import ROWS, Kernel, plain
from jaxrnn.autodiff.members import as_one, each, shares
from jaxrnn.autodiff.prune import pruned

Leaves = list
Body = Callable[[Leaves, Leaves, Leaves], tuple[Leaves, Leaves]]  # (consts, carry, x) -> (carry, y)


def loop(
    body: Body,
    consts: Leaves,
    carry: Leaves,
    xs: Leaves,
    length: Any,
    reverse: bool = False,
    unroll: int = 1,
    free: Sequence[int] = (),
    kernel: Kernel | None = None,
) -> tuple[Leaves, Leaves]:
    """`carry, y_t = body(consts, carry, x_t)` for all t: the last carry and all ys.

    `free` names the xs that nothing reads after the loop: ys of their shape may take their place.
    With `kernel`, an accelerator runs the whole loop as one kernel, if it can.
    """
    return loops(body, [(consts, carry, xs)], length, (reverse,), unroll, free, kernel)[0]


def loops(
    body: Body,
    members: Sequence[tuple[Leaves, Leaves, Leaves]],
    length: Any,
    reverse: tuple[bool, ...],
    unroll: int = 1,
    free: Sequence[int] = (),
    kernel: Kernel | None = None,
) -> list[tuple[Leaves, Leaves]]:
    """The loops of one body over the consts, carry and xs of each member, of the same shapes, each
    in a direction of its own. A GPU may run them as one.
    """
    consts, carry, xs = members[0]
    n, rows = len(carry), [row_of(x) for x in xs]
    closed = trace(lambda *args: tuple(map(list, body(*args))), consts, carry, rows)
    jaxpr = closed.jaxpr
    shared = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    made = [
        before_loop(jaxpr.eqns, shared | dict(zip(jaxpr.invars, k, strict=False)), jaxpr.outvars)
        for k, *_ in members
    ]
    args = [
        a
        for (given, _), (_, carry, xs) in zip(made, members, strict=True)
        for a in (*given.values(), *carry, *xs)
    ]
    given, eqns = made[0]
    inner = jaxpr.replace(
        constvars=[],
        invars=[*given, *jaxpr.invars[len(consts) :]],
        eqns=eqns,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    outs = loop_p.bind(
        *args,
        jaxpr=ClosedJaxpr(inner, []),
        num_consts=len(given),
        num_carry=n,
        length=length,
        reverse=reverse,
        unroll=unroll,
        free=tuple(free),
        kernel=kernel,
    )
    return [(some[:n], some[n:]) for some in shares(outs, len(members))]


def parts(args: Sequence, num_consts: int, num_carry: int) -> list[list]:
    """Constants, carry and xs."""
    return [
        list(args[a:b]) for a, b in pairwise((0, num_consts, num_consts + num_carry, len(args)))
    ]


def scanned(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: Any,
    reverse: bool,
    unroll: int,
    free: tuple,
    members: int | None = None,
) -> list:
    """The meaning of the primitive, for each member: a `lax.scan`. As one, they have the first axis
    of each row, const and carry.
    """
    consts, carry, xs = parts(args, num_consts, num_carry)
    step = jax.extend.core.jaxpr_as_fun(jaxpr)
    step = step if members is None else jax.vmap(step)

    def body(carry: list, x: list) -> tuple[list, list]:
        outs = step(*consts, *carry, *x)
        return outs[:num_carry], outs[num_carry:]

    # Where there are xs, lax.scan reads the length from them: it takes no symbol as a length.
    carry, ys = jax.lax.scan(body, carry, xs, None if xs else length, reverse, unroll)
    return [*carry, *ys]


def _abstract(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: Any,
    reverse: tuple[bool, ...],
    kernel: Kernel | None,
    **_: Any,
) -> list:
    outs = jaxpr.out_avals
    if kernel is not None and kernel.rows is not None:
        outs = [rows_of(args[num_consts].shape[0], a) for a in outs]
    return [*outs[:num_carry], *(rows_of(length, y) for y in outs[num_carry:])] * len(reverse)


def _batched(
    axis: Any,
    args: tuple,
    dims: tuple,
    *,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    reverse: tuple[bool, ...],
    kernel: Kernel | None,
    **params: Any,
) -> tuple[list, list]:
    params |= {"num_consts": num_consts, "num_carry": num_carry, "reverse": reverse}
    if all(dim is None for dim in dims):
        outs = loop_p.bind(*args, jaxpr=jaxpr, kernel=kernel, **params)
        return outs, [None] * len(outs)
    size = len(args) // len(reverse)  # of one member; what one has an axis in, all have
    first_x, moved, batched = num_consts + num_carry, [], []
    alike = [any(dim is not None for dim in dims[i::size]) for i in range(size)]
    rows = kernel.rows if kernel is not None and kernel.rows else (False,) * len(args)
    # More rows of the same: all that differs between them has an axis of rows already.
    joined = any(rows) and all(row for row, dim in zip(rows, dims, strict=True) if dim is not None)
    joined = joined and axis.explicit_mesh_axis is None
    for k, (a, dim) in enumerate(zip(args, dims, strict=True)):
        i = k % size
        if dim is None and (num_consts <= i < first_x or alike[i]):
            a, dim = batching.broadcast(a, axis.size, 0, axis.explicit_mesh_axis), 0
        place = int(i >= first_x) + (rows[i] and not joined)
        moved.append(a if dim is None else jnp.moveaxis(a, dim, place))
        batched.append(dim is not None)
    if joined:
        return _more_rows(axis.size, moved, batched, jaxpr=jaxpr, kernel=kernel, **params)
    if kernel is not None and axis.name == ROWS:
        kernel = kernel._replace(rows=tuple(batched))  # it has one member
        outs = loop_p.bind(*moved, jaxpr=jaxpr, kernel=kernel, **params)
        behind = 0
    else:
        body, _ = batching.batch_jaxpr(jaxpr, axis, batched[:size], instantiate=True)
        outs = loop_p.bind(*moved, jaxpr=body, kernel=kernel, **params)
        behind = int(any(rows))
    ys = len(outs) // len(reverse) - num_carry
    return outs, ([behind] * num_carry + [1 + behind] * ys) * len(reverse)


def _more_rows(size: int, args: list, batched: list, **params: Any) -> tuple[list, list]:
    """A loop of rows under a `vmap` that stands before its axis of rows, as one of more rows."""
    first_x, flags = params["num_consts"] + params["num_carry"], params["kernel"].rows

    def joined(i: int, a: Any) -> Any:
        at = int(i >= first_x)
        if not batched[i]:
            a = jnp.broadcast_to(jnp.expand_dims(a, at), (*a.shape[:at], size, *a.shape[at:]))
        return a.reshape(*a.shape[:at], -1, *a.shape[at + 2 :])

    rows = [
        joined(i, a) if flag else a for i, (a, flag) in enumerate(zip(args, flags, strict=True))
    ]
    outs = loop_p.bind(*rows, **params)
    places = [int(j >= params["num_carry"]) for j in range(len(outs))]
    return [
        y.reshape(*y.shape[:at], size, -1, *y.shape[at + 1 :])
        for y, at in zip(outs, places, strict=True)
    ], places


# The loop is c', y = f(k, c, x), linear in some consts k, in the carry c and in some xs x; u are
# the rest. With cotangents of the last carry and of the ys it runs the other way: at every step the
# transpose of f(., ., .; u_t) takes the cotangents of c' and y to those of k, c and x. The
# cotangents of k add up.
def _transposed(
    cts: Sequence,
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: Any,
    reverse: tuple[bool, ...],
    unroll: int,
    free: tuple,
    kernel: Kernel | None,
) -> list:
    params: Any = {"jaxpr": jaxpr, "num_consts": num_consts, "num_carry": num_carry}
    params |= {"length": length, "reverse": reverse, "unroll": unroll, "free": free}
    if kernel is not None and kernel.rows is not None:
        return _transposed_rows(cts, args, kernel, params)
    groups = list(zip(shares(cts, len(reverse)), shares(args, len(reverse)), strict=True))
    if len({_asked(own[num_carry:], some) for own, some in groups}) > 1:  # other loops
        return [
            ct
            for (own, some), back in zip(groups, reverse, strict=True)
            for ct in _transposed(own, *some, kernel=kernel, **params | {"reverse": (back,)})
        ]
    first, size = num_consts + num_carry, len(jaxpr.in_avals)
    linear = [ad.is_undefined_primal(a) for a in args[:size]]
    consts, carry, xs = parts(range(size), num_consts, num_carry)
    u_consts, u_xs = ([i for i in group if not linear[i]] for group in (consts, xs))
    k, x = ([i for i in group if linear[i]] for group in (consts, xs))
    moving = [*k, *carry, *x]
    avals = jaxpr.in_avals
    outs = range(num_carry, len(jaxpr.out_avals))
    arrived = [j for j in outs if type(cts[j]) is not ad.Zero]

    def body(u_const: list, state: list, row: list) -> tuple[list, list]:
        ct, sums = state[:num_carry], state[num_carry:]
        u = dict(zip((*u_consts, *u_xs), (*u_const, *row[: len(u_xs)]), strict=True))

        def forward(*values: Any) -> list:
            ins = u | dict(zip(moving, values, strict=True))
            env = dict(zip(jaxpr.jaxpr.invars, [ins[i] for i in range(size)], strict=True))
            evaluate(jaxpr.eqns, env)
            outs = [read(env, v) for v in jaxpr.jaxpr.outvars]
            return [*outs[:num_carry], *[outs[j] for j in arrived]]

        back = jax.linear_transpose(forward, *[avals[i] for i in moving])
        dots = back([*ct, *row[len(u_xs) :]])
        dk, dc, dx = parts(dots, len(k), num_carry)
        return [*dc, *[s + d for s, d in zip(sums, dk, strict=True)]], dx

    members = []
    for own, some in groups:
        state = [ad.instantiate_zeros(ct) for ct in own[:num_carry]]
        state += [typed_zeros(avals[i]) for i in k]
        rows = [some[i] for i in u_xs] + [own[j] for j in arrived]
        members.append(([some[i] for i in u_consts], state, rows))
    left = [u_xs.index(first + i) for i in free if first + i in u_xs]
    turned = tuple(not back for back in reverse)
    backs = [
        dict(zip((*carry, *k, *x), (*last, *dxs), strict=True))
        for last, dxs in loops(body, members, length, turned, unroll, left, kernel)
    ]
    return [back.get(i) if linear[i] else None for back in backs for i in range(size)]


def _transposed_rows(cts: Sequence, args: tuple, kernel: Kernel, params: dict) -> list:
    """The same for a loop of rows: that of each row, under `vmap`. What all rows share gets a
    cotangent from each of them.
    """
    first, rows = params["num_consts"] + params["num_carry"], kernel.rows or ()
    linear = [ad.is_undefined_primal(a) for a in args]
    avals = [
        rows_of(params["length"], a) if i >= first else a
        for i, a in enumerate(params["jaxpr"].in_avals)
    ]
    arrived = [j for j, ct in enumerate(cts) if type(ct) is not ad.Zero]
    known = [i for i, ask in enumerate(linear) if not ask]
    asked = [i for i, ask in enumerate(linear) if ask]

    def axis(i: int, flag: bool = True) -> int | None:
        return int(i >= first) if flag else None

    def row(values: list, given: list) -> list:
        some = dict(zip(known, values, strict=True))
        ct = dict(zip(arrived, given, strict=True))
        back = _transposed(
            [ct.get(j, zero) for j, zero in enumerate(zeros)],
            *[some.get(i, ad.UndefinedPrimal(a)) for i, a in enumerate(avals)],
            kernel=kernel._replace(rows=None),
            **params,
        )
        return [back[i] for i in asked]

    outs = params["jaxpr"].out_avals
    zeros = [
        ad.Zero((a if j < params["num_carry"] else rows_of(params["length"], a)).to_ct_aval())
        for j, a in enumerate(outs)
    ]
    in_axes = (
        [axis(i, rows[i]) for i in known],
        [int(j >= params["num_carry"]) for j in arrived],
    )
    mapped = jax.vmap(row, in_axes, [axis(i) for i in asked], axis_name=ROWS)
    back = mapped([args[i] for i in known], [cts[j] for j in arrived])
    found = {i: ct if rows[i] else ct.sum(axis(i)) for i, ct in zip(asked, back, strict=True)}
    return [found.get(i) for i in range(len(args))]


def _asked(cts: Sequence, args: Sequence) -> tuple[tuple[bool, ...], ...]:
    """Which ys have a cotangent, and which arguments are asked for one."""
    arrived = tuple(type(ct) is not ad.Zero for ct in cts)
    return arrived, tuple(map(ad.is_undefined_primal, args))


loop_p = primitive("loop", multiple_results=True)
loop_p.def_abstract_eval(_abstract)
DEFAULT = each(plain(scanned))
PLATFORMS = {
    "cpu": each(fused(plain(in_place), "tpu", interpreted=True)),
    "cuda": as_one(fused(plain(in_blocks), "cuda")),
    "rocm": as_one(plain(in_blocks)),
    "tpu": as_one(fused(plain(scanned), "tpu")),
}
lowered(loop_p, DEFAULT, PLATFORMS)
prunable(loop_p, pruned)
ad.primitive_jvps[loop_p] = derived_jvp(DEFAULT)
ad.primitive_transposes[loop_p] = _transposed
batching.fancy_primitive_batchers[loop_p] = _batched
