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

    def __mul__(self, factor: Any) -> MaskedMean:
        """The loss times a number, over as many steps: 0.5 * loss."""
        return MaskedMean(self.total * factor, self.steps)

    __rmul__ = __mul__

    def plus(self, penalty: Any) -> MaskedMean:
        """This loss with a penalty added to its mean, over as many steps: another `MaskedMean`, by
        its mean, or a number.

        Raises:
          TypeError: for anything else.

        Example:
          >>> loss, weights = MaskedMean.over(jnp.ones(3)), jnp.ones((2, 2))
          >>> loss.plus(0.1 * jnp.square(weights).sum()).mean.item()
          1.399999976158142
        """
        errors.check_added(penalty, MaskedMean)
        penalty = penalty.mean if isinstance(penalty, MaskedMean) else penalty
        penalty = jnp.asarray(penalty, self.total.dtype)
        return MaskedMean(self.total + penalty * self.steps.astype(self.total.dtype), self.steps)

    @classmethod
    def over(cls, values: jax.Array, mask: Any = None) -> MaskedMean:
        """From the losses of single steps `[T, ...]`; use it for a loss of your own.

        The mask is true where the step is valid; the other steps are left out.

        Raises:
          TypeError: for values that are no array of real numbers, or a mask that holds no booleans.
          ValueError: for a mask of another shape than that of the values.
        """
        errors.check_values(values, mask)
        floating = jnp.issubdtype(values.dtype, jnp.floating)
        values = values.astype(wide(values.dtype if floating else jnp.float32))
        if mask is None:
            return cls(values.sum(), jnp.int32(values.size))
        return cls(jnp.where(mask, values, 0).sum(), mask.sum(dtype=jnp.int32))


LossFunction = Callable[[Any, Any, Any], MaskedMean]  # loss(ys, targets, mask)


def checked(who: Any, loss: Any) -> MaskedMean:
    """What a loss or an objective returned, if it is a loss of valid steps."""
    errors.check_loss(who, loss, MaskedMean)
    return MaskedMean(jnp.asarray(loss.total), jnp.asarray(loss.steps))


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    mask: Any = None,
    *,
    smoothing: float = 0.0,
    weights: Any = None,
) -> MaskedMean:
    """-log softmax(logits)[target], in nats: logits `[T, ..., V]`, integer targets `[T, ...]`.

        loss = -sum_v w_v q_v log softmax(logits)_v
        q = (1 - smoothing) onehot(target) + smoothing / V

    The mask `[T, ...]` is true where the step is valid. What lies under false, even NaN or a token
    out of range, changes neither the loss nor its gradient. At a valid step a target outside 0 to
    V - 1 gives NaN; where PyTorch ignores a target of -100, pass the mask `targets != -100`.

    The class weights w, a tuple or an array `[V]`, are 1 by default. The mean is over valid steps,
    whatever they weigh, so that pieces add up. PyTorch divides by the weights of the targets: its
    mean is this one over their mean weight.

    For label smoothing or weights pass a training step `functools.partial(cross_entropy,
    smoothing=0.1)`, created once: a new partial is a new function, which is traced again.

    Raises:
      TypeError: for targets that are no integers, a mask that holds no booleans, or weights that
        are no numbers.
      ValueError: for a smoothing outside [0, 1), targets or a mask of another shape than
        `[T, ...]`, or weights that are negative or not V.

    Example:
      >>> targets, mask = jnp.array([0, 1, 99]), jnp.array([True, True, False])
      >>> loss = cross_entropy(jnp.zeros((3, 4)), targets, mask)
      >>> round(float(loss.bits), 4), int(loss.steps)  # two bits, the logarithm of four
      (2.0, 2)

    Label smoothing: Szegedy et al. 2016.
    """
    errors.check_rate("cross_entropy", "smoothing", smoothing)
    errors.check_outputs("cross_entropy", logits, mask)
    errors.check_targets("cross_entropy", logits.shape[:-1], targets, tokens=True)
    logits, targets = controls.blank(logits, mask), controls.blank(targets, mask)
    logits = logits.astype(wide(logits.dtype))
    values, weigh = optax.softmax_cross_entropy_with_integer_labels(logits, targets), None
    if weights is not None:
        errors.check_class_weights(weights, logits.shape[-1])
        weigh = jnp.asarray(weights, logits.dtype)
        values = weighted(values, weigh.at[targets].get(mode="fill", fill_value=jnp.nan))
    values = jnp.where(targets < 0, jnp.nan, values)  # an index from the end, it would be
    if smoothing:
        others = jax.nn.log_softmax(logits)
        others = others if weigh is None else weighted(others, weigh)
        values = (1 - smoothing) * values - smoothing * others.mean(-1)
    return MaskedMean.over(values, mask)


def weighted(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Their product; 0 where the weight is, even of an infinite value."""
    return jnp.where(weights == 0, 0, weights * values)


def binary_cross_entropy(logits: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """-log of the probability, in nats, of F independent yes-or-no targets, summed over them: both
    `[T, ..., F]`.

        loss = -sum_f [y_f log sigmoid(x_f) + (1 - y_f) log(1 - sigmoid(x_f))]

    Targets are booleans or numbers from 0 to 1; outside of that, at a valid step, the loss is NaN.
    The mask `[T, ...]` is true where the step is valid; what lies under false changes nothing.

    Raises:
      TypeError: for logits that are not floating, or a mask that holds no booleans.
      ValueError: for targets of another shape than that of the logits: nothing is broadcast.

    Example:
      >>> notes = jnp.array([[True, False, True]])  # three keys of a piano
      >>> round(float(binary_cross_entropy(jnp.zeros((1, 3)), notes).bits), 4)  # a bit each
      3.0

    Bernoulli outputs over time: Boulanger-Lewandowski, Bengio & Vincent 2012.
    """
    errors.check_outputs("binary_cross_entropy", logits, mask)
    errors.check_targets("binary_cross_entropy", logits.shape, targets)
    logits, targets = controls.blank(logits, mask), controls.blank(targets, mask)
    logits = logits.astype(wide(logits.dtype))
    targets = targets.astype(logits.dtype)
    values = optax.sigmoid_binary_cross_entropy(logits, targets)
    values = jnp.where((targets >= 0) & (targets <= 1), values, jnp.nan)
    return MaskedMean.over(values.sum(-1), mask)


def gaussian_nll(ys: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """-log of the density, in nats, of targets `[T, ..., F]` under independent normal
    distributions, summed over the F features.

        m, s = ys[..., :F], ys[..., F:]
        loss = sum_f 1/2 [log(2 pi) + s_f + (y_f - m_f)^2 exp(-s_f)]

    The outputs `[T, ..., 2 F]` are the means and then the log-variances s = log sigma^2, as a
    `Dense(2 * F)` gives them: any number is a log-variance, so none is cut off.

    The mask `[T, ...]` is true where the step is valid; what lies under false changes nothing.

    Raises:
      TypeError: for outputs that are not floating, or a mask that holds no booleans.
      ValueError: unless there are twice as many outputs as targets: nothing is broadcast.

    Example:
      >>> ys = jnp.array([[3.0, 0.0]])  # a mean of 3, a variance of 1
      >>> round(float(gaussian_nll(ys, jnp.array([[3.0]])).mean), 3)  # log(2 pi) / 2
      0.919

    Nix & Weigend 1994.
    """
    errors.check_outputs("gaussian_nll", ys, mask)
    if hasattr(targets, "shape") and ys.shape[-1:] != (2 * (targets.shape or (0,))[-1],):
        raise errors.wrong_halves(ys, targets)
    errors.check_targets("gaussian_nll", (*ys.shape[:-1], ys.shape[-1] // 2), targets)
    ys, targets = controls.blank(ys, mask), controls.blank(targets, mask)
    ys = ys.astype(wide(ys.dtype))
    means, logs = jnp.split(ys, 2, -1)
    values = logs + jnp.square(targets.astype(ys.dtype) - means) * jnp.exp(-logs)
    return MaskedMean.over(0.5 * (math.log(2 * math.pi) + values).sum(-1), mask)


def mse(ys: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """The squared error, mean over the features: both `[T, ..., F]`.

    The mask `[T, ...]` is true where the step is valid; what lies under false changes nothing.

    Raises:
      TypeError: for outputs that are not floating, or a mask that holds no booleans.
      ValueError: for targets of another shape than that of the outputs: nothing is broadcast.

    Example:
      >>> mse(jnp.zeros((3, 2)), jnp.ones((3, 2))).mean.item()
      1.0
    """
    errors.check_outputs("mse", ys, mask)
    errors.check_targets("mse", ys.shape, targets)
    ys, targets = controls.blank(ys, mask), controls.blank(targets, mask)
    dtype = wide(ys.dtype)
    return MaskedMean.over(jnp.square(ys.astype(dtype) - targets.astype(dtype)).mean(-1), mask)
