"""Numbers that the host computes when a program needs them, and not while shapes alone are asked
for: `jax.eval_shape` of an `init` takes neither their time nor their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray

from jaxrnn.autodiff._jax import lowered, primitive


def constant(
    make: Callable[..., np.ndarray], static: tuple, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """`make(*static)`, an array of this shape, in this dtype. `make` is a function of a module, and
    `static` hashes.
    """
    return constant_p.bind(make=make, static=static, shape=shape, dtype=jnp.dtype(dtype))


def made(*, make: Callable, static: tuple, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The numbers, computed now."""
    return jnp.asarray(make(*static), dtype)


constant_p = primitive("host_constant")
constant_p.def_abstract_eval(lambda *, make, static, shape, dtype: ShapedArray(shape, dtype))
lowered(constant_p, made)
constant_p.def_impl(made)
