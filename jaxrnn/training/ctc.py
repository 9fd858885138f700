"""Connectionist temporal classification: a loss of sequences whose labels have no places."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn import controls, errors
from jaxrnn.autodiff.products import wide
from jaxrnn.training.losses import MaskedMean


def ctc(
    logits: jax.Array,
    targets: jax.Array,
    mask: Any = None,
    *,
    target_mask: Any = None,
    blank: int = 0,
) -> MaskedMean:
    """-log of the probability, in nats, of all ways to spread the labels over the steps:
    connectionist temporal classification.

        loss = -log sum over paths of prod_t softmax(logits_t)[path_t]

    The sum is over the paths that give the labels once repeated tokens are merged into one and
    blanks are taken out.

    It counts sequences, not steps, and is not a sum over steps: use it with `make_step`. Where the
    labels need more steps than there are (one each, and a blank between equal ones), the loss is
    infinite. Rows without a valid step are left out.

    Args:
      logits: `[T, ..., V]`; one of the V tokens is the blank.
      targets: labels `[L, ...]`, never the blank.
      mask: booleans `[T, ...]`, true where the step is valid; the others are left out, whatever
        their logits are.
      target_mask: booleans `[L, ...]`, true where the label is valid; by default wherever the
        target is not the blank.
      blank: the token that stands for no label.

    A row with a valid label that is the blank, or no token at all, gives NaN.

    Raises:
      TypeError: for logits that are not floating, targets or a blank that are no integers, or masks
        that hold no booleans.
      ValueError: for targets of another batch than that of the logits, masks of other shapes than
        `[T, ...]` and `[L, ...]`, or a blank that is none of the V tokens.

    Example:
      >>> targets = jnp.array([[1, 2], [3, 0]])  # "1 3" and "2": 5 and 6 of the 64 paths
      >>> loss = ctc(jnp.zeros((3, 2, 4)), targets)
      >>> round(float(loss.mean), 3), int(loss.steps)
      (2.458, 2)

    Graves et al. 2006.
    """
    errors.check_ctc(logits, targets, mask, target_mask, blank)
    logits, batch = controls.blank(logits, mask), logits.shape[1:-1]
    logits = logits.astype(wide(logits.dtype))
    if not logits.shape[0]:
        return MaskedMean(jnp.zeros((), logits.dtype), jnp.int32(0))
    targets = jnp.asarray(targets).astype(jnp.int32)
    there = targets != blank if target_mask is None else target_mask
    targets = jnp.where(there, targets, blank)
    labels = (targets >= 0) & (targets < logits.shape[-1]) & (targets != blank)
    wrong = (there & ~labels).any(0)
    mask = jnp.ones(logits.shape[:-1], bool) if mask is None else mask

    def rows(x: jax.Array) -> jax.Array:
        """Batch first, in one axis."""
        x = x.reshape(x.shape[0], math.prod(batch), *x.shape[1 + len(batch) :])
        return jnp.moveaxis(x, 0, 1)

    def missing(flags: jax.Array) -> jax.Array:
        return rows(~flags).astype(logits.dtype)

    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        values = optax.ctc_loss(
            rows(logits), missing(mask), rows(targets), missing(there), blank_id=blank
        )
    again = (targets[1:] == targets[:-1]) & there[1:]
    need, steps = (
        there.sum(0, dtype=jnp.int32) + again.sum(0, dtype=jnp.int32),
        mask.sum(0, dtype=jnp.int32),
    )
    values = jnp.where(need > steps, jnp.inf, values.reshape(batch))
    return MaskedMean.over(jnp.where(wrong, jnp.nan, values), steps > 0)
