"""Masks drawn from a sequence's keys."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrnn.layer import Noise

Per = Literal["step", "sequence"]
PERS = ("step", "sequence")


def bernoulli(noise: Noise, probability: float, shape: tuple[int, ...], per: Per) -> jax.Array:
    """Booleans `[T, *shape]`, true with this probability: drawn for each step, or once and repeated
    for all T.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, float(probability), shape)

    if per == "step":
        return jax.vmap(draw)(noise.steps)
    return jnp.broadcast_to(draw(noise.sequence), (*noise.steps.shape, *shape))


def drop(x: Any, keep: jax.Array, rate: float) -> jax.Array:
    """Zero where `keep` is false, and the rest scaled up, so that the expectation is x."""
    return jnp.where(keep, x / (1 - rate), 0)
