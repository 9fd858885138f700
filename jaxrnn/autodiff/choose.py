"""A choice by flags, over pytrees."""

from typing import Any

import jax
import jax.numpy as jnp


def choose(flags: Any, yes: Any, no: Any) -> Any:
    """`where(flags, yes, no)` over pytrees, the flags `[...]` broadcast over each leaf's trailing
    axes.
    """

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    return jax.tree.map(pick, yes, no)
