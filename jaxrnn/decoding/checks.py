"""Checks and conversions that every way of decoding shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxrnn import errors

Step = Callable[[Any, jax.Array], tuple[Any, jax.Array]]


def bound(step: Step) -> jax.tree_util.Partial:
    """A step as a `Partial`, which passes through `jit`."""
    if not callable(step):
        raise errors.not_a_step(step)
    return step if isinstance(step, jax.tree_util.Partial) else jax.tree_util.Partial(step)


def written(step: Step, state: Any, token: jax.Array) -> tuple[Any, jax.Array]:
    """A step, with what it returns checked."""
    made = step(state, token)
    errors.check_written(state, made, token.shape)
    return made


def signed(tokens: jax.Array) -> jax.Array:
    """Tokens in 32 signed bits or more: narrow ones cannot hold a vocabulary above 256, and -1
    tells of NaN.
    """
    wide = tokens.dtype.itemsize > 3 and jnp.issubdtype(tokens.dtype, jnp.signedinteger)
    return tokens if wide else tokens.astype(jnp.int32)


def ending(end: Any, step: Step, state: Any, token: jax.Array) -> jax.Array | None:
    """The end token as an array, so that another token does not retrace; one that is known is a
    token of the vocabulary.
    """
    if end is None:
        return None
    do = "Pass end=None where no token ends a sequence."
    errors.check_token("end", end, do)
    if not isinstance(end, Tracer):
        _, logits = jax.eval_shape(lambda s, t: written(step, s, t), state, token)
        errors.check_in_vocabulary("end", int(end), logits.shape[-1], do)
    return jnp.asarray(end, token.dtype)
