"""A function with a derivative of its own, which no transformation loses.

`jax.custom_jvp` forgets its rule where a loop around it is differentiated in reverse twice, and
then differentiates what is inside. Where that cannot be done (a `while_loop`), the rule must belong
to a primitive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.autodiff._jax import ad, batching, lowered, primitive, trace


class Call(NamedTuple):
    """The static part of a call: its first argument, the structures of the others and of the
    results, and the axes of each `vmap` around it.
    """

    static: Any
    in_tree: Any
    out_tree: Any
    axes: tuple[tuple, ...] = ()


def with_tangent(primal: Callable[..., Any], tangent: Callable[..., Any]) -> Callable[..., Any]:
    """`f(static, *args) = primal(static, *args)`, with a derivative
    `tangent(static, args, results, dargs) -> dresults`.

    `static` hashes; arguments and results are pytrees of arrays. The tangent is linear in `dargs`.
    Numbers that are not floating have tangents of dtype float0, as always in JAX, and need none
    among the results. Every mode of differentiation, `vmap` and `checkpoint` work, in any order.
    """
    p = primitive(primal.__name__, multiple_results=True)

    def flat(call: Call) -> Callable[..., list]:
        def f(*leaves: Any) -> list:
            return jax.tree.leaves(primal(call.static, *jax.tree.unflatten(call.in_tree, leaves)))

        for axes in call.axes:
            f = jax.vmap(f, axes)
        return f

    def pushed(call: Call) -> Callable[..., list]:
        """The tangents of the floating results, as a function of all arguments, all results and
        the tangents of the floating arguments.
        """

        def g(leaves: list, results: list, dleaves: list) -> list:
            d = iter(dleaves)
            dargs = [
                next(d) if floating(x) else np.zeros(x.shape, jax.dtypes.float0) for x in leaves
            ]
            args = jax.tree.unflatten(call.in_tree, leaves)
            made = tangent(
                call.static,
                args,
                jax.tree.unflatten(call.out_tree, results),
                jax.tree.unflatten(call.in_tree, dargs),
            )
            return [dx for x, dx in zip(results, jax.tree.leaves(made), strict=True) if floating(x)]

        return g

    def vmapped(call: Call, g: Callable, kept: list[bool]) -> Callable:
        for axes in call.axes:
            g = jax.vmap(
                g, (list(axes), 0, [axis for axis, keep in zip(axes, kept, strict=True) if keep])
            )
        return g

    def jvp(leaves: tuple, dleaves: tuple, *, call: Call) -> tuple[list, list]:
        results = p.bind(*leaves, call=call)
        kept = [floating(x) for x in leaves]
        given = [ad.instantiate_zeros(d) for d, keep in zip(dleaves, kept, strict=True) if keep]
        made = iter(vmapped(call, pushed(call), kept)(list(leaves), results, given))
        return results, [
            next(made) if floating(x) else ad.Zero(jax.typeof(x).to_tangent_aval()) for x in results
        ]

    def shapes(*leaves: Any, call: Call) -> list:
        return trace(flat(call), *leaves).out_avals

    def batched(leaves: tuple, axes: tuple, *, call: Call) -> tuple[list, list]:
        results = p.bind(*leaves, call=call._replace(axes=(*call.axes, tuple(axes))))
        return results, [0] * len(results)

    p.def_abstract_eval(shapes)
    lowered(p, lambda *leaves, call: flat(call)(*leaves))
    ad.primitive_jvps[p] = jvp
    batching.primitive_batchers[p] = batched

    def f(static: Any, *args: Any) -> Any:
        leaves, given = jax.tree.flatten(args)
        made = jax.tree.structure(jax.eval_shape(lambda *args: primal(static, *args), *args))
        return jax.tree.unflatten(
            made, p.bind(*map(jnp.asarray, leaves), call=Call(static, given, made))
        )

    return f


def floating(x: Any) -> bool:
    """Whether an array holds floating numbers."""
    return jnp.issubdtype(x.dtype, jnp.floating)
