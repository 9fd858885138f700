"""A step of a loop, written so that a GPU runs it as two kernels for each of its products.

Between two products all is pointwise, and one kernel could compute it. XLA makes several, for two
reasons. It computes a value again in every kernel that reads it, back through one step after
another, so that all kernels are different and each is compiled. And one kernel writes results of
one shape. An LSTM's backward step, for example, ends in `du [B, 4H]`, which the next product reads,
and in `dc [B, H]`, which the next step reads.

So a fence stands before each product: nothing behind it is computed again. And what lives on beside
the product's left side is laid under it, as further rows:

    [du]         [du w]
    [dc]  @ w =  [ -- ]      rows of a product do not see each other; the last ones are not read

One array is one kernel. It is not done where these rows would cost more than a launch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import ClosedJaxpr, Var, Variable, bind, dot_general_p, read
from jaxrnn.autodiff.products import over_rows, row_product, rows_p

# Multiplications and additions that take less time than a launch.
CHEAP = 2**24


class Fence(NamedTuple):
    """What stands before a product `x @ w` of a step."""

    values: list[Variable]  # those that depend on the state and are read from here on
    under: list[Variable]  # those of them that are laid under x
    columns: dict[Variable, tuple[int, int]]  # those that are columns of x, and which


def with_fences(jaxpr: ClosedJaxpr, num_consts: int, num_carry: int) -> Callable[..., list]:
    """`f(*consts, *carry, *x) -> [*carry, *y]`, the step `jaxpr` with its fences."""
    body = jaxpr.jaxpr
    state = body.invars[num_consts : num_consts + num_carry]
    fences = fences_of(body, state)

    def step(*args: Any) -> list:
        env = dict(zip((*body.constvars, *body.invars), (*jaxpr.consts, *args), strict=True))
        if not fences:  # a step is one kernel
            env.update(
                zip(state, jax.lax.optimization_barrier([env[v] for v in state]), strict=True)
            )
        for i, eqn in enumerate(body.eqns):
            if i in fences:
                outs = [fenced(env, eqn, fences[i])]
            else:
                outs = bind(eqn, *[read(env, v) for v in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(env, v) for v in body.outvars]

    return step


def fences_of(body: Any, carry: list[Variable]) -> dict[int, Fence]:
    """The fences of a step, by the places of the products that they stand before."""
    last = {v: i for i, eqn in enumerate(body.eqns) for v in eqn.invars if isinstance(v, Var)}
    last |= {v: len(body.eqns) for v in body.outvars if isinstance(v, Var)}
    fresh = dict.fromkeys(carry)  # what depends on the state, since the last fence
    joined: dict[Variable, Any] = {}
    fences = {}
    for i, eqn in enumerate(body.eqns):
        moving = any(v in fresh for v in eqn.invars if isinstance(v, Var))
        product = eqn.primitive in (rows_p, dot_general_p)
        if product and moving:
            found = {v: c for v, c in columns(eqn.invars[0], joined).items() if v in fresh}
            values = [v for v in fresh if last.get(v, -1) >= i and v not in found]
            fences[i] = Fence(values, below(eqn, values), found)
            fresh = {}
        if product or moving:
            fresh |= dict.fromkeys(eqn.outvars)
        if eqn.primitive.name == "concatenate":
            joined[eqn.outvars[0]] = eqn
    return fences


def columns(x: Variable, joined: dict[Variable, Any]) -> dict[Variable, tuple[int, int]]:
    """The variables that x is joined of side by side, and those that they are joined of."""
    found: dict[Variable, tuple[int, int]] = {}

    def look(v: Any, start: int) -> None:
        eqn = joined.get(v)
        if eqn is None or eqn.params["dimension"] != x.aval.ndim - 1:
            return
        for part in eqn.invars:
            stop = start + part.aval.shape[-1]
            if isinstance(part, Var):
                found[part] = start, stop
                look(part, start)
            start = stop

    look(x, 0)
    return found


def below(eqn: Any, values: list[Variable]) -> list[Variable]:
    """Which values are laid under the left side of a product."""
    x, w = eqn.invars
    if not row_product(eqn) or x not in values or w in values:
        return []
    beside = [v for v in values if v is not x and v.aval.dtype == x.aval.dtype]
    if all(v.aval.shape == x.aval.shape for v in beside):  # one kernel writes them as they are
        return []
    cost = sum(v.aval.size for v in beside) * w.aval.shape[-1]
    return beside if cost <= CHEAP else []


def fenced(env: dict[Variable, Any], eqn: Any, fence: Fence) -> jax.Array:
    """The product behind its fence; `env` then has the values as they come out of it."""
    (x, w), under = eqn.invars, fence.under
    apart = [v for v in fence.values if not under or (v is not x and v not in under)]
    stack = [stacked([env[v] for v in (x, *under)])] if under else []
    stack, values = jax.lax.optimization_barrier((stack, [env[v] for v in apart]))
    env.update(zip(apart, values, strict=True))
    if not under:
        y = bind(eqn, read(env, x), read(env, w))[0]
    else:
        [left], shape = stack, x.aval.shape
        rows = math.prod(shape[:-1])
        y = over_rows(eqn, left, read(env, w))[:rows].reshape(eqn.outvars[0].aval.shape)
        env[x], rest = left[:rows].reshape(shape), left[rows:].reshape(-1)
        for v in under:
            env[v], rest = rest[: v.aval.size].reshape(v.aval.shape), rest[v.aval.size :]
    env.update({v: env[x][..., a:b] for v, (a, b) in fence.columns.items()})
    return y


def stacked(arrays: list[jax.Array]) -> jax.Array:
    """The first array as a matrix, and under it the numbers of the others in rows of its width."""
    x, *others = arrays
    flat = jnp.concatenate([a.reshape(-1) for a in others])
    flat = jnp.pad(flat, (0, -flat.size % x.shape[-1]))
    return jnp.concatenate([a.reshape(-1, x.shape[-1]) for a in (x, flat)])
