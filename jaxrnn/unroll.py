"""`unroll` and `fold`: a whole sequence, checked once and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff._jax import split_alike, varied, varying
from jaxrnn.axes import batch_shape, steps
from jaxrnn.layer import Layer, Params, State
from jaxrnn.params import check_kind, checked
from jaxrnn.pieces import Run
from jaxrnn.sequence import sequence, within
from jaxrnn.strategies import Scan, Strategy


def prepare(
    cell: Layer, params: Params, xs: Any, state: Any, mask: Any, resets: Any
) -> tuple[Params, Any, State, State, Any, Any]:
    """Check all that needs the whole network, and split states and flags on a mesh as inputs are.

    Returns params with fixed leaves frozen, inputs, the state to begin with, the initial state (for
    resets), mask and resets.
    """
    xs = jax.tree.map(jnp.asarray, xs)
    check_kind(cell, xs)
    errors.check_rank(cell, xs, 1)
    batch = batch_shape(cell, xs, 1)
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is not None:
            errors.check_flags(cell, name, flags, (steps(xs), *batch))
    params = checked(cell, params, xs)
    start = cell.initial_state(params, batch)
    if state is None:
        state = start
    else:
        errors.check_state(cell, state, start)
    first = jax.tree.leaves(xs)[0]
    state, start = split_alike((state, start), first, len(batch), time=0)
    mask, resets = split_alike((mask, resets), first, len(batch), time=1)
    # So the gradient of what all devices share is summed over them here, and not within a loop.
    axes = varying((params, xs, state, mask, resets))
    params, state, start = varied((params, state, start), axes)
    return params, xs, state, start, mask, resets


def unroll(
    cell: Layer,
    params: Params,
    xs: Any,
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    strategy: Strategy = Scan(),
) -> tuple[State, Any]:
    """A whole sequence: `(state, ys)`.

    Time is axis 0, features are the last axis, and all axes between are batch: `[T, F]`, `[T, B,
    F]`, `[T, A, B, F]`. Tokens are `[T, ...]`.

    Args:
      cell: the cell; static, and an equal one does not retrace.
      params: the params from `cell.init`.
      xs: the inputs.
      state: the state before the first step (reversed: the last); by default
        `cell.initial_state(params, batch_shape)`.
      mask: booleans `[T, ...]`, true where the step is valid; a step under false changes nothing,
        whatever its input is, and its output is zero.
      resets: booleans `[T, ...]`; true means that `xs[t]` begins a new sequence from the initial
        state.
      reverse: run from the last step to the first; outputs stay in their places.
      key: a PRNG key; passing one is training mode (dropout, zoneout). Noise at step t depends on
        (key, t) alone.
      strategy: how the steps are evaluated; it changes time and memory, never the answer.

    Returns:
      The state after the last step and the outputs `[T, ..., *]`. With T=0 they are the state to
      begin with and empty.

    Raises:
      TypeError, ValueError: while tracing, for inputs, params, state, mask or resets that do not
        fit the cell.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 2, 3)))
      >>> ys.shape, state.h.shape
      ((5, 2, 8), (2, 8))
    """
    check_static(cell, strategy, reverse, key)
    errors.check_inputs(cell, "xs", xs)
    with errors.leaves_checked(cell, params=params, state=state, mask=mask, resets=resets):
        return _unroll(cell, strategy, reverse, params, xs, state, mask, resets, key)


@partial(jax.jit, static_argnums=2)
def _unroll(
    cell: Layer,
    strategy: Strategy,
    reverse: bool,
    params: Params,
    xs: Any,
    state: Any,
    mask: Any,
    resets: Any,
    key: Any,
) -> tuple[State, Any]:
    params, xs, state, start, mask, resets = prepare(cell, params, xs, state, mask, resets)
    run = Run(strategy, reverse, mask, resets, key, jnp.arange(steps(xs)))
    state, ys = sequence(cell, params, state, start, xs, run)
    return state, controls.blank(ys, mask)


def fold(
    cell: Layer,
    params: Params,
    xs: Any,
    f: Callable[[Params, Any, Any, Any, Any], Any],
    init: Any,
    *,
    extra: Any = None,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    strategy: Strategy = Scan(),
) -> tuple[State, Any]:
    """A whole sequence whose outputs are consumed piece by piece and never stored for all T:
    `(state, acc)`.

    `acc = f(acc, params, ys, extra, mask)` is called for each piece in turn, with the piece's
    outputs `[t, ...]`, its part of `extra` (targets, say: any pytree of arrays `[T, ...]`) and of
    `mask` (or None). Under `Chunked` the outputs, the loss and what their gradient needs exist for
    one chunk at a time. `f` must be a sum over steps, so that the answer does not depend on the
    cuts; outputs under a false mask are zero.

    Args:
      cell: the cell, as in `unroll`; it must be causal.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      f: a pure function; the same object again does not retrace.
      init: the accumulator before the first piece; f keeps its structure, shapes and dtypes.
      extra: a pytree of arrays with a leading time axis, handed to f piece by piece.
      state: the state before the first step (reversed: the last); by default the initial state.
      mask: booleans `[T, ...]`, true where the step is valid, as in `unroll`.
      resets: booleans `[T, ...]`, true where a new sequence begins, as in `unroll`.
      reverse: run from the last step to the first, and the pieces too.
      key: a PRNG key, for training mode.
      strategy: how the steps are evaluated, and how large the pieces are.

    Returns:
      The state after the last step and the accumulator.

    Raises:
      ValueError: for a cell that is not causal, or `extra` whose time axis is not that of `xs`;
        otherwise as `unroll`.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> total = lambda acc, params, ys, extra, mask: acc + ys.sum()
      >>> xs, zero = jnp.ones((50, 3)), jnp.float32(0)
      >>> state, acc = fold(cell, params, xs, total, zero, strategy=Chunked(8))
      >>> acc.shape
      ()
    """
    check_static(cell, strategy, reverse, key)
    errors.check_inputs(cell, "xs", xs)
    if not cell.causal:
        raise errors.not_causal(cell, "fold")
    errors.check_fold(cell, f)
    errors.check_extra(cell, extra, xs, steps(xs))
    with errors.leaves_checked(cell, params=params, state=state, init=init):
        return _fold(cell, strategy, reverse, f, params, xs, init, extra, state, mask, resets, key)


@partial(jax.jit, static_argnums=(2, 3))
def _fold(
    cell: Layer,
    strategy: Strategy,
    reverse: bool,
    f: Callable,
    params: Params,
    xs: Any,
    init: Any,
    extra: Any,
    state: Any,
    mask: Any,
    resets: Any,
    key: Any,
) -> tuple[State, Any]:
    params, xs, state, start, mask, resets = prepare(cell, params, xs, state, mask, resets)
    run = Run(
        strategy,
        reverse,
        mask,
        controls.directed(mask, resets, reverse),
        key,
        jnp.arange(steps(xs)),
    )

    def block(carry: tuple[State, Any], inputs: Any, size: Any) -> tuple[Any, None]:
        (state, acc), (xs, extra, arrays) = carry, inputs
        chunk = run.chunk(arrays)
        state, ys = within(cell, params, state, start, xs, chunk)
        ys = controls.blank(ys, chunk.mask)
        new = f(acc, params, ys, extra, chunk.mask)
        errors.check_accumulator(cell, new, acc)
        return (state, new), None

    init = jax.tree.map(jnp.asarray, init)
    inputs = (xs, extra, run.arrays)
    (state, acc), _ = strategy.cut(block, (state, init), inputs, steps(xs), reverse)
    return state, acc


def check_static(cell: Any, strategy: Any, reverse: Any = False, key: Any = None) -> None:
    """Refuse anything but a cell, a strategy, a boolean and a key."""
    errors.check_cell(cell, Layer)
    if not isinstance(strategy, Strategy):
        raise errors.wrong_strategy(cell, strategy)
    if not isinstance(reverse, bool):
        raise errors.wrong_reverse(cell, reverse)
    if key is not None:
        errors.check_key(cell, key)
