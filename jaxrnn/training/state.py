"""What a run is and what a step says of it: two pytrees."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.layer import Layer, Params, State
from jaxrnn.training.optimizers import Transformation, begin


class TrainState(NamedTuple):
    """The whole state of a training run: a pytree, saved and restored as one.

    `carry` is the recurrent state between segments (None where every batch begins afresh);
    `skipped` counts the steps whose update was not finite; the noise of a step depends on (key,
    step) alone.
    """

    params: Params
    opt_state: Any
    step: jax.Array
    key: jax.Array
    carry: State
    skipped: jax.Array

    @classmethod
    def create(
        cls,
        cell: Layer | None,
        params: Params,
        tx: Transformation,
        key: jax.Array,
        batch_shape: tuple[int, ...] | None = None,
    ) -> TrainState:
        """The state of a run before its first step.

        Args:
          cell: the network, or None where no recurrent state is carried.
          params: the params from `cell.init`.
          tx: the optimizer of the step.
          key: a PRNG key for the noise of every step.
          batch_shape: the batch axes, `(32,)` say, that `truncated_bptt_step` carries a recurrent
            state for; every other step begins afresh and takes none.

        Raises:
          TypeError, ValueError: for any argument that is something else.

        Example:
          >>> net, tx = LSTM(8), optimizer(1e-2)
          >>> params = net.init(jax.random.key(0), features(3))
          >>> state = TrainState.create(net, params, tx, jax.random.key(1), batch_shape=(4,))
          >>> state.carry.h.shape
          (4, 8)
        """
        name, carry = "TrainState.create", None
        errors.check_run(name, cell, Layer, params, batch_shape)
        errors.check_key(name, key)
        if batch_shape is not None and cell is not None:
            try:
                carry = cell.initial_state(params, batch_shape)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as why:
                raise errors.other_params(name, cell) from why
        return cls(params, begin(name, tx, params), jnp.int32(0), key, carry, jnp.int32(0))


class Metrics(NamedTuple):
    """The metrics of one training step: the mean loss of a valid step, the gradient's global norm
    before clipping, whether the update was skipped, the number of valid steps (tokens), and whether
    the `clip` of `optimizer` changed the gradient of the update.
    """

    loss: jax.Array
    grad_norm: jax.Array
    skipped: jax.Array
    tokens: jax.Array
    clipped: jax.Array
