"""The loop over time and its derivative.

`jax.grad` of `lax.scan` carries the gradient of every recurrent weight, `[H, G*H]`, through the
whole reverse loop, with one small product and one large addition a step. It also keeps all that
the backward pass reads, a dozen arrays `[T, B, H]` for an LSTM. Here

    s_t = f(w, s_{t-1}, z_t),   and within f sums   u_t = x_t w + b + ...   of products with params

has the tangent, with the step's own tangent map f' at the point (s_{t-1}, z_t, u_t),

    ds_t = f'(ds_{t-1}, dz_t, du_t),   du_t = dx_t w + p_t,   p_t = x_t dw + db.

The x_t are known once the forward loop has run, so p is one product for all steps, outside the
loop, and JAX transposes it into one product too: dw = sum_t x_t^T p_t. Within the loop the weights
are constants. f' needs no product of the forward pass again: it is computed from the kept u_t.

- The forward loop keeps s_{t-1} and u_t, as far as f' needs them, and x_t where it is no state.
  A z that the step only adds to a sum is not kept: u_t overwrites it.
- The tangent loop is linear; transposed, it computes what f' needs again, step by step, and writes
  the cotangent of p_t, which is that of such a z_t too, over u_t.

As a `custom_jvp` it serves every mode of differentiation. Its price: `jvp` alone stores O(T).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxrnn.autodiff._jax import Variable, debugging, evaluate, vary_alike
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.kernels.rows import Kernel
from jaxrnn.autodiff.loop import loops
from jaxrnn.autodiff.products import over_rows
from jaxrnn.autodiff.step import Step, Sum, inexact, traced
from jaxrnn.autodiff.tangent_step import TangentStep

Member = tuple[list, list, list]  # the constants, the state to begin with, and the rows of zs


@dataclasses.dataclass(frozen=True, eq=False)
class Recurrence:
    """The static part of a recurrence, of one or several members."""

    step: Step
    length: Any
    reverse: tuple[bool, ...]
    unroll: int
    kernel: Kernel | None


def recurrence(
    step: Callable,
    params: Any,
    state: Any,
    zs: Any,
    length: Any,
    reverse: bool = False,
    unroll: int = 1,
    kernel: Kernel | None = None,
) -> tuple[Any, Any]:
    """`state_t = step(params, state_{t-1}, zs_t, dot)` for all t: the last state and all states.

    Reversed, t runs from T-1 to 0; `zs_t` and the states `[T, ...]` keep their places.
    """
    return recurrences(step, [(params, state, zs)], length, (reverse,), unroll, kernel)[0]


def recurrences(
    step: Callable,
    members: Sequence[tuple[Any, Any, Any]],
    length: Any,
    reverse: tuple[bool, ...],
    unroll: int = 1,
    kernel: Kernel | None = None,
) -> list[tuple[Any, Any]]:
    """The recurrences of one step over the params, state and zs of each member, each in a direction
    of its own. Where these are of the same shapes, a GPU runs them as one loop.
    """
    members = vary_alike(*members)
    flat = [tuple(map(jax.tree.flatten, member)) for member in members]
    kinds = [[(tree, [*map(jax.typeof, leaves)]) for leaves, tree in groups] for groups in flat]
    if any(kind != kinds[0] for kind in kinds):
        pairs = zip(members, reverse, strict=True)
        return [recurrence(step, *m, length, back, unroll, kernel) for m, back in pairs]

    def scan(params: Any, state: Any, zs: Any, reverse: bool) -> tuple[Any, Any]:
        def body(state: Any, z: Any) -> tuple[Any, Any]:
            state = step(params, state, z, Dot(params))
            return state, state

        return jax.lax.scan(
            body, state, zs, None if jax.tree.leaves(zs) else length, reverse, unroll
        )

    tree, state_tree, z_tree = (tree for _, tree in flat[0])

    def step_of_leaves(consts: list, carry: list, row: list) -> list:
        p = tree.unflatten(consts)
        new = step(p, state_tree.unflatten(carry), z_tree.unflatten(row), Dot(p))
        return state_tree.flatten_up_to(new)

    leaves: list = [tuple(leaves for leaves, _ in groups) for groups in flat]
    found = None if debugging() else traced(step_of_leaves, leaves, always=kernel is not None)
    if found is None:
        return [scan(*member, back) for member, back in zip(members, reverse, strict=True)]
    consts, inner = found
    static = Recurrence(inner, length, reverse, unroll, kernel)
    given = [(values, *rest) for values, (_, *rest) in zip(consts, leaves, strict=True)]
    return [tuple(map(state_tree.unflatten, out)) for out in deferred(static, given)]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def deferred(static: Recurrence, members: list[Member]) -> list[tuple[list, list]]:
    """The last state and all states of each member, with a derivative of their own."""
    return [(last, states) for last, states, _ in forward(static, [], members)]


def forward(
    static: Recurrence, keep: list[Variable], members: list[Member]
) -> list[tuple[list, list, dict[Variable, jax.Array]]]:
    """For each member the last state, all states, and for every variable to be kept its values at
    all steps.
    """
    step = static.step
    inside = [v for v in keep if v not in step.rows]

    def body(consts: list, carry: list, row: list) -> tuple[list, list]:
        new, kept = step(consts, carry, row, inside)
        return new, [*new, *kept]

    free = [i for i, v in enumerate(step.rows) if v not in keep]
    options = (static.length, static.reverse, static.unroll, free, static.kernel)
    outs, n = [], len(step.carry)
    for (*_, rows), (last, ys) in zip(members, loops(body, members, *options), strict=True):
        kept = dict(zip((*step.rows, *inside), (*rows, *ys[n:]), strict=True))
        outs.append((last, ys[:n], kept))
    return outs


@partial(deferred.defjvp, symbolic_zeros=True)
def deferred_jvp(static: Recurrence, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """The derivative of `deferred`: a forward loop that keeps values, then a linear loop."""
    step, length, [members], [dots] = static.step, static.length, primals, tangents
    moves = [(nonzero(step.consts, d[0]), nonzero(step.rows, d[2])) for d in dots]
    if any([list(dw), list(dz)] != [*map(list, moves[0])] for dw, dz in moves):  # other loops
        outs: list = []
        for member, d, back in zip(members, dots, static.reverse, strict=True):
            alone = dataclasses.replace(static, reverse=(back,))
            outs.append([one for [one] in deferred_jvp(alone, ([member],), ([d],))])
        return tuple(map(list, zip(*outs, strict=True)))
    dconsts, drows = moves[0]
    moving = [s for s in step.sums if dconsts.keys() & s.params]
    found = (e for s in moving for e, *_ in s.products if e.invars[1] in dconsts)
    inputs = dict.fromkeys(e.invars[0] for e in found)  # in order: equal programs have one cache

    # A z that is only added to a sum takes the sum's p_t into its tangent.
    taken = {s.z: s for s in moving if s.z is not None}
    apart = [s for s in moving if s.z is None]
    dz = [v for v in step.rows if v in drows or v in taken]
    dsums = [s.var for s in apart]
    loose = [use for use in step.loose if dconsts.keys() & use.params]
    inner = TangentStep.of(step, members[0], list(dconsts), dz, dsums, loose)

    keep = [v for v in dict.fromkeys((*inner.kept, *inputs)) if v not in step.consts]
    made = forward(static, keep, members)

    def linear(member: Member, d: Member, move: tuple[dict, dict], kept: dict) -> Member:
        """What the linear loop of a member reads."""
        (consts, carry, _), (dconsts, drows) = member, move
        values = dict(zip(step.consts, consts, strict=True))
        for v in inputs.keys() & values.keys():
            kept[v] = jnp.broadcast_to(values[v], (length, *values[v].shape))

        def p(s: Sum) -> jax.Array:
            return perturbation(step, s, values, dconsts, kept, length)

        drows |= {z: drows[z] + p(s) if z in drows else p(s) for z, s in taken.items()}
        drows |= {s.var: p(s) for s in apart}
        shifts = shifted(step, [use.var for use in loose], values, dconsts)
        drows |= {
            use: jnp.broadcast_to(d, (length, *use.aval.shape))
            for use, d in zip(loose, shifts, strict=True)
        }
        dcarry = [
            jnp.zeros_like(a) if isinstance(d, SymbolicZero) else d
            for a, d in zip(carry, d[1], strict=True)
            if inexact(a)
        ]
        return (
            [*(values[v] for v in inner.consts), *(dconsts[v] for v in inner.dconsts)],
            dcarry,
            [*(kept[v] for v in inner.kept), *(drows[v] for v in inner.drows)],
        )

    def body(consts: list, carry: list, row: list) -> tuple[list, list]:
        new = inner(consts, carry, row)
        return new, new

    kept = [k for *_, k in made]
    found = loops(
        body,
        [linear(*of) for of in zip(members, dots, moves, kept, strict=True)],
        length,
        static.reverse,
        static.unroll,
        free=[i for i, v in enumerate(inner.kept) if v not in inputs],
        kernel=static.kernel,
    )
    return [(last, states) for last, states, _ in made], [
        (with_float0(last, dlast), with_float0(states, dstates))
        for (last, states, _), (dlast, dstates) in zip(made, found, strict=True)
    ]


def nonzero(names: list[Variable], tangents: list) -> dict[Variable, Any]:
    """The tangents that are not known to be zero, by the names of their variables."""
    return {v: d for v, d in zip(names, tangents, strict=True) if not isinstance(d, SymbolicZero)}


def perturbation(
    step: Step, s: Sum, values: dict, dconsts: dict, kept: dict, length: Any
) -> jax.Array:
    """`p_t = x_t dw + db` of a sum, for all steps."""
    terms = []
    for eqn, start, stop in s.products:
        x, w = eqn.invars
        if w in dconsts:
            dw = dconsts[w]
            whole = (start, stop) == (0, dw.shape[1])
            terms.append(over_rows(eqn, kept[x], dw if whole else dw[:, start:stop]))
    if dconsts.keys() & s.addends:
        varied = {v: d for v, d in dconsts.items() if v in s.addends}
        terms += shifted(step, s.invariants, values, varied)
    total = sum(terms[1:], terms[0])
    return jnp.broadcast_to(total, (length, *s.var.aval.shape))


def shifted(step: Step, invariants: Sequence[Variable], values: dict, dconsts: dict) -> list:
    """The tangents of invariants of the step."""

    def added(*some: Any) -> list:
        env = values | dict(zip(dconsts, some, strict=True))
        evaluate(step.invariant, env)
        return [env[v] for v in invariants]

    return jax.jvp(added, [values[v] for v in dconsts], list(dconsts.values()))[1]


def with_float0(like: list, tangents: list) -> list:
    """The tangents of all leaves; those of integers and booleans are of dtype float0."""
    given = iter(tangents)
    return [next(given) if inexact(a) else np.zeros(a.shape, jax.dtypes.float0) for a in like]
