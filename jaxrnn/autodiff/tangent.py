"""A function with a derivative of its own, which no transformation loses.

`jax.custom_jvp` forgets its rule where a loop around it is differentiated in reverse twice, and then differentiates what is inside. Where that cannot
be done (a `while_loop`), the rule must belong to a primitive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.interpreters import ad, batching, mlir


class Call(NamedTuple):
    """What is static about a call: its first argument, the structures of the others and of the results, and the axes of each `vmap` around it."""

    static: Any
    given: Any
    made: Any
    axes: tuple[tuple, ...] = ()


def with_tangent(primal: Callable[..., Any], tangent: Callable[..., Any]) -> Callable[..., Any]:
    """`f(static, *args) = primal(static, *args)`, its derivative `tangent(static, args, results, dargs) -> dresults`.

    `static` hashes; arguments and results are pytrees of arrays. The tangent is linear in `dargs`; numbers that are not floating have the
    tangent that JAX gives them, of dtype float0, and none is asked for. Every mode of differentiation, `vmap` and `checkpoint` work, in any order.
    """
    primitive = jax.extend.core.Primitive(primal.__name__)
    primitive.multiple_results = True

    def flat(call: Call) -> Callable[..., list]:
        def f(*leaves: Any) -> list:
            return jax.tree.leaves(primal(call.static, *jax.tree.unflatten(call.given, leaves)))

        for axes in call.axes:
            f = jax.vmap(f, axes)
        return f

    def pushed(call: Call) -> Callable[..., list]:
        """The tangents of the floating results, of all arguments, all results, and the tangents of the floating arguments."""

        def g(leaves: list, results: list, dleaves: list) -> list:
            d = iter(dleaves)
            dargs = [next(d) if floating(x) else np.zeros(x.shape, jax.dtypes.float0) for x in leaves]
            args = jax.tree.unflatten(call.given, leaves)
            made = tangent(call.static, args, jax.tree.unflatten(call.made, results), jax.tree.unflatten(call.given, dargs))
            return [dx for x, dx in zip(results, jax.tree.leaves(made), strict=True) if floating(x)]

        return g

    def vmapped(call: Call, g: Callable, kept: list[bool]) -> Callable:
        for axes in call.axes:
            g = jax.vmap(g, (list(axes), 0, [axis for axis, keep in zip(axes, kept, strict=True) if keep]))
        return g

    def jvp(leaves: tuple, dleaves: tuple, *, call: Call) -> tuple[list, list]:
        results = primitive.bind(*leaves, call=call)
        kept = [floating(x) for x in leaves]
        given = [ad.instantiate_zeros(d) for d, keep in zip(dleaves, kept, strict=True) if keep]
        made = iter(vmapped(call, pushed(call), kept)(list(leaves), results, given))
        return results, [next(made) if floating(x) else ad.Zero(jax.typeof(x).to_tangent_aval()) for x in results]

    def shapes(*leaves: Any, call: Call) -> list[ShapedArray]:
        specs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
        return [ShapedArray(x.shape, x.dtype) for x in jax.eval_shape(flat(call), *specs)]

    def batched(leaves: tuple, axes: tuple, *, call: Call) -> tuple[list, list]:
        results = primitive.bind(*leaves, call=call._replace(axes=(*call.axes, tuple(axes))))
        return results, [0] * len(results)

    primitive.def_impl(lambda *leaves, call: jax.jit(flat(call))(*leaves))
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, mlir.lower_fun(lambda *leaves, call: flat(call)(*leaves), multiple_results=True))
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batched

    def f(static: Any, *args: Any) -> Any:
        leaves, given = jax.tree.flatten(args)
        made = jax.tree.structure(jax.eval_shape(lambda *args: primal(static, *args), *args))
        return jax.tree.unflatten(made, primitive.bind(*map(jnp.asarray, leaves), call=Call(static, given, made)))

    return f


def differentiated_as(f: Callable[..., Any], run: Callable[..., Any]) -> Callable[..., Any]:
    """`run(*args)` where nothing is differentiated; elsewhere `f(*args)`, which computes the same. Arguments and results are pytrees of arrays."""
    either = jax.custom_jvp(run)

    @partial(either.defjvp, symbolic_zeros=True)
    def rule(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(primals)
        moving = {i: d for i, d in enumerate(tree.flatten_up_to(tangents)) if not isinstance(d, SymbolicZero)}

        def moved(values: dict) -> Any:
            return f(*jax.tree.unflatten(tree, [values.get(i, leaf) for i, leaf in enumerate(leaves)]))

        return jax.jvp(moved, [{i: leaves[i] for i in moving}], [moving])

    return either


def floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)
