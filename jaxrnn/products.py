"""Matrix products as XLA likes them: two-dimensional, and in a loop with what their transposes need made outside it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.interpreters import ad, batching, mlir


def wide(dtype: Any) -> Any:
    """float32, or the dtype itself if it is wider: what products are accumulated in and states are kept in."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)


def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """`x [..., F] @ w [F, G]`: x cast to w's dtype, accumulated in float32 or wider, which is the result's dtype.

    It is one two-dimensional product, and stays one under `vmap` over x: the transposes of a product with more axes miss
    XLA:CPU's fast path, which costs a quarter of a whole gradient. Hence a primitive of its own, the same in all else; its precision is
    what `jax.default_matmul_precision` says where it is called.

    Example:
      >>> matmul(jnp.ones((5, 2, 3)), jnp.ones((3, 4))).shape
      (5, 2, 4)
    """
    return _matmul(x.astype(w.dtype), w, jax.config.jax_default_matmul_precision)  # type: ignore[attr-defined]


def _matmul(x: jax.Array, w: jax.Array, precision: Any) -> jax.Array:
    return rows_matmul.bind(x.reshape(-1, x.shape[-1]), w, precision=precision).reshape(*x.shape[:-1], w.shape[-1])


def _product(x: jax.Array, w: jax.Array, *, precision: Any) -> jax.Array:
    return jax.lax.dot(x, w, precision=precision, preferred_element_type=wide(w.dtype))


def _product_shape(x: Any, w: Any, *, precision: Any) -> Any:
    return ShapedArray((x.shape[0], w.shape[1]), wide(w.dtype))


def _product_batched(args: tuple, axes: tuple, *, precision: Any) -> tuple[jax.Array, int]:
    (x, w), (bx, bw) = args, axes
    if bw is None:
        x = jnp.moveaxis(x, bx, 1)  # rows are time first, and the loop wants time first
        return _matmul(x, w, precision), 1
    x = x if bx is None else jnp.moveaxis(x, bx, 0)
    product = partial(jnp.matmul, precision=precision, preferred_element_type=wide(w.dtype))
    return jax.vmap(product, (None if bx is None else 0, 0))(x, jnp.moveaxis(w, bw, 0)), 0


rows_matmul = jax.extend.core.Primitive("rows_matmul")
rows_matmul.def_impl(jax.jit(_product, static_argnames="precision"))
rows_matmul.def_abstract_eval(_product_shape)
mlir.register_lowering(rows_matmul, mlir.lower_fun(_product, multiple_results=False))
batching.primitive_batchers[rows_matmul] = _product_batched
ad.defbilinear(
    rows_matmul,
    lambda ct, x, w, *, precision: _matmul(ct, w.T.astype(ct.dtype), precision).astype(w.dtype),
    lambda ct, x, w, *, precision: _product(x.T.astype(ct.dtype), ct, precision=precision).astype(x.dtype),
)


def held(x: jax.Array, w: jax.Array, turned: jax.Array) -> jax.Array:
    """`matmul(x, w)` given `turned`, w transposed in the wider dtype, outside a loop: its transpose is then `ct @ turned`.

    Within a loop that takes 0.6 to 0.95 of the time of a product that contracts the columns of both (XLA:CPU).
    """
    return _held(x.astype(w.dtype), w, turned, jax.config.jax_default_matmul_precision)  # type: ignore[attr-defined]


def _held(x: jax.Array, w: jax.Array, turned: jax.Array, precision: Any) -> jax.Array:
    return held_matmul.bind(x.reshape(-1, x.shape[-1]), w, turned, precision=precision).reshape(*x.shape[:-1], w.shape[-1])


def _held_product(x: jax.Array, w: jax.Array, turned: jax.Array, *, precision: Any) -> jax.Array:
    return _product(x, w, precision=precision)


def _held_jvp(primals: tuple, tangents: tuple, *, precision: Any) -> tuple[Any, Any]:
    (x, w, turned), (dx, dw, _) = primals, tangents
    parts = [] if type(dx) is ad.Zero else [held_matmul.bind(dx, w, turned, precision=precision)]
    parts += [] if type(dw) is ad.Zero else [rows_matmul.bind(x, dw, precision=precision)]
    y = held_matmul.bind(x, w, turned, precision=precision)
    return y, sum(parts[1:], parts[0]) if parts else ad.Zero(jax.typeof(y).to_tangent_aval())


def _held_transposed(ct: jax.Array, x: Any, w: jax.Array, turned: jax.Array, *, precision: Any) -> tuple:
    if type(ct) is ad.Zero:
        return ad.Zero(x.aval), None, None
    return held_matmul.bind(ct, turned, w.astype(ct.dtype), precision=precision).astype(x.aval.dtype), None, None


def _held_batched(args: tuple, axes: tuple, *, precision: Any) -> tuple[jax.Array, int]:
    (x, w, turned), (bx, bw, _) = args, axes
    if bw is not None or bx is None:
        return _product_batched((x, w), (bx, bw), precision=precision)
    return _held(jnp.moveaxis(x, bx, 1), w, turned, precision), 1


held_matmul = jax.extend.core.Primitive("held_matmul")
held_matmul.def_impl(jax.jit(_held_product, static_argnames="precision"))
held_matmul.def_abstract_eval(lambda x, w, turned, *, precision: _product_shape(x, w, precision=precision))
mlir.register_lowering(held_matmul, mlir.lower_fun(_held_product, multiple_results=False))
ad.primitive_jvps[held_matmul] = _held_jvp
ad.primitive_transposes[held_matmul] = _held_transposed
batching.primitive_batchers[held_matmul] = _held_batched
