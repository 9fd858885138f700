"""A step as its jaxpr: what is loop-invariant, which products wait until after the loop, and its
tangent computed again from what the loop kept.

    state' = step(params, state, z)

is traced once. Three things are read off the jaxpr, and nothing else is known of a cell:

- invariant equations depend on the params alone; they are computed once, before the loop;
- deferred products are `x @ w` with w such an invariant;
- the sum of a product is where it ends up if it is followed as long as it is only added to other
  things or cut into blocks of columns: `z + x @ w + b`, say. Sums are what the loop keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import (
    ClosedJaxpr,
    Equation,
    Var,
    Variable,
    bind,
    dce,
    evaluate,
    read,
    row_of,
    trace,
)
from jaxrnn.autodiff.hoist import before_loop
from jaxrnn.autodiff.products import over_rows, row_product


class Sum(NamedTuple):
    """A variable that products end in, and what was added on the way."""

    var: Variable
    products: tuple[tuple[Equation, int, int], ...]  # each with the columns `start` to `stop` of it
    invariants: tuple[Variable, ...]  # what was added and depends on constants alone
    addends: frozenset[Variable]  # these constants
    # A z that is read here only: its tangent serves for that of the products too.
    z: Variable | None

    @property
    def params(self) -> frozenset[Variable]:
        """The constants whose tangents reach the sum from outside the loop."""
        return self.addends | {eqn.invars[1] for eqn, *_ in self.products}


class Step(NamedTuple):
    """A step over `consts` (params and invariants), `carry` (the state) and `rows` (the z's)."""

    consts: list[Variable]
    carry: list[Variable]
    rows: list[Variable]
    eqns: list[Equation]
    outs: list[Any]
    invariant: tuple[Equation, ...] = ()  # those of `eqns` that depend on constants alone
    sums: tuple[Sum, ...] = ()
    # Pairs (id of an equation, variable that it reads) by which params enter a sum: their tangents
    # come from outside the loop.
    constant: frozenset[tuple[int, Variable]] = frozenset()

    def __call__(self, consts: list, carry: list, row: list, keep: list[Variable]) -> tuple:
        """The new state, and the values of the variables to be kept."""
        env = self.environment(consts, carry, row)
        evaluate(self.eqns, env, compute)
        return [read(env, v) for v in self.outs], [read(env, v) for v in keep]

    def tangent(self, given: dict[Variable, Any], dots: dict[Variable, Any]) -> list:
        """The tangents of the floating results.

        `given` has the values of constants, the state, the z's and the sums. `dots` has the
        tangents of some of them; that of a sum is what its params add to it.
        """
        fixed = {v: given[v] for v in self.consts}
        evaluate(self.invariant, fixed)
        sums = {s.var: given[s.var] for s in self.sums}

        def moved(*values: Any) -> list:
            some = dict(zip(dots, values, strict=True))
            env = given | {v: a for v, a in some.items() if v not in sums}
            for eqn in self.eqns:
                args = [
                    read(fixed if isinstance(v, Var) and (id(eqn), v) in self.constant else env, v)
                    for v in eqn.invars
                ]
                outs = compute(eqn, *args)
                for v, out in zip(eqn.outvars, outs, strict=True):
                    if v in sums:
                        out = known(sums[v], out + some[v] if v in some else out)
                    env[v] = out
            return [read(env, v) for v in self.outs if inexact(v.aval)]

        primals = [jnp.zeros_like(given[v]) if v in sums else given[v] for v in dots]
        return jax.jvp(moved, primals, list(dots.values()))[1]

    def environment(self, consts: list, carry: list, row: list) -> dict[Variable, Any]:
        names = (*self.consts, *self.carry, *self.rows)
        return dict(zip(names, (*consts, *carry, *row), strict=True))


class TangentStep(NamedTuple):
    """The tangent of a step, from values that the loop kept: `f'` in `recurrence.py`.

    It reads constants, kept values, the tangents of constants, and rows of tangents of z's and of
    sums. Each list has only what it needs.
    """

    closed: ClosedJaxpr
    consts: list[Variable]
    dconsts: list[Variable]
    kept: list[Variable]
    drows: list[Variable]
    dcarry: list[bool]  # which tangents of the state it reads

    def __call__(self, consts: list, dcarry: list, row: list) -> list:
        """The tangents of the new state; `consts` are followed by their tangents, as rows are."""
        n, k = len(self.consts), len(self.kept)
        dcarry = [d for d, used in zip(dcarry, self.dcarry, strict=True) if used]
        args = [*consts[:n], *row[:k], *consts[n:], *dcarry, *row[k:]]
        return jaxpr_as_fun(self.closed)(*args)

    @classmethod
    def of(
        cls,
        step: Step,
        primals: tuple,
        dconsts: list[Variable],
        drows: list[Variable],
        dsums: list[Variable],
    ) -> TangentStep:
        """The step for these tangents; `dsums` are sums whose tangents are inputs of their own."""
        consts, carry, rows = primals
        floats = [v for v in step.carry if inexact(v.aval)]
        sums = [s.var for s in step.sums]
        groups = (step.consts, [*step.carry, *step.rows, *sums], dconsts, floats, [*drows, *dsums])
        avals = {v: row_of(a) for v, a in zip(step.rows, rows, strict=True)}
        avals |= dict(
            zip((*step.consts, *step.carry), map(jax.typeof, (*consts, *carry)), strict=True)
        )

        def tangent(consts: list, kept: list, dconsts_: list, dcarry: list, drows_: list) -> list:
            given = dict(zip((*groups[0], *groups[1]), (*consts, *kept), strict=True))
            names = (*dconsts, *floats, *groups[4])
            dots = dict(zip(names, (*dconsts_, *dcarry, *drows_), strict=True))
            return step.tangent(given, dots)

        closed = trace(tangent, *[[avals.get(v, v.aval) for v in group] for group in groups])
        closed, used = dce(closed)
        flags = iter(used)
        live = [[v for v in group if next(flags)] for group in groups]
        read = [v in live[3] for v in floats]
        return cls(closed, live[0], live[2], live[1], live[4], read)


def traced(
    f: Callable, consts: list, carry: list, rows: list, always: bool = False
) -> tuple[list, Step] | None:
    """Constants, and `f(consts, carry, row) -> carry` as a `Step` over them; rows have a time axis.

    None where nothing can be deferred, unless `always`, or where a step does more than compute (it
    prints, say).
    """
    closed = trace(f, consts, carry, [row_of(a) for a in rows])
    if closed.effects:
        return None
    closed, _ = dce(closed, inputs=True)
    jaxpr, n, m = closed.jaxpr, len(consts), len(carry)
    given = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    given |= dict(zip(jaxpr.invars[:n], consts, strict=True))
    given, eqns = before_loop(jaxpr.eqns, given, jaxpr.outvars)
    ins = jaxpr.invars
    step = Step(list(given), ins[n : n + m], ins[n + m :], eqns, jaxpr.outvars)
    step = with_sums(step)
    return (list(given.values()), step) if step.sums or always else None


def with_sums(step: Step) -> Step:
    """The step with every deferred product followed to the variable that it ends in."""
    readers: dict[Variable, list[Any]] = {}
    for eqn in (*step.eqns, None):
        for v in step.outs if eqn is None else eqn.invars:
            if isinstance(v, Var):
                readers.setdefault(v, []).append(eqn)
    depends = {v: frozenset([v]) for v in step.consts}  # on which constants, if on nothing else
    invariant = []
    for eqn in step.eqns:
        used = [v for v in eqn.invars if isinstance(v, Var)]
        if all(v in depends for v in used):
            invariant.append(eqn)
            depends |= dict.fromkeys(eqn.outvars, frozenset().union(*(depends[v] for v in used)))

    additions = {e.outvars[0]: e for e in step.eqns if e.primitive.name in ADD}
    constant: set[tuple[int, Variable]] = set()
    ends: dict[Variable, tuple[list, dict, dict]] = {}  # products, invariants and z's of each sum

    def alone(v: Variable) -> Any:
        """The only equation that reads v, if there is but one."""
        first, *more = readers.get(v, [None])
        return None if more else first

    def alike(x: Any, v: Variable) -> bool:
        return isinstance(x, Var) and getattr(x.aval, "shape", None) == v.aval.shape

    def follow(v: Variable, product: Equation | None, start: int, added: tuple) -> None:
        """From v, which holds columns of a product from `start` on, to the end of its sum.

        `added` are the additions on the way, each with what was added.
        """
        reader = alone(v)
        kind = getattr(getattr(reader, "primitive", None), "name", None)
        if kind in ADD:
            [other] = (x for x in reader.invars if x is not v)
            if alike(other, v):
                return follow(reader.outvars[0], product, start, (*added, (reader, other)))
        if kind == "split" and reader.params["axis"] == v.aval.ndim - 1 and product and not added:
            for out in reader.outvars:
                follow(out, product, start, ())
                start += out.aval.shape[-1]
            return None
        products, invariants, zs = ends.setdefault(v, ([], {}, {}))
        if product is not None:
            products.append((product, start, start + v.aval.shape[-1]))
        terms = list(added)
        while terms:
            addition, other = terms.pop(0)
            if other in depends:
                invariants[other] = None
                constant.add((id(addition), other))
            elif alone(other) is None:
                continue
            elif other in step.rows:
                zs[other] = None
            elif (inner := additions.get(other)) is not None:  # a sum by itself, as z + b
                terms += [(inner, x) for x in inner.invars if alike(x, other)]
        return None

    for eqn in step.eqns:
        if row_product(eqn) and eqn.invars[1] in step.consts:
            constant.add((id(eqn), eqn.invars[1]))
            follow(eqn.outvars[0], eqn, 0, ())
    for z in step.rows:  # where a bias is all that is added to z
        reader: Any = alone(z)
        if (
            reader is not None
            and reader.primitive.name in ADD
            and not any(z in zs for *_, zs in ends.values())
        ):
            [other] = (x for x in reader.invars if x is not z)
            if alike(other, z) and other in depends:
                follow(reader.outvars[0], None, 0, ((reader, other), (reader, z)))
    sums = [
        Sum(
            v,
            tuple(products),
            tuple(invariants),
            frozenset().union(*(depends[i] for i in invariants)),
            next(iter(zs), None),
        )
        for v, (products, invariants, zs) in ends.items()
    ]
    return step._replace(invariant=tuple(invariant), sums=tuple(sums), constant=frozenset(constant))


def compute(eqn: Equation, *args: Any) -> list:
    """The results of an equation; a plain `@` of the step becomes a product of `products.py`."""
    return [over_rows(eqn, *args)] if row_product(eqn) else bind(eqn, *args)


ADD = ("add", "add_any")


def inexact(a: Any) -> bool:
    """Whether an array holds floating or complex numbers, which have tangents."""
    return jnp.issubdtype(a.dtype, jnp.inexact)


@jax.custom_jvp
def known(value: jax.Array, expression: jax.Array) -> jax.Array:
    """`value`, whose tangent is that of the expression it was computed by."""
    return value


@partial(known.defjvp, symbolic_zeros=True)
def _known_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, Any]:
    d = tangents[1]
    return primals[0], jnp.zeros_like(primals[0]) if isinstance(d, SymbolicZero) else d
