"""A step as its jaxpr: what is loop-invariant, which products wait until after the loop, and its
tangent computed again from what the loop kept.

    state' = step(params, state, z)

is traced once. Four things are read off the jaxpr, and nothing else is known of a cell:

- invariant equations depend on the params alone; they are computed once, before the loop;
- deferred products are `x @ w` with w such an invariant;
- the sum of a product is where it ends up if it is followed as long as it is only added to other
  things or cut into blocks of columns: `z + x @ w + b`, say. Sums are what the loop keeps;
- loose invariants are all others that the step reads: `p`, broadcast to the batch, in `p * c`, say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxrnn.autodiff._jax import (
    Equation,
    Var,
    Variable,
    bind,
    dce,
    evaluate,
    fixed,
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


@dataclass(frozen=True, eq=False)
class Loose:
    """An invariant as an equation reads it, where it enters no sum."""

    eqn: Equation
    var: Variable
    aval: Any  # as the equation reads it: broadcast to its result, where it does that itself
    params: frozenset[Variable]  # the constants that it depends on


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
    # Their tangents come from outside the loop too, so that no loop adds up a gradient.
    loose: tuple[Loose, ...] = ()

    def __call__(self, consts: list, carry: list, row: list, keep: list[Variable]) -> tuple:
        """The new state, and the values of the variables to be kept."""
        env = self.environment(consts, carry, row)
        evaluate(self.eqns, env, compute)
        return [read(env, v) for v in self.outs], [read(env, v) for v in keep]

    def tangent(
        self, given: dict[Variable, Any], dots: dict[Variable, Any], loose: dict[Loose, Any]
    ) -> list:
        """The tangents of the floating results.

        `given` has the values of constants, the state, the z's and the sums. `dots` has the
        tangents of some of them; that of a sum is what its params add to it. `loose` has those of
        loose invariants.
        """
        fixed = {v: given[v] for v in self.consts}
        evaluate(self.invariant, fixed)
        sums = {s.var: given[s.var] for s in self.sums}

        def moved(values: list, shifts: list) -> list:
            some = dict(zip(dots, values, strict=True))
            env = given | {v: a for v, a in some.items() if v not in sums}
            moving = {
                (id(use.eqn), use.var): known(jnp.broadcast_to(fixed[use.var], d.shape), d)
                for use, d in zip(loose, shifts, strict=True)
            }

            def value(eqn: Equation, v: Any) -> Any:
                if not isinstance(v, Var):
                    return v.val
                if (id(eqn), v) in self.constant:
                    return fixed[v]
                return moving[id(eqn), v] if (id(eqn), v) in moving else env[v]

            for eqn in self.eqns:
                outs = compute(eqn, *[value(eqn, v) for v in eqn.invars])
                for v, out in zip(eqn.outvars, outs, strict=True):
                    if v in sums:
                        out = known(sums[v], out + some[v] if v in some else out)
                    env[v] = out
            return [read(env, v) for v in self.outs if inexact(v.aval)]

        primals = [jnp.zeros_like(given[v]) if v in sums else given[v] for v in dots]
        still = [jnp.zeros_like(d) for d in loose.values()]
        return jax.jvp(moved, (primals, still), (list(dots.values()), list(loose.values())))[1]

    def environment(self, consts: list, carry: list, row: list) -> dict[Variable, Any]:
        names = (*self.consts, *self.carry, *self.rows)
        return dict(zip(names, (*consts, *carry, *row), strict=True))


def traced(
    f: Callable, members: Sequence[tuple[list, list, list]], always: bool = False
) -> tuple[list[list], Step] | None:
    """The constants of each member, and `f(consts, carry, row) -> carry` as a `Step` over them.

    Members are the consts, carry and rows of each, of the same shapes; rows have a time axis.

    None where nothing can be deferred, unless `always`, or where a step does more than compute (it
    prints, say).
    """
    consts, carry, rows = members[0]
    closed = trace(f, consts, carry, [row_of(a) for a in rows])
    if closed.effects:
        return None
    closed, _ = dce(closed, inputs=True)
    jaxpr, n, m = closed.jaxpr, len(consts), len(carry)
    shared = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    made = [
        before_loop(jaxpr.eqns, shared | dict(zip(jaxpr.invars, k, strict=False)), jaxpr.outvars)
        for k, *_ in members
    ]
    given, eqns = made[0]
    ins = jaxpr.invars
    step = Step(list(given), ins[n : n + m], ins[n + m :], eqns, jaxpr.outvars)
    step = with_sums(step)
    if not (step.sums or step.loose or always):
        return None
    return [list(values.values()) for values, _ in made], step


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
    followed: set[Variable] = set()  # what holds parts of a sum
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
        followed.add(v)
        reader = alone(v)
        kind = getattr(getattr(reader, "primitive", None), "name", None)
        if kind in ADD:
            [other] = (x for x in reader.invars if x is not v)
            total = reader.outvars[0]
            wider = isinstance(other, Var) and other in depends and alike(total, v)
            if alike(other, v) or wider:  # an invariant may be broadcast to it
                return follow(total, product, start, (*added, (reader, other)))
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
    # Rows no larger than those of the loop: the gradient of a matrix is added up in the loop.
    sizes = [v.aval.size for v in (*step.carry, *step.rows)]
    largest = max(sizes, default=0) if fixed(*sizes) else 0  # symbols are not compared
    loose = {}
    for eqn in step.eqns:
        for v in eqn.invars if eqn not in invariant else []:
            if not isinstance(v, Var) or v in followed:
                continue
            if v in depends and (id(eqn), v) not in constant:
                use = Loose(eqn, v, read_by(eqn, v), depends[v])
                size = use.aval.size
                if inexact(v.aval) and fixed(size) and size <= largest:
                    loose[id(eqn), v] = use
    # Each is a row in memory at every step. Where they are more than a step with products reads as
    # it is, a loop that adds up their gradients takes less.
    rows = [use.aval.size for use in loose.values()]
    if rows and sums and sum(rows) > sum(v.aval.size for v in step.rows):
        loose = {}
    return step._replace(
        invariant=tuple(invariant),
        sums=tuple(sums),
        constant=frozenset(constant),
        loose=tuple(loose.values()),
    )


def read_by(eqn: Equation, v: Variable) -> Any:
    """The abstract value of v as an equation reads it."""
    out = eqn.outvars[0].aval
    wider = eqn.primitive.name in POINTWISE and v.aval.shape != out.shape
    return v.aval.update(shape=out.shape) if wider else v.aval


def compute(eqn: Equation, *args: Any) -> list:
    """The results of an equation; a plain `@` of the step becomes a product of `products.py`."""
    return [over_rows(eqn, *args)] if row_product(eqn) else bind(eqn, *args)


ADD = ("add", "add_any")
POINTWISE = (*ADD, "sub", "mul", "div", "max", "min")  # they broadcast axes of size one


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
