"""Losses over sequences with padding. Each is a sum over valid steps beside their number, so pieces of a sequence add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn.recurrence import wide


class Loss(NamedTuple):
    """A loss summed over valid steps, and how many there were."""

    total: jax.Array
    steps: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The loss of a valid step; 0 where there is none."""
        return self.total / jnp.maximum(self.steps, 1).astype(self.total.dtype)

    @property
    def bits(self) -> jax.Array:
        """The mean in bits: of a cross entropy, bits per token."""
        return self.mean / math.log(2)

    @classmethod
    def over(cls, values: jax.Array, mask: Any = None) -> Loss:
        """From the losses of single steps `[T, ...]`, those under a false mask left out; any loss of one's own is made with it."""
        values = values.astype(wide(values.dtype))
        if mask is None:
            return cls(values.sum(), jnp.int32(values.size))
        mask = spread(mask, values)
        return cls(jnp.where(mask, values, 0).sum(), mask.sum(dtype=jnp.int32))


LossFunction = Callable[[Any, Any, Any], Loss]  # loss(ys, targets, mask)


def cross_entropy(logits: jax.Array, targets: jax.Array, mask: Any = None) -> Loss:
    """-log softmax(logits)[target], in nats: logits `[T, ..., V]`, integer targets `[T, ...]`.

    What lies under a false mask, even NaN or a token out of range, changes neither the loss nor its gradient.

    Example:
      >>> loss = cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 1, 99]), jnp.array([True, True, False]))
      >>> round(float(loss.bits), 4), int(loss.steps)  # two bits, the logarithm of four
      (2.0, 2)
    """
    logits, targets = visible(logits, mask), visible(targets, mask)
    logits = logits.astype(wide(logits.dtype))
    return Loss.over(optax.softmax_cross_entropy_with_integer_labels(logits, targets), mask)


def mse(ys: jax.Array, targets: jax.Array, mask: Any = None) -> Loss:
    """The squared error, mean over the features: both `[T, ..., F]`. What lies under a false mask changes nothing.

    Example:
      >>> mse(jnp.zeros((3, 2)), jnp.ones((3, 2))).mean.item()
      1.0
    """
    ys, targets = visible(ys, mask), visible(targets, mask)
    dtype = wide(ys.dtype)
    return Loss.over(jnp.square(ys.astype(dtype) - targets.astype(dtype)).mean(-1), mask)


def visible(x: jax.Array, mask: Any) -> jax.Array:
    """Zero under a false mask."""
    return x if mask is None else jnp.where(spread(mask, x), x, jnp.zeros_like(x))


def spread(mask: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)
