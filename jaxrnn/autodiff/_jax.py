"""The parts of JAX that the engine uses and that are not quite public, in one place.

Where a new version of JAX moves something, only this file changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.extend
import numpy as np
from jax._src import checkify, dispatch, source_info_util
from jax._src.core import (
    InconclusiveDimensionOperation,
    mapped_leading_aval,
    unmapped_leading_aval,
)
from jax._src.interpreters import batching
from jax._src.interpreters import partial_eval as pe
from jax.core import Tracer
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import ClosedJaxpr, Literal, Var
from jax.extend.core.primitives import dot_general_p, jit_p
from jax.interpreters import ad, mlir
from jax.sharding import PartitionSpec

__all__ = [
    "ClosedJaxpr",
    "Equation",
    "Literal",
    "Tracer",
    "Var",
    "ad",
    "batching",
    "bind",
    "dce",
    "debugging",
    "derived_jvp",
    "dot_general_p",
    "evaluate",
    "fixed",
    "in_order",
    "lowered",
    "primitive",
    "prunable",
    "read",
    "row_of",
    "rows_of",
    "split_alike",
    "trace",
    "typed",
    "typed_zeros",
    "varied",
    "vary_alike",
    "varying",
    "without",
]


Equation = Any  # a JaxprEqn, and below a variable of one: JAX's stubs lack their attributes
Variable = Any


def primitive(name: str, multiple_results: bool = False) -> Any:
    """A primitive that runs by itself as JAX's own do: compiled, and checked under `debug_nans`."""
    p = jax.extend.core.Primitive(name)
    p.multiple_results = multiple_results
    p.def_impl(partial(dispatch.apply_primitive, p))
    return p


def lowered(
    p: Any,
    default: Callable,
    platforms: Mapping[str, Callable] | None = None,
    anywhere: Mapping[str, Callable] | None = None,
    unexported: Mapping[str, Callable] | None = None,
) -> None:
    """Lower `p` as the function `default`, on the platforms named as a function of their own.

    Those of `platforms` serve one device and shapes that are numbers. Elsewhere `default` is used,
    so that a partitioner and `jax.export` meet JAX's own operations. Those of `anywhere` are made
    of such operations themselves; those of `unexported` too, but of some that `jax.export` refuses.
    """
    meaning(p, default)
    rule = mlir.lower_fun(default, multiple_results=p.multiple_results)
    mlir.register_lowering(p, rule)

    def choose(special: Callable, ctx: Any, *args: Any, **params: Any) -> Any:
        avals = (*ctx.avals_in, *ctx.avals_out)
        shapes = [n for a in avals for n in a.shape]
        # A mesh of explicit axes, of one device too, wants to be told how every new array is split.
        explicit = any(a.sharding.mesh._any_axis_explicit for a in avals)
        plain = partitioned(ctx) or explicit or not fixed(*shapes)
        return (rule if plain else special)(ctx, *args, **params)

    for platform, f in (platforms or {}).items():
        special = mlir.lower_fun(f, multiple_results=p.multiple_results)
        mlir.register_lowering(p, partial(choose, special), platform=platform)

    def unless_exported(special: Callable, ctx: Any, *args: Any, **params: Any) -> Any:
        exported = ctx.module_context.lowering_parameters.for_export
        return (rule if exported else special)(ctx, *args, **params)

    for platform, f in {**(anywhere or {}), **(unexported or {})}.items():
        special = mlir.lower_fun(f, multiple_results=p.multiple_results)
        special = partial(unless_exported, special) if platform in (unexported or {}) else special
        mlir.register_lowering(p, special, platform=platform)


def meaning(p: Any, f: Callable) -> None:
    """Let `checkify` look into `f(*args, **params)` where it meets `p`."""

    def check(*args: Any, **params: Any) -> Any:
        # An error and the set of enabled checks come first, from JAX 0.12 on behind a context.
        first = next(i for i, a in enumerate(args) if isinstance(a, set | frozenset)) + 1
        values = args[first:]
        [eqn] = trace(jax.jit(partial(f, **params)), *values).eqns
        error, outs = checkify.error_checks[jit_p](*args[:first], *values, **eqn.params)
        return error, outs if p.multiple_results else outs[0]

    checkify.error_checks[p] = check


def derived_jvp(f: Callable) -> Callable:
    """The jvp rule of a primitive, derived from the function `f`, which has several results."""

    def jvp(primals: tuple, tangents: tuple, **params: Any) -> tuple[list, list]:
        moving = [i for i, d in enumerate(tangents) if type(d) is not ad.Zero]

        def moved(*values: Any) -> list:
            args = list(primals)
            for i, value in zip(moving, values, strict=True):
                args[i] = value
            return f(*args, **params)

        outs, dots = jax.jvp(moved, [primals[i] for i in moving], [tangents[i] for i in moving])
        return outs, [
            ad.Zero(jax.typeof(x).to_tangent_aval()) if d.dtype == jax.dtypes.float0 else d
            for x, d in zip(outs, dots, strict=True)
        ]

    return jvp


def partitioned(ctx: Any) -> bool:
    """Whether a lowering is for several devices, among which the compiler splits the work."""
    context = ctx.module_context.axis_context
    mesh = getattr(context, "mesh", None)
    if mesh is None:
        return (getattr(context, "num_devices", 1) or 1) > 1
    return any(mesh.shape[name] > 1 for name in set(mesh.axis_names) - set(context.manual_axes))


def varying(tree: Any) -> tuple[str, ...]:
    """The axes of a mesh along which arrays within `shard_map` differ."""
    axes = [jax.typeof(a).manual_axis_type.varying for a in jax.tree.leaves(tree)]
    return tuple(sorted(frozenset().union(*axes)))


def varied(tree: Any, axes: tuple[str, ...]) -> Any:
    """The arrays, with a type that says that they differ along these axes."""

    def lift(a: Any) -> Any:
        more = tuple(x for x in axes if x not in jax.typeof(a).manual_axis_type.varying)
        return jax.lax.pcast(a, more, to="varying") if more else a

    return jax.tree.map(lift, tree) if axes else tree


def typed(shape: tuple[int, ...], dtype: Any, axes: tuple[str, ...]) -> jax.ShapeDtypeStruct:
    """The type of an array that differs along these axes of a mesh."""
    kind = jax.sharding.ManualAxisType(varying=frozenset(axes))
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=kind if axes else None)


def vary_alike(*trees: Any) -> Any:
    """Within `shard_map`, all arrays with the varying axes that any of them has.

    A loop carries one type. The gradient of an array that is the same on all devices is summed over
    the devices where its type changes: here, once, and not in every step.
    """
    return varied(trees, varying(trees))


def in_order(x: Any) -> Any:
    """An array that lies in memory in the order of its axes, where its rows fill the tiles of a
    TPU, which hold 8 rows; else the compiler chooses.
    """
    if x.ndim < 3 or not fixed(x.shape[-2]) or x.shape[-2] % 8:
        return x
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


def split_alike(tree: Any, xs: Any, batch: int, time: int) -> Any:
    """On an explicit mesh, arrays `[..., *batch, ...]` with `time` axes before the batch's, split
    along it as the inputs `xs [T, *batch, ...]` are.
    """
    sharding = jax.typeof(xs).sharding
    spec = tuple(sharding.spec)[1 : 1 + batch]
    if not sharding.mesh._any_axis_explicit or all(axis is None for axis in spec):
        return tree

    def split(a: Any) -> Any:
        rest = [None] * (a.ndim - time - batch)
        return jax.sharding.reshard(a, PartitionSpec(*[None] * time, *spec, *rest))

    return jax.tree.map(split, tree)


def fixed(*sizes: Any) -> bool:
    """Whether sizes are numbers, which may be compared, and not symbols of `jax.export`."""
    return all(isinstance(n, int | np.integer) for n in sizes)


def at_least(n: Any, least: int) -> bool:
    """Whether `n >= least`; of a symbol only where its constraints say so."""
    try:
        return bool(n >= least)
    except InconclusiveDimensionOperation:
        return False


def debugging() -> bool:
    """Whether `jax.disable_jit` asks that Python itself runs every step."""
    # JAX adds its options to the class as it runs: pyright cannot know them.
    return jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]


def trace(f: Callable, *args: Any) -> ClosedJaxpr:
    """The jaxpr of `f`, for arrays or abstract values that keep their sharding and varying axes."""
    return jax.make_jaxpr(f)(*args)


def row_of(a: Any) -> Any:
    """The abstract value of a row of `a`, split and varying as its other axes are."""
    aval = jax.typeof(a).strip_weak_type()
    return mapped_leading_aval(aval.shape[0], aval)


def rows_of(length: Any, aval: Any) -> Any:
    """The abstract value of `length` rows like this."""
    return unmapped_leading_aval(length, aval)


def typed_zeros(aval: Any) -> Any:
    """Zeros of an abstract value's cotangent, split and varying as it says."""
    return ad.instantiate_zeros(ad.Zero(aval.to_ct_aval()))


def dce(closed: ClosedJaxpr, inputs: bool = False) -> tuple[ClosedJaxpr, list[bool]]:
    """A jaxpr without the equations that no result needs, and which inputs are left.

    With `inputs`, all of them are left.
    """
    jaxpr, consts = closed.jaxpr, len(closed.consts)
    names = jaxpr.debug_info.with_unknown_names()
    flat = jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars], debug_info=names)
    flat, used = pe.dce_jaxpr(flat, [True] * len(jaxpr.outvars), inputs)
    kept = [c for c, keep in zip(closed.consts, used, strict=False) if keep]
    n = len(kept)
    jaxpr = flat.replace(constvars=flat.invars[:n], invars=flat.invars[n:], debug_info=names)
    return ClosedJaxpr(jaxpr, kept), used[consts:]


def prunable(p: Any, rule: Callable) -> None:
    """Let JAX's dead code elimination replace `p` by `rule(used, eqn) -> (reads, eqn)`: which
    results are used, and which arguments the equation that is left reads.
    """
    # Newer versions say between the two which arguments are refs that are alive.
    pe.dce_rules[p] = lambda used, *rest: rule(used, rest[-1])


def without(jaxpr: Any, used: list[bool], needs: list[bool]) -> tuple[Any, list[bool]]:
    """A jaxpr without what only unused results need, and which arguments it keeps: those that it
    reads, and those that it needs whether or not.
    """
    return pe.dce_jaxpr(jaxpr, used, needs)


def bind(eqn: Equation, *args: Any) -> list:
    """The results of an equation for other arguments, in the equation's own context."""
    params = eqn.primitive.get_bind_params(eqn.params)
    if isinstance(params, tuple):  # until JAX 0.10: functions and parameters apart
        functions, params = params
        args = (*functions, *args)
    name_stack = source_info_util.current_name_stack() + eqn.source_info.name_stack
    with ExitStack() as stack:
        traceback = eqn.source_info.traceback
        stack.enter_context(source_info_util.user_context(traceback, name_stack=name_stack))
        stack.enter_context(eqn.ctx.manager)
        outs = eqn.primitive.bind(*args, **params)
    return list(outs) if eqn.primitive.multiple_results else [outs]


def evaluate(eqns: Sequence[Equation], env: dict[Variable, Any], rule: Callable = bind) -> None:
    """Evaluate equations in order, `rule(eqn, *args) -> results` each, into `env`."""
    for eqn in eqns:
        outs = rule(eqn, *[read(env, v) for v in eqn.invars])
        env.update(zip(eqn.outvars, outs, strict=True))


def read(env: dict[Variable, Any], v: Any) -> Any:
    return v.val if isinstance(v, Literal) else env[v]
