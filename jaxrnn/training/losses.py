"""Losses over sequences with padding. Each is a sum over valid steps and their number, so that the
pieces of a sequence add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import controls, errors
from jaxrnn.autodiff.products import wide


class MaskedMean(NamedTuple):
    """A loss or a score summed over valid steps, and how many there were. Two of them add up, and
    so does a `sum` of many: the mean is then that of all their steps.

    Example:
      >>> whole = sum([MaskedMean.over(jnp.ones(3)), MaskedMean.over(jnp.zeros(1))])
      >>> whole.mean.item()
      0.75
    """

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

    def __add__(self, other: Any) -> MaskedMean:
        """The sum over the steps of both."""
        if not isinstance(other, MaskedMean):
            raise errors.wrong_sum(other)
        return MaskedMean(self.total + other.total, self.steps + other.steps)

    def __radd__(self, other: Any) -> MaskedMean:
        """`sum` begins with 0."""
        return self if isinstance(other, int) and other == 0 else self.__add__(other)

    @classmethod
    def over(cls, values: jax.Array, mask: Any = None) -> MaskedMean:
        """From the losses of single steps `[T, ...]`; use it for a loss of your own.

        The mask is true where the step is valid; the other steps are left out.

        Raises:
          TypeError: for a mask that holds no booleans.
          ValueError: for a mask of another shape than that of the values.
        """
        values = values.astype(wide(values.dtype))
        if mask is None:
            return cls(values.sum(), jnp.int32(values.size))
        errors.check_loss_mask(values, mask)
        return cls(jnp.where(mask, values, 0).sum(), mask.sum(dtype=jnp.int32))


LossFunction = Callable[[Any, Any, Any], MaskedMean]  # loss(ys, targets, mask)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: Any = None, *, smoothing: float = 0.0
) -> MaskedMean:
    """-log softmax(logits)[target], in nats: logits `[T, ..., V]`, integer targets `[T, ...]`.

        loss = -sum_v q_v log softmax(logits)_v,  q = (1 - smoothing) onehot(target) + smoothing / V

    The mask `[T, ...]` is true where the step is valid. What lies under false, even NaN or a token
    out of range, changes neither the loss nor its gradient. At a valid step a target outside 0 to
    V - 1 gives NaN; where PyTorch ignores a target of -100, pass the mask `targets != -100`.

    For label smoothing pass a training step `functools.partial(cross_entropy, smoothing=0.1)`,
    created once: a new partial is a new function, which is traced again.

    Raises:
      TypeError: for targets that are no integers, or a mask that holds no booleans.
      ValueError: for a smoothing outside [0, 1), or targets of another shape than `[T, ...]`.

    Example:
      >>> targets, mask = jnp.array([0, 1, 99]), jnp.array([True, True, False])
      >>> loss = cross_entropy(jnp.zeros((3, 4)), targets, mask)
      >>> round(float(loss.bits), 4), int(loss.steps)  # two bits, the logarithm of four
      (2.0, 2)

    Label smoothing: Szegedy et al. 2016.
    """
    errors.check_rate("cross_entropy", "smoothing", smoothing)
    errors.check_targets("cross_entropy", logits.shape[:-1], targets, tokens=True)
    logits, targets = controls.blank(logits, mask), controls.blank(targets, mask)
    logits = logits.astype(wide(logits.dtype))
    values = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    values = jnp.where(targets < 0, jnp.nan, values)  # an index from the end, it would be
    if smoothing:
        values = (1 - smoothing) * values - smoothing * jax.nn.log_softmax(logits).mean(-1)
    return MaskedMean.over(values, mask)


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

    Example:
      >>> targets = jnp.array([[1, 2], [3, 0]])  # "1 3" and "2": 5 and 6 of the 64 paths
      >>> loss = ctc(jnp.zeros((3, 2, 4)), targets)
      >>> round(float(loss.mean), 3), int(loss.steps)
      (2.458, 2)

    Graves et al. 2006.
    """
    logits, batch = controls.blank(logits, mask), logits.shape[1:-1]
    logits = logits.astype(wide(logits.dtype))
    there = targets != blank if target_mask is None else target_mask
    targets = jnp.where(there, targets, blank)
    mask = jnp.ones(logits.shape[:-1], bool) if mask is None else mask

    def rows(x: jax.Array) -> jax.Array:
        """Batch first, in one axis."""
        x = x.reshape(x.shape[0], math.prod(batch), *x.shape[1 + len(batch) :])
        return jnp.moveaxis(x, 0, 1)

    missing = lambda flags: rows(~flags).astype(logits.dtype)  # noqa: E731
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        values = optax.ctc_loss(
            rows(logits), missing(mask), rows(targets), missing(there), blank_id=blank
        )
    again = (targets[1:] == targets[:-1]) & there[1:]
    need, steps = (
        there.sum(0, dtype=jnp.int32) + again.sum(0, dtype=jnp.int32),
        mask.sum(0, dtype=jnp.int32),
    )
    return MaskedMean.over(jnp.where(need > steps, jnp.inf, values.reshape(batch)), steps > 0)


def mse(ys: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """The squared error, mean over the features: both `[T, ..., F]`.

    The mask `[T, ...]` is true where the step is valid; what lies under false changes nothing.

    Raises:
      ValueError: for targets of another shape than that of the outputs: nothing is broadcast.

    Example:
      >>> mse(jnp.zeros((3, 2)), jnp.ones((3, 2))).mean.item()
      1.0
    """
    errors.check_targets("mse", ys.shape, targets)
    ys, targets = controls.blank(ys, mask), controls.blank(targets, mask)
    dtype = wide(ys.dtype)
    return MaskedMean.over(jnp.square(ys.astype(dtype) - targets.astype(dtype)).mean(-1), mask)
