"""Matrix products of many rows with one matrix, which keep their axes, are flattened on a CPU and
keep their order on a TPU.

`jax.grad` of `x @ w`, x of three axes, contracts two axes at once to get the gradient of w. XLA:CPU
has a fast path for products of two axes only, and misses it there: a quarter of a whole gradient.
So a product is `lax.dot_general` under another name, `rows_p`, with JAX's own meaning in
everything but its lowering on one CPU device, which flattens it to two axes. Wherever several
devices share the work no axis is merged, so that a partitioner sees which are split.

XLA:TPU lays products of three axes out with time inside the batch. A loop over time then copies
each row that it reads or writes, and what is computed for all steps at once is shuffled from one
layout to the other, which takes most of the code and of the time to compile it. So there the arrays
of a product are held to the order of their axes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import (
    ad,
    batching,
    dot_general_p,
    in_order,
    lowered,
    primitive,
    vary_alike,
)


def wide(dtype: Any) -> Any:
    """float32, or the dtype itself if it is wider: products are accumulated and states kept in
    it.
    """
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)


def matmul(x: jax.Array, w: jax.Array, place: int = 1) -> jax.Array:
    """`x [..., F] @ w [F, G]`: x cast to w's dtype, accumulated in float32 or wider.

    A `vmap` puts its axis at `place` among the rows: behind time, which loops want first.

    The result has the dtype of the accumulation. Where either is complex both become complex64, or
    complex128 if one is wider, and no imaginary part is lost. The precision is what
    `jax.default_matmul_precision` says where it is called.

    Example:
      >>> matmul(jnp.ones((5, 2, 3)), jnp.ones((3, 4))).shape
      (5, 2, 4)
    """
    if jnp.iscomplexobj(x) or jnp.iscomplexobj(w):
        double = any(
            jnp.finfo(a.dtype).bits > 32 for a in (x, w) if jnp.issubdtype(a.dtype, jnp.inexact)
        )
        dtype = jnp.dtype(jnp.complex128 if double else jnp.complex64)
        product = partial(rows, precision=_precision(), dtype=dtype, place=place)
        return product(x.astype(dtype), w.astype(dtype))
    product = partial(rows, precision=_precision(), dtype=wide(w.dtype), place=place)
    return product(x.astype(w.dtype), w)


def _precision() -> Any:
    # JAX adds its options to the class as it runs: pyright cannot know them.
    return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]


def rows(x: jax.Array, w: jax.Array, *, sharding: Any = None, place: int = 1, **how: Any) -> Any:
    """`x [..., F] @ w [F, G]`, every row of x by itself; `how` is a precision and a dtype."""
    x, w = vary_alike(x, w)
    return rows_p.bind(x, w, summed=False, sharding=sharding, place=place, **how)


def gram(x: jax.Array, y: jax.Array, *, sharding: Any = None, place: int = 1, **how: Any) -> Any:
    """`sum over ... of x [..., F] outer y [..., G]`: `[F, G]`."""
    x, y = vary_alike(x, y)
    return rows_p.bind(x, y, summed=True, sharding=sharding, place=place, **how)


def general(
    x: Any, y: Any, *, summed: bool, precision: Any, dtype: Any, sharding: Any, **_: Any
) -> Any:
    """The meaning of the primitive, in JAX's own operations."""
    lead = tuple(range(x.ndim - 1))
    axes = (lead, lead) if summed else ((x.ndim - 1,), (0,))
    return jax.lax.dot_general(
        x,
        y,
        (axes, ((), ())),
        precision=precision,
        preferred_element_type=dtype,
        out_sharding=sharding,
    )


def _flat(x: Any, y: Any, *, summed: bool, precision: Any, dtype: Any, **_: Any) -> Any:
    """The same, flattened to two axes."""
    flat = x.reshape(-1, x.shape[-1])
    product = partial(jax.lax.dot, precision=precision, preferred_element_type=dtype)
    if summed:
        return product(flat.T, y.reshape(-1, y.shape[-1]))
    return product(flat, y).reshape(*x.shape[:-1], y.shape[-1])


def _ordered(x: Any, y: Any, **params: Any) -> Any:
    """The same, with rows that lie in memory in the order of their axes, on a TPU."""
    x, y = in_order(x), in_order(y)
    return in_order(general(x, y, **params))


def _abstract(x: Any, y: Any, **params: Any) -> Any:
    return jax.make_jaxpr(partial(general, **params))(x, y).out_avals[0]


def _batched(args: tuple, axes: tuple, **params: Any) -> tuple[jax.Array, int]:
    """A batch axis joins the rows; in a matrix or in a sum over rows `dot_general` handles it."""
    (x, y), (bx, by) = args, axes
    if not params["summed"] and by is None:
        place = min(params["place"], x.ndim - 2)
        return rows_p.bind(jnp.moveaxis(x, bx, place), y, **params), place
    params["sharding"] = None
    return jax.vmap(partial(general, **params), (bx, by))(x, y), 0


# y = x w:     dx = dy w^T,  dw = x^T dy;  g = sum x^T y:  dx = y dg^T,  dy = x dg.
# The transposition is an operation of its own, so that a loop does it once, before its steps.
def _transposed_left(ct: Any, x: Any, y: Any, *, summed: bool, **params: Any) -> Any:
    like, product = x.aval, partial(rows, **_of_cotangents(ct, x, **params))
    if summed:
        return product(y.astype(ct.dtype), ct.T).astype(like.dtype)
    return product(ct, y.T.astype(ct.dtype)).astype(like.dtype)


def _transposed_right(ct: Any, x: Any, y: Any, *, summed: bool, **params: Any) -> Any:
    product = rows if summed else gram
    return product(x.astype(ct.dtype), ct, **_of_cotangents(ct, y, **params)).astype(y.aval.dtype)


def _of_cotangents(ct: Any, linear: Any, *, precision: Any, place: int, **_: Any) -> dict[str, Any]:
    """The params of the product that takes a cotangent to that of the argument `linear`."""
    return {
        **{"precision": precision, "dtype": ct.dtype, "place": place},
        **{"sharding": _sharding(linear)},
    }


def _sharding(linear: Any) -> Any:
    """How a cotangent is split, where a mesh says so of every array."""
    sharding = linear.aval.to_ct_aval().sharding
    return sharding if sharding.mesh._any_axis_explicit else None


rows_p = primitive("rows")
rows_p.def_abstract_eval(_abstract)
lowered(rows_p, general, {"cpu": _flat}, unexported={"tpu": _ordered})
ad.defbilinear(rows_p, _transposed_left, _transposed_right)
batching.primitive_batchers[rows_p] = _batched


def row_product(eqn: Any) -> bool:
    """Whether an equation is `x [..., F] @ w [F, G]`, by `matmul` or by JAX's own product."""
    if eqn.primitive is rows_p:
        return not eqn.params["summed"]
    if eqn.primitive is not dot_general_p:
        return False
    x, w = (v.aval for v in eqn.invars)
    if eqn.params["out_sharding"] is not None:
        return False
    return w.ndim == 2 and eqn.params["dimension_numbers"] == (((x.ndim - 1,), (0,)), ((), ()))


def over_rows(eqn: Any, x: jax.Array, w: jax.Array) -> jax.Array:
    """The equation of a `row_product` for other rows, such as all steps at once, and matrices."""
    return rows(x, w, precision=eqn.params["precision"], dtype=eqn.outvars[0].aval.dtype)
