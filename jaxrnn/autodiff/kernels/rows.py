"""Loops that are traced for one row, so that a kernel takes as many rows as it wants.

Rows do not depend on one another (law 5). So under `Fused` a step is traced for one, and `vmap`
over all rows, by the axis `ROWS`, is left for the lowering of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import ClosedJaxpr, bind, evaluate, read, rows_of, trace
from jaxrnn.autodiff.products import general, rows_p

ROWS = "rows of a kernel"  # the name of the axis that `vmap` leaves to the lowering

# What a step may consist of, besides products with params.
KNOWN = frozenset(
    (
        *("add", "add_any", "sub", "mul", "div", "neg", "max", "min", "clamp", "abs", "sign"),
        *("square", "sqrt", "rsqrt", "integer_pow", "pow", "exp", "exp2", "log", "log1p"),
        *("tanh", "one_minus_square", "logistic", "erf", "erf_inv", "sin", "cos", "floor", "ceil"),
        *("select_n", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_finite"),
        *("convert_element_type", "broadcast_in_dim", "reshape", "squeeze"),
        *("slice", "split", "concatenate", "transpose", "reduce_sum", "reduce_max", "reduce_min"),
        *("stop_gradient", "iota", "round"),
    )
)
INNER = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "remat2": "jaxpr"}
DTYPES = ("float32", "bfloat16", "int32", "bool")


class Kernel(NamedTuple):
    """That a loop is to be one kernel.

    Once it is under the `vmap` over `ROWS`, `rows` says which of its arguments have an axis of
    rows: the first, or behind time.
    """

    interpret: bool = False
    rows: tuple[bool, ...] | None = None


def of_all_rows(jaxpr: ClosedJaxpr, kernel: Kernel, count: int) -> ClosedJaxpr:
    """The step of one row as that of `count` of them."""
    flags = kernel.rows or ()
    axes = [0 if flag else None for flag in flags]
    both = zip(jaxpr.in_avals, flags, strict=True)
    avals = [rows_of(count, a) if flag else a for a, flag in both]
    return trace(jax.vmap(jaxpr_as_fun(jaxpr), axes), *avals)


def flat(jaxpr: ClosedJaxpr) -> ClosedJaxpr:
    """A jaxpr in operations that a kernel's compiler knows: without calls, with plain products, and
    on one device, which knows of no mesh.
    """

    def run(eqns: Sequence[Any], env: dict[Any, Any]) -> None:
        evaluate(eqns, env, rule)

    def rule(eqn: Any, *args: Any) -> list:
        if eqn.primitive is rows_p:
            return [general(*args, **eqn.params)]
        if eqn.primitive.name in ("pvary", "pcast", "copy", "copy_p"):
            return list(args)
        if eqn.primitive.name not in INNER:
            return bind(eqn, *args)
        inner = eqn.params[INNER[eqn.primitive.name]]
        inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
        env = dict(zip(inner.jaxpr.constvars, inner.consts, strict=True))
        env |= dict(zip(inner.jaxpr.invars, args, strict=True))
        run(inner.eqns, env)
        return [read(env, v) for v in inner.jaxpr.outvars]

    def whole(*args: Any) -> list:
        env = dict(zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True))
        env |= dict(zip(jaxpr.jaxpr.invars, args, strict=True))
        run(jaxpr.eqns, env)
        return [read(env, v) for v in jaxpr.jaxpr.outvars]

    return trace(whole, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.in_avals))


def refused(step: ClosedJaxpr) -> str | None:
    """Why a step of rows cannot be compiled as part of a kernel, or None."""
    variables = [*step.jaxpr.invars, *(v for eqn in step.eqns for v in eqn.outvars)]
    for aval in (v.aval for v in variables):
        if str(aval.dtype) not in DTYPES:
            return f"its step computes in {aval.dtype}"
    for eqn in step.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            if any(v.aval.ndim != 2 for v in eqn.invars) or eqn.params["dimension_numbers"][1][0]:
                return "its step multiplies by other than one matrix"
        elif name not in KNOWN:
            return f"its step has the operation {name}"
    return None


def plain(run: Callable) -> Callable:
    """`run(*args, **params)`, for any loop: one of rows becomes one of all rows at once."""

    def lower(*args: Any, jaxpr: ClosedJaxpr, kernel: Kernel | None, **params: Any) -> list:
        if kernel is not None and kernel.rows is not None:
            jaxpr = of_all_rows(jaxpr, kernel, args[params["num_consts"]].shape[0])
        return run(*args, jaxpr=jaxpr, **params)

    return lower
