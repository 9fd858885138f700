"""`advance`: one step, streaming."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.axes import batch_shape
from jaxrnn.composite import one_step
from jaxrnn.layer import Layer, Params, State
from jaxrnn.params import check_kind, checked


def advance(
    cell: Layer,
    params: Params,
    state: State,
    x: Any,
    *,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array | None = None,
    t: Any = 0,
) -> tuple[State, Any]:
    """One step: `(state, y)`.

    Args:
      cell: the cell; static.
      params: the params from `cell.init`.
      state: the state before the step, from `cell.initial_state(params, batch_shape)` or an earlier
        call.
      x: one step's input `[..., F]`, or `[...]` tokens.
      mask: optional booleans `[...]`, true where the step is valid; where false the state is
        unchanged and the output zero.
      reset: optional booleans `[...]`; where true the step begins from
        `cell.initial_state(params)`.
      key: a PRNG key; passing one is training mode (dropout, zoneout). The noise is that of step
        `t` of `unroll(..., key=key)`.
      t: which step of the sequence this is; only noise depends on it.

    Returns:
      The new state and the output.

    Raises:
      TypeError, ValueError: for inputs, params or state that do not fit the cell, or a cell that is
        not causal.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, y = advance(cell, params, cell.initial_state(params), jnp.ones(3))
      >>> y.shape
      (8,)
    """
    errors.check_cell(cell, Layer)
    errors.check_inputs(cell, "x", x)
    if key is not None:
        errors.check_key(cell, key)
    with errors.leaves_checked(cell, params=params, state=state, mask=mask, reset=reset, t=t):
        return _advance(cell, params, state, x, mask, reset, key, t)


@jax.jit
def _advance(
    cell: Layer, params: Params, state: State, x: Any, mask: Any, reset: Any, key: Any, t: Any
) -> tuple[State, Any]:
    params, x, mask, reset = prepare_step(cell, params, state, x, mask, reset, "advance")
    errors.check_place(cell, t)
    start = cell.initial_state(params, batch_shape(cell, x, 0))
    state, y = one_step(cell, params, state, start, x, key, t, mask, reset)
    return state, controls.blank(y, mask)


def prepare_step(
    cell: Layer, params: Params, state: State, x: Any, mask: Any, reset: Any, who: str
) -> tuple[Params, Any, Any, Any]:
    """Check all that one step takes: params with fixed leaves frozen, the input, mask and reset."""
    if not cell.causal:
        raise errors.not_causal(cell, who)
    x = jax.tree.map(jnp.asarray, x)
    check_kind(cell, x)
    errors.check_rank(cell, x, 0)
    batch = batch_shape(cell, x, 0)
    for name, flags in (("mask", mask), ("reset", reset)):
        if flags is not None:
            errors.check_flags(cell, name, flags, batch, time=0)
    params = checked(cell, params, x)
    start = jax.eval_shape(lambda p: cell.initial_state(p, batch), params)
    errors.check_state(cell, state, start, "state before the step")
    if reset is not None and mask is not None:
        reset = reset & mask
    return params, x, mask, reset
