"""Truncated backpropagation through time: how often a gradient is taken and how far it reaches
back, and steps that only warm the state up.

Time is cut into windows. With t counted from the end of the burn-in, the first k2 steps are one,
whose losses all count. Then, every k1 steps, comes a window of the last k2 steps, of which the
losses of the last k1 count. It begins from the state there as a constant:

    |---- k2 ----|
        |........|-k1-|          dots: run again, for the gradient alone
             |........|-k1-|

So every step's loss counts once, and the sum of the windows' losses is the loss of the whole. Its
gradient is that sum's with each window's own cut. A window begins where the window before it has
run k1 steps, so one state is handed on, whatever k1 and k2 are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.axes import steps
from jaxrnn.data import Batch
from jaxrnn.layer import Layer, Params, State
from jaxrnn.pieces import Run
from jaxrnn.sequence import within
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.strategies.chunked import sliced
from jaxrnn.training.evaluation import adder, as_batch, check_work
from jaxrnn.training.losses import LossFunction, MaskedMean
from jaxrnn.unroll import prepare


def truncated(
    cell: Layer,
    loss: LossFunction,
    params: Params,
    batch: Batch,
    state: State = None,
    *,
    k2: int,
    k1: int | None = None,
    burn_in: int = 0,
    key: jax.Array | None = None,
    strategy: Strategy = Scan(),
) -> tuple[State, MaskedMean]:
    """The loss of a batch whose gradient is truncated: `(state, MaskedMean)`, a term of any
    objective. The value is that of the whole sequence, whatever k1 and k2.

    Every k1 steps the gradient of their losses is taken through the last k2 steps, and all of them
    are summed: BPTT(k2; k1) of Williams & Peng. The gradient of the loss at step t, counted from
    the end of the burn-in, ends at the state before step

        c(t) = 0                                  for t < k2
        c(t) = (floor((t - k2) / k1) + 1) k1      else

    so it reaches back k2 - k1 + 1 to k2 steps. For k2 >= T that is exact BPTT. It never reaches
    into what was before the batch.

    Each window is run again where it overlaps the one before: the time of about k2 / k1 passes over
    the sequence, and for the gradient of one more such pass than `Scan` takes, since memory is that
    of one window.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, a sum over steps.
      params: its params.
      batch: a `Batch` of T steps.
      state: the state before the first step, a constant; by default the initial state.
      k2: how many steps a gradient reaches back.
      k1: how many steps lie between gradients, at most k2; by default k2.
      burn_in: the first so many steps run the state warm, without a loss or a gradient (R2D2).
      key: a PRNG key, for training mode; a step that is run again has the same noise.
      strategy: how each window is evaluated.

    Returns:
      The state after the last step, a constant, and the loss of the steps after the burn-in.

    Raises:
      TypeError: for sizes that are no integers, and as `bptt_step`.
      ValueError: for k1 above k2, sizes below 1, a burn-in as long as the batch, or a net that
        looks ahead.

    Example:
      >>> net = Stack((GRU(8), Dense(3)))
      >>> params = net.init(jax.random.key(0), 3)
      >>> batch = Batch(jnp.ones((20, 2, 3)), jnp.zeros((20, 2, 3)))
      >>> def objective(params, batch, key):
      ...     return truncated(net, mse, params, batch, k1=4, k2=8, key=key)[1]
      >>> gradient = jax.grad(lambda params: objective(params, batch, None).mean)(params)

    Williams & Peng 1990; burn-in: Kapturowski et al. 2019.
    """
    check_work("truncated", cell, loss, strategy)
    if not cell.causal:
        raise errors.not_causal(cell, "truncated")
    if key is not None:
        errors.check_key("truncated", key)
    errors.check_windows("truncated", k1, k2, burn_in)
    batch = as_batch("truncated", batch, padded=False)
    with errors.leaves_checked(cell, params=params, state=state):
        return windows(cell, loss, params, batch, state, key, strategy, k1, k2, burn_in)


def windows(
    cell: Layer,
    loss: LossFunction,
    params: Params,
    batch: Batch,
    state: State,
    key: jax.Array | None,
    strategy: Strategy,
    k1: int | None,
    k2: int | None,
    burn_in: int,
) -> tuple[State, MaskedMean]:
    """`truncated` of what was checked; without k2 one window, of all steps after the burn-in."""
    add, nothing = adder(cell, loss, params)
    params, xs, state, start, mask, resets = prepare(
        cell, params, batch.xs, state, batch.mask, batch.resets
    )
    length = steps(xs)
    errors.check_burn_in(cell, burn_in, length)
    errors.check_extra(cell, batch.targets, xs, length)
    resets = controls.directed(mask, resets, False)
    run = Run(strategy, False, mask, resets, key, jnp.arange(length))

    def piece(given: tuple, state: State, begin: Any, size: int, counts: bool) -> tuple:
        """The state and the loss after `size` steps from `begin` on."""
        params, xs, start = given

        def block(carry: tuple, inputs: Any, size: Any) -> tuple[Any, None]:
            (state, total), (xs, targets, arrays) = carry, inputs
            chunk = run.chunk(arrays)
            state, ys = within(cell, params, state, start, xs, chunk)
            if counts:
                total = add(total, params, controls.blank(ys, chunk.mask), targets, chunk.mask)
            return (state, total), None

        inputs = sliced((xs, batch.targets, run.arrays), begin, size)
        return strategy.cut(block, (state, nothing), inputs, size, False)[0]

    given = (params, xs, start)
    if burn_in:
        state = piece(*jax.lax.stop_gradient((given, state)), 0, burn_in, False)[0]
        state = jax.lax.stop_gradient(state)
    length -= burn_in
    back = length if k2 is None else min(k2, length)
    every = max(1, back if k1 is None else min(k1, back))

    def window(state: State, begin: Any, size: int, silent: int, cut: int) -> tuple:
        """The states after `cut` steps and after `size`, and the loss of all but the first
        `silent`.
        """
        middle, total = state, nothing
        for a, b in pairwise(sorted({0, silent, cut, size})):
            state, part = piece(given, state, burn_in + begin + a, b - a, a >= silent)
            middle, total = state if b == cut else middle, total + part
        return *jax.lax.stop_gradient((middle, state)), total

    # Only what a window begins with is kept for the backward pass, which runs the window again.
    again = jax.checkpoint(window, prevent_cse=False, static_argnums=(2, 3, 4))

    def body(carry: tuple, i: jax.Array) -> tuple[tuple, None]:
        middle, _, total = carry
        middle, last, part = again(middle, i * every, back, back - every, every)
        return (middle, last, total + part), None

    count, rest = divmod(length - back, every)
    carry = window(state, 0, back, 0, every if back < length else back)
    carry, _ = jax.lax.scan(body, carry, jnp.arange(1, count + 1))
    middle, last, total = carry
    if rest:
        size = back - every + rest
        _, last, part = window(middle, (count + 1) * every, size, back - every, size)
        total += part
    return last, total
