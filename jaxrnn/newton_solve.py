"""One cell's trajectory by Newton's method, with a guess and a report."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.axes import steps
from jaxrnn.cell import Cell
from jaxrnn.layer import Layer, Noise, Params, State
from jaxrnn.strategies import Newton
from jaxrnn.unroll import check_static, prepare


class NewtonInfo(NamedTuple):
    """How the iteration ended.

    `states [T, ...]`, leaf by leaf, are a guess for the next solve. `iterations []` says how many
    there were. The rest is for each row: `step`, the last change; `residual`, how far a state is
    from one step after the state before it; `rounding`, an estimate of how far rounding at every
    step may have grown; and `converged`. The three sizes are relative to 1 + |state|, the largest
    of the row.
    """

    states: State
    iterations: jax.Array
    step: jax.Array
    residual: jax.Array
    rounding: jax.Array
    converged: jax.Array


def newton_solve(
    cell: Cell,
    params: Params,
    xs: Any,
    guess: State | None = None,
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    strategy: Newton = Newton(),
) -> tuple[State, Any, NewtonInfo]:
    """A whole sequence by Newton's method, from a guess on: `(state, ys, info)`.

    It is `unroll(cell, params, xs, strategy=strategy)` for one cell that is no composite. Where the
    params have moved little since the last solve, as in training, its `info.states` are a guess
    that saves iterations.

    Args:
      cell: one cell that is no composite; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`.
      guess: states `[T, ...]`, leaf by leaf, like the cell's; by default one step from the initial
        state at every t.
      state: the state before the first step (reversed: the last); by default the initial state.
      mask: booleans `[T, ...]`, true where the step is valid, as in `unroll`.
      resets: booleans `[T, ...]`, true where a new sequence begins, as in `unroll`.
      reverse: run from the last step to the first; outputs stay in their places.
      key: a PRNG key, for training mode.
      strategy: a `Newton`.

    Returns:
      The last state, the outputs `[T, ..., *]` and a `NewtonInfo`. Rows that have not converged are
      NaN in the first two; `info.states` are too.

    Raises:
      TypeError, ValueError: as `unroll`; for a composite or a cell without a state; for a guess of
        other shapes.

    Example:
      >>> cell = GRU(8)
      >>> params, xs = cell.init(jax.random.key(0), features(3)), jnp.ones((50, 3))
      >>> state, ys, info = newton_solve(cell, params, xs)
      >>> state, ys, again = newton_solve(cell, params, xs, info.states)
      >>> int(again.iterations) < int(info.iterations)
      True

    Lim et al. 2024.
    """
    errors.check_cell(cell, Layer)
    if not isinstance(cell, Cell):
        raise errors.no_trajectory(cell)
    if not isinstance(strategy, Newton):
        raise errors.not_newton(cell, strategy)
    check_static(cell, strategy, reverse, key)
    errors.check_inputs(cell, "xs", xs)
    with errors.leaves_checked(cell, params=params, state=state, guess=guess):
        return _solve(cell, strategy, reverse, params, xs, guess, state, mask, resets, key)


@partial(jax.jit, static_argnums=2)
def _solve(
    cell: Cell,
    strategy: Newton,
    reverse: bool,
    params: Params,
    xs: Any,
    guess: Any,
    state: Any,
    mask: Any,
    resets: Any,
    key: Any,
) -> tuple[State, Any, NewtonInfo]:
    params, xs, state, start, mask, resets = prepare(cell, params, xs, state, mask, resets)
    if guess is not None:
        errors.check_state(
            cell,
            guess,
            jax.tree.map(lambda s: jax.ShapeDtypeStruct((steps(xs), *s.shape), s.dtype), start),
            "guess",
        )
    zs = cell.project(params, controls.blank(xs, mask), Noise.at(key, jnp.arange(steps(xs))))
    piece = controls.Piece(
        state, start, zs, mask, controls.directed(mask, resets, reverse), steps(xs), reverse
    )
    last, states, report = strategy.trajectory(cell, params, piece, guess)
    return last, controls.blank(cell.readout(params, states, zs), mask), NewtonInfo(states, *report)
