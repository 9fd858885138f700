"""The gradient through time: how a loss depends on every state of a run.

To every state s_t, after its step and its controls, a zero e_t is added,

    s_t = step(s_{t-1}, z_t) + e_t

so that dL/de_t is dL/ds_t: the total derivative, through the output at t, all later steps and all
layers above. One backward pass gives it for all t.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import controls, errors
from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import batch_shape, steps
from jaxrnn.cell import Cell
from jaxrnn.diagnostics.walk import Given, Prepared, checks, prepared, walk
from jaxrnn.layer import Layer, Params, State, WholeSequence
from jaxrnn.sequence import sequence
from jaxrnn.strategies import Scan

AT_ONCE = 16  # rows of a matrix that are computed side by side


def gradient_norms(
    cell: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    at: Any = None,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> Any:
    """How strongly a loss depends on the state after each step: the norms of dL/ds_t.

        L = sum over steps and rows of loss(ys),  or of loss(ys)[at]
        norms_t = |dL / ds_t|

    The derivative is total: through the output at t, all later steps, and all layers above. Under a
    false mask s_t is the state that is carried. A state that a reset replaces has no influence
    beyond it. Each part of a state is varied by itself: an LSTM's c at t moves no output at t, for
    that is read from h.

    Args:
      cell: any cell or network; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      loss: a pure function of the outputs `[T, ..., *]` (zero under a false mask) to the loss of
        every step and row `[T, ...]`; static, and the same object again does not retrace.
      at: the step whose loss is meant, counted from the end below zero; None for the sum of all.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.

    Returns:
      For a cell, its state's structure with norms over units `[T, ...]`, one for each row, in the
      place of each part. For a composite, the tuple of its children's. A layer without a state has
      `()`, and a `WholeSequence`, which has no loop, None.

    Raises:
      TypeError, ValueError: for a loss that is no function or gives another shape, for an `at` that
        is no step; otherwise as `unroll`.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> norms = gradient_norms(cell, params, jnp.ones((50, 3)), lambda ys: ys.sum(-1), at=-1)
      >>> norms.c.shape, bool(norms.h[0] < norms.h[-1])
      ((50,), True)

    Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013.
    """
    given = Given(state, mask, resets, key)
    errors.check_loss_of_outputs("gradient_norms", loss)
    with checks(cell, params, xs, given, reverse):
        chosen = np.ones(steps(xs), bool)
        if at is not None:
            at = errors.step_number("gradient_norms", "at", at, steps(xs))
            chosen = np.arange(steps(xs)) == at
        return _norms(cell, reverse, loss, params, xs, given, chosen)


def gradient_matrix(
    cell: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> Any:
    """The norms of `gradient_norms` for the loss of every step apart.

        matrix[a, t] = |d loss(ys)[a] / ds_t|

    It costs T backward passes, 16 of them side by side: 16 times the memory of a gradient, and
    `[T, T, ...]` for each part of each state. The sum over `a` of one row's gradients is that of
    `gradient_norms`, of the norms it is not.

    Args:
      cell: any cell or network; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      loss: a pure function of the outputs to the loss of every step and row `[T, ...]`; static.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.

    Returns:
      As `gradient_norms`, with arrays `[T, T, ...]`: the loss's step, then the state's.

    Raises:
      TypeError, ValueError: as `gradient_norms`.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> matrix = gradient_matrix(cell, params, jnp.ones((20, 2, 3)), lambda ys: ys.sum(-1))
      >>> matrix.shape, float(matrix[4, 5, 0])  # a later state does not matter
      ((20, 20, 2), 0.0)
    """
    given = Given(state, mask, resets, key)
    errors.check_loss_of_outputs("gradient_matrix", loss)
    with checks(cell, params, xs, given, reverse):
        return _matrix(cell, reverse, loss, params, xs, given)


@partial(jax.jit, static_argnums=(1, 2))
def _norms(
    cell: Layer, reverse: bool, loss: Callable, params: Params, xs: Any, given: Given, chosen: Any
) -> Any:
    losses, pull, norms = _pulled(cell, reverse, loss, params, xs, given)
    return norms(pull(controls.choose(chosen, jnp.ones_like(losses), jnp.zeros_like(losses)))[0])


@partial(jax.jit, static_argnums=(1, 2))
def _matrix(
    cell: Layer, reverse: bool, loss: Callable, params: Params, xs: Any, given: Given
) -> Any:
    losses, pull, norms = _pulled(cell, reverse, loss, params, xs, given)
    length, one = losses.shape[0], jnp.ones_like(losses)

    def row(at: jax.Array) -> Any:
        return norms(pull(controls.choose(jnp.arange(length) == at, one, jnp.zeros_like(one)))[0])

    blocks = -(-length // AT_ONCE)
    # The last block's rows may lie beyond the last step: no loss is chosen, and they are cut off.
    ats = jnp.arange(blocks * AT_ONCE).reshape(blocks, AT_ONCE)
    if blocks <= 1:
        return jax.vmap(row)(jnp.arange(length))
    rows = jax.lax.map(jax.vmap(row), ats)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:length], rows)


def _pulled(
    cell: Layer, reverse: bool, loss: Callable, params: Params, xs: Any, given: Given
) -> tuple[jax.Array, Callable, Callable]:
    """The losses `[T, ...]`, the function that pulls their cotangent back to all states, and the
    one that takes norms of what it gives.
    """
    now = prepared(cell, reverse, params, xs, given)
    batch = batch_shape(cell, now.xs, 1)

    def losses(shifts: Any) -> jax.Array:
        _, ys, _ = walk(cell, now, shifted, shifts)
        found = loss(controls.blank(ys, now.run.mask))
        errors.check_losses(cell, found, (steps(now.xs), *batch))
        return found

    def norms(gradients: Any) -> Any:
        tree = without_loops(cell, gradients)
        return jax.tree.map(lambda g: norm(g, tuple(range(1 + len(batch), g.ndim))), tree)

    return *jax.vjp(losses, shifts_of(now)), norms


def norm(g: jax.Array, axes: Any) -> jax.Array:
    """The Euclidean norm, also of numbers whose squares are too small or too large."""
    scale = jnp.max(jnp.abs(g), axis=axes, keepdims=True, initial=0)
    scale = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)
    return jnp.squeeze(scale, axes) * jnp.sqrt(jnp.sum((g / scale) ** 2, axis=axes))


def shifts_of(now: Prepared) -> Any:
    """A zero for every state of the run: the state's structure, `[T, ...]` leaf by leaf."""
    length = steps(now.xs)
    return zeros_like(
        jax.tree.map(lambda s: jax.ShapeDtypeStruct((length, *s.shape), s.dtype), now.state)
    )


def zeros_like(tree: Any) -> Any:
    """What may be added to every array of a tree; whole numbers do not move."""

    def zero(a: Any) -> jax.Array:
        return jnp.zeros(a.shape, a.dtype if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.float32)

    return jax.tree.map(zero, tree)


def added(tree: Any, shifts: Any) -> Any:
    """The arrays with the shifts added to them, where they move."""

    def add(a: jax.Array, shift: jax.Array) -> jax.Array:
        return a + shift if jnp.issubdtype(a.dtype, jnp.inexact) else a

    return jax.tree.map(add, tree, shifts)


def without_loops(cell: Any, tree: Any) -> Any:
    """A network's tree without the parts of layers that have a state and no loop."""
    if isinstance(cell, WholeSequence):
        return None
    children = getattr(cell, "children", None)
    if children is None:
        return tree
    return tuple(without_loops(c, part) for c, part in zip(children, tree, strict=True))


def shifted(cell: Layer, now: Prepared, shift: Any) -> tuple[State, Any, None]:
    """A layer over a sequence, with the shifts added to its states."""
    return *sequence(cell, *now[:4], now.run._replace(strategy=_Shifted(shift=shift))), None


class _Shifted(Scan):
    """A scan that adds a shift to the state after every step, differentiated as JAX does it."""

    shift: Any = None

    def loops(self, cell: Any) -> bool:
        return False  # `shift` is known here alone

    def run(self, cell: Cell, params: Any, piece: controls.Piece) -> Any:
        both, step = (params, piece.start), controls.controlled(cell)

        def body(state: State, now: tuple) -> tuple[State, State]:
            *inputs, shift = now
            state = added(step(both, state, tuple(inputs), Dot(both)), shift)
            return state, state

        rows = (piece.zs, piece.mask, piece.resets, self.shift)
        return jax.lax.scan(body, piece.state, rows, piece.length, piece.reverse)
