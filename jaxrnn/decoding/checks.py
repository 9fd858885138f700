"""Checks and conversions that every way of decoding shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors

Step = Callable[[Any, jax.Array], tuple[Any, jax.Array]]


def bound(step: Step) -> jax.tree_util.Partial:
    """A step as a `Partial`, which passes through `jit`."""
    return step if isinstance(step, jax.tree_util.Partial) else jax.tree_util.Partial(step)


def check_length(length: Any) -> None:
    """Refuse a length that is not a whole number of steps."""
    if not isinstance(length, int) or length < 0:
        raise errors.wrong_decoding(f"length={length}", "zero or more")


def check_batch(state: Any, batch: tuple[int, ...]) -> None:
    """Refuse a state whose leaves do not begin with the batch axes, by which rows are known."""
    for leaf in jax.tree.leaves(state):
        if jnp.shape(leaf)[: len(batch)] != batch:
            raise errors.wrong_decoding(
                f"a state with a leaf {errors.describe(leaf)} for tokens {list(batch)}",
                f"the batch axes {batch} first in every leaf of the state",
            )


def ending(end: Any, dtype: Any) -> jax.Array | None:
    """The end token as an array, so that another token does not retrace."""
    if end is None:
        return None
    if (
        not (hasattr(end, "dtype") or isinstance(end, int))
        or jnp.ndim(end)
        or not jnp.issubdtype(jnp.asarray(end).dtype, jnp.integer)
    ):
        raise errors.wrong_decoding(f"end={end!r}", "one integer token")
    return jnp.asarray(end, dtype)
