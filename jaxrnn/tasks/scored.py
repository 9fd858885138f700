"""What all tasks share: answers that count at some steps only, and batches as a function of the
step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, training
from jaxrnn.data import Batch
from jaxrnn.training.losses import LossFunction


class Scored(NamedTuple):
    """Answers `values [T, B, ...]`, zero except where they count, and booleans `where [T, B]`, true
    where they count.

    `where` is not the batch's mask: that would stop the state too, while here the net runs on and
    is asked at some steps only.
    """

    values: jax.Array
    where: jax.Array

    @property
    def answer(self) -> jax.Array:
        """The last answer of each row, `[B, ...]`: for a net with one output a sequence."""
        steps = self.where.shape[0]
        last = steps - 1 - jnp.argmax(self.where[::-1], axis=0).astype(jnp.int32)
        index = last.reshape((1,) + last.shape + (1,) * (self.values.ndim - self.where.ndim))
        return jnp.take_along_axis(self.values, index, axis=0)[0]

    @classmethod
    def last(cls, answer: jax.Array, last: jax.Array, steps: int) -> Scored:
        """One answer `[B, ...]` for a sequence, due at the step `last [B]`."""
        where = jnp.arange(steps, dtype=jnp.int32).reshape((steps,) + (1,) * last.ndim) == last
        wide = where.reshape(where.shape + (1,) * (answer.ndim - last.ndim))
        return cls(jnp.where(wide, answer, jnp.zeros_like(answer)), where)


@functools.cache
def scored(loss: LossFunction) -> LossFunction:
    """A masked loss over a task's targets: it counts where the task asks for an answer and the step
    is valid, with a true mask.

        scored(loss)(ys, targets, mask) = loss(ys, targets.values, targets.where & mask)

    Args:
      loss: such as `training.cross_entropy` or `training.mse`.

    Returns:
      A loss for `training.bptt_step`, `training.truncated_bptt_step` and `training.evaluate`; the
      same one for the same loss.

    Raises:
      TypeError: unless `loss` is a function.

    Example:
      >>> net, tx = Stack((Embed(10, 8), GRU(16), Dense(10))), optimizer(1e-2)
      >>> state = TrainState.create(net, net.init(jax.random.key(0), TOKEN), tx, jax.random.key(1))
      >>> step = bptt_step(net, scored(training.cross_entropy), tx)
      >>> state, metrics = step(state, rnn.tasks.copy(jax.random.key(2), lag=5, batch=4))
    """
    errors.check_loss_function("scored", loss)

    def over(ys: Any, targets: Scored, mask: Any = None) -> training.MaskedMean:
        return loss(ys, targets.values, targets.where if mask is None else targets.where & mask)

    return over


def batches(task: Callable[..., Batch], key: jax.Array, **settings: Any) -> Callable[[int], Batch]:
    """Fresh data at every step, as `training.fit` takes it: `batches(step) = task(fold_in(key,
    step), **settings)`, in one jit.

    Raises:
      TypeError: for what is no task, no key, or a setting that the task has not; from the function,
        for a step that is no integer from 0 on.

    Example:
      >>> source = batches(rnn.tasks.parity, jax.random.key(0), length=6, batch=4)
      >>> source(3).xs.shape
      (6, 4)
    """
    errors.check_key("batches", key)
    errors.check_task(task, key, settings)

    @jax.jit
    def draw(step: jax.Array) -> Batch:
        return task(jax.random.fold_in(key, step), **settings)

    def source(step: int) -> Batch:
        errors.check_step("batches", step)
        return draw(jnp.uint32(step))

    return source
