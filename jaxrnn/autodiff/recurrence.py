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
from jaxrnn.autodiff.loop import loop
from jaxrnn.autodiff.products import over_rows
from jaxrnn.autodiff.step import Step, Sum, inexact, traced
from jaxrnn.autodiff.tangent_step import TangentStep


@dataclasses.dataclass(frozen=True, eq=False)
class Recurrence:
    """The static part of a recurrence."""

    step: Step
    length: Any
    reverse: bool
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
    params, state, zs = vary_alike(params, state, zs)

    def body(state: Any, z: Any) -> tuple[Any, Any]:
        state = step(params, state, z, Dot(params))
        return state, state

    if debugging():
        return jax.lax.scan(
            body, state, zs, None if jax.tree.leaves(zs) else length, reverse, unroll
        )
    (consts, tree), (carry, state_tree), (rows, z_tree) = map(jax.tree.flatten, (params, state, zs))

    def flat(consts: list, carry: list, row: list) -> list:
        p = tree.unflatten(consts)
        new = step(p, state_tree.unflatten(carry), z_tree.unflatten(row), Dot(p))
        return state_tree.flatten_up_to(new)

    found = traced(flat, consts, carry, rows, always=kernel is not None)
    if found is None:
        return jax.lax.scan(
            body, state, zs, None if jax.tree.leaves(zs) else length, reverse, unroll
        )
    consts, inner = found
    last, states = deferred(Recurrence(inner, length, reverse, unroll, kernel), consts, carry, rows)
    return state_tree.unflatten(last), state_tree.unflatten(states)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def deferred(static: Recurrence, consts: list, carry: list, rows: list) -> tuple[list, list]:
    """The last state and all states, with a derivative of its own."""
    last, states, _ = forward(static, [], consts, carry, rows)
    return last, states


def forward(
    static: Recurrence, keep: list[Variable], consts: list, carry: list, rows: list
) -> tuple[list, list, dict[Variable, jax.Array]]:
    """The last state, all states, and for every variable to be kept its values at all steps."""
    step = static.step
    inside = [v for v in keep if v not in step.rows]

    def body(consts: list, carry: list, row: list) -> tuple[list, list]:
        new, kept = step(consts, carry, row, inside)
        return new, [*new, *kept]

    free = [i for i, v in enumerate(step.rows) if v not in keep]
    options = (static.length, static.reverse, static.unroll, free, static.kernel)
    last, ys = loop(body, consts, carry, rows, *options)
    kept = dict(zip(step.rows, rows, strict=True))
    return last, ys[: len(carry)], kept | dict(zip(inside, ys[len(carry) :], strict=True))


@partial(deferred.defjvp, symbolic_zeros=True)
def deferred_jvp(static: Recurrence, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """The derivative of `deferred`: a forward loop that keeps values, then a linear loop."""
    step, length, (consts, carry, rows) = static.step, static.length, primals
    values = dict(zip(step.consts, consts, strict=True))
    dconsts = nonzero(step.consts, tangents[0])
    drows = nonzero(step.rows, tangents[2])
    moving = [s for s in step.sums if dconsts.keys() & s.params]
    found = (e for s in moving for e, *_ in s.products if e.invars[1] in dconsts)
    inputs = dict.fromkeys(e.invars[0] for e in found)  # in order: equal programs have one cache

    # A z that is only added to a sum takes the sum's p_t into its tangent.
    taken = {s.z: s for s in moving if s.z is not None}
    apart = [s for s in moving if s.z is None]
    dz = [v for v in step.rows if v in drows or v in taken]
    dsums = [s.var for s in apart]
    loose = [use for use in step.loose if dconsts.keys() & use.params]
    inner = TangentStep.of(step, (consts, carry, rows), list(dconsts), dz, dsums, loose)

    keep = [v for v in dict.fromkeys((*inner.kept, *inputs)) if v not in values]
    last, states, kept = forward(static, keep, consts, carry, rows)
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

    def body(consts: list, carry: list, row: list) -> tuple[list, list]:
        new = inner(consts, carry, row)
        return new, new

    dlast, dstates = loop(
        body,
        [*(values[v] for v in inner.consts), *(dconsts[v] for v in inner.dconsts)],
        [
            jnp.zeros_like(a) if isinstance(d, SymbolicZero) else d
            for a, d in zip(carry, tangents[1], strict=True)
            if inexact(a)
        ],
        [*(kept[v] for v in inner.kept), *(drows[v] for v in inner.drows)],
        length,
        static.reverse,
        static.unroll,
        free=[i for i, v in enumerate(inner.kept) if v not in inputs],
        kernel=static.kernel,
    )
    return (last, states), (with_float0(last, dlast), with_float0(states, dstates))


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
