"""Penalties on what a recurrent net puts out, as means over steps: large activations, fast ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff.products import wide
from jaxrnn.training.losses import MaskedMean


def activation_penalty(ys: jax.Array, mask: Any = None) -> MaskedMean:
    """The mean square of outputs `[T, ..., F]`, AR: those of the last recurrent layer, after
    dropout.

        AR = mean over valid t of  1/F sum_f y_tf^2

    The mask `[T, ...]` is true where the step is valid; what lies under false changes nothing.

    Raises:
      TypeError: for outputs that are not floating, or a mask that holds no booleans.
      ValueError: for a mask of another shape than `[T, ...]`.

    Example:
      >>> ys = jnp.ones((5, 2, 4))
      >>> loss = mse(ys, jnp.zeros_like(ys)).plus(2.0 * activation_penalty(ys))
      >>> loss.mean.item()
      3.0

    Merity, McCann & Socher 2017.
    """
    errors.check_outputs("activation_penalty", ys, mask)
    ys = controls.blank(ys, mask).astype(wide(ys.dtype))
    return MaskedMean.over(jnp.square(ys).mean(-1), mask)


def slowness_penalty(ys: jax.Array, mask: Any = None, resets: Any = None) -> MaskedMean:
    """The mean square of what outputs `[T, ..., F]` change by from step to step, TAR: those of the
    last recurrent layer, before dropout.

        TAR = mean over t > 0 of  1/F sum_f (y_tf - y_{t-1,f})^2

    A step counts where it and the step before it are valid and no new sequence begins. The steps of
    the result are these pairs, of which each row has one fewer than steps.

    Args:
      ys: the outputs of the whole sequence: cut into pieces, as under `Chunked`, they would lack
        the pairs in between.
      mask: booleans `[T, ...]`, true where the step is valid.
      resets: booleans `[T, ...]`, true where a new sequence begins.

    Raises:
      TypeError: for outputs that are not floating, or flags that are no booleans.
      ValueError: for flags of another shape than `[T, ...]`.

    Example:
      >>> ys = jnp.array([[0.0], [1.0], [3.0], [0.0]])
      >>> slow = slowness_penalty(ys, resets=jnp.array([True, False, False, True]))
      >>> slow.mean.item(), slow.steps.item()
      (2.5, 2)

    Merity, McCann & Socher 2017.
    """
    errors.check_outputs("slowness_penalty", ys, mask)
    if resets is not None:
        errors.check_flags("slowness_penalty", "resets", resets, tuple(ys.shape[:-1]))
    ys = controls.blank(ys, mask).astype(wide(ys.dtype))
    pairs = None if mask is None else mask[1:] & mask[:-1]
    if resets is not None:
        pairs = ~resets[1:] if pairs is None else pairs & ~resets[1:]
    return MaskedMean.over(jnp.square(ys[1:] - ys[:-1]).mean(-1), pairs)
