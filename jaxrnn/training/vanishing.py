"""A penalty that keeps the norm of the gradient through time the same from step to step.

Let s_t be a cell's state, all of its parts, and d_t = dE/ds_t the whole derivative of the loss,
through the output at t, all later steps and all layers above. Of d_t, what has come back over one
step is

    v_t = d_{t+1} J_{t+1},    J_{t+1} = ds_{t+1} / ds_t    of the step alone

and a gradient that neither vanishes nor explodes keeps |v_t| = |d_{t+1}|.

d_t is had by adding a zero to every new state and taking the loss's gradient in the zeros. Then v
is the step's vector-Jacobian product at all steps side by side. All of it is differentiable again,
so the penalty's own gradient goes through the loop's derivative: that of d_t as well as of J.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.recurrence import recurrence
from jaxrnn.axes import batch_shape, steps
from jaxrnn.cell import Cell
from jaxrnn.layer import Layer, Params, State
from jaxrnn.pieces import Run
from jaxrnn.sequence import sequence
from jaxrnn.strategies import Scan
from jaxrnn.training.losses import MaskedMean, checked
from jaxrnn.unroll import check_static, prepare


def vanishing_penalty(
    cell: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], MaskedMean],
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    exact: bool = True,
) -> tuple[MaskedMean, MaskedMean]:
    """The loss of a run, and how far the norm of its gradient changes from step to step:
    `(loss, penalty)`, both terms of any objective.

        penalty = mean over t and rows of  (|d_{t+1} J_{t+1}| / |d_{t+1}| - 1)^2

    with d_t = dE/ds_t, the derivative of the loss in a recurrent layer's state, and J_t = ds_t /
    ds_{t-1}. A norm is that of one row, over all parts of the state (an LSTM's h and c). Each
    recurrent layer of a network counts, by its own states. Left out are steps under a false mask,
    steps that begin a sequence, and those that no loss depends on, whose gradient is zero.

    The penalty's `steps` are the pairs of steps that counted, of all rows and layers, so that its
    `total` is the paper's sum over time. It does not depend on the loss's scale.

    With the loss it takes the time of about four gradients of the loss and, for an LSTM, the memory
    of nine; with `exact=False` of two and of four.

    Args:
      cell: a network that runs under `Scan`.
      params: its params.
      xs: the inputs `[T, ...]`.
      loss: `loss(ys) -> MaskedMean` of the outputs; it may close over a decoder and its params.
      state: the state to begin with, as in `unroll`.
      mask: booleans `[T, ...]`, true where the step is valid.
      resets: booleans `[T, ...]`, true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.
      exact: differentiate all of the penalty. Otherwise d, the states and the inputs are constants,
        and the gradient is that of J alone, as the paper has it; the value is the same.

    Raises:
      TypeError, ValueError: as `unroll`; for a loss that returns no `MaskedMean`, and for a network
        without a recurrent cell.

    Example:
      >>> net = Stack((Elman(8), Dense(3)))
      >>> params = net.init(jax.random.key(0), 3)
      >>> def objective(params, batch, key):
      ...     error = lambda ys: mse(ys, batch.targets, batch.mask)
      ...     loss, penalty = vanishing_penalty(net, params, batch.xs, error, mask=batch.mask)
      ...     return loss.plus(0.1 * penalty)
      >>> tx = optimizer(1e-2)
      >>> run = TrainState.create(None, params, tx, jax.random.key(1))
      >>> batch = Batch(jnp.ones((6, 2, 3)), jnp.zeros((6, 2, 3)))
      >>> run, metrics = make_step(objective, tx)(run, batch)

    Pascanu, Mikolov & Bengio 2013.
    """
    check_static(cell, Scan(), reverse, key)
    errors.check_flag("vanishing_penalty", "exact", exact)
    errors.check_signature("vanishing_penalty", "loss", loss, ("ys",))
    errors.check_inputs(cell, "xs", xs)
    with errors.leaves_checked(cell, params=params, state=state, mask=mask, resets=resets):
        params, xs, state, start, mask, resets = prepare(cell, params, xs, state, mask, resets)
    run = Run(Scan(), reverse, mask, resets, key, jnp.arange(steps(xs)))

    def forward(shifts: list | None) -> tuple[jax.Array, tuple[MaskedMean, list[Met]]]:
        strategy = _Shifted(shifts=shifts, met=[])
        _, ys = sequence(cell, params, state, start, xs, run._replace(strategy=strategy))
        found = checked("vanishing_penalty", loss(controls.blank(ys, mask)))
        return found.total, (found, strategy.met)

    shapes = [floats(m.before) for m in jax.eval_shape(forward, None)[1][1]]
    if not shapes:
        raise errors.no_recurrence("vanishing_penalty", cell)
    shifts = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    ds, (found, met) = jax.grad(forward, has_aux=True)(shifts)
    batch = len(batch_shape(cell, xs, 1))
    parts = [unsteadiness(m, d, batch, exact) for m, d in zip(met, ds, strict=True)]
    return found, sum(parts[1:], parts[0])


class Met(NamedTuple):
    """What one cell did: its params, the state before each step, its z, and which steps follow
    another one.
    """

    cell: Cell
    params: Any
    before: State
    zs: Any
    follows: jax.Array


class _Shifted(Scan):
    """A scan that adds a shift to the state after each step, and keeps what it met."""

    shifts: Any = None
    met: list = dataclasses.field(default_factory=list)

    def loops(self, cell: Any) -> bool:
        return False  # a pass that is traced apart would keep its tracers to itself

    def run(self, cell: Cell, params: Any, piece: controls.Piece) -> Any:
        shift = None if self.shifts is None else self.shifts[len(self.met)]

        def step(params: Any, state: State, both: tuple, dot: Dot) -> State:
            z, shift = both
            return added(cell.step(params, state, z, dot), shift)

        moved = types.SimpleNamespace(step=step)
        last, states = recurrence(
            controls.controlled(moved),
            (params, piece.start),
            piece.state,
            ((piece.zs, shift), piece.mask, piece.resets),
            piece.length,
            piece.reverse,
        )
        before = controls.states_before(piece, states)
        self.met.append(Met(cell, params, before, piece.zs, follows(piece)))
        return last, states


def floats(tree: Any) -> list[jax.Array]:
    """The parts of a state that have a gradient."""
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]


def added(state: State, shift: list | None) -> State:
    """A state with something added to its parts that have a gradient."""
    if shift is None:
        return state
    left, (leaves, tree) = iter(shift), jax.tree.flatten(state)
    moved = [x + next(left) if jnp.issubdtype(x.dtype, jnp.inexact) else x for x in leaves]
    return tree.unflatten(moved)


def follows(piece: controls.Piece) -> jax.Array:
    """Which steps, `[T]` or `[T, ...]`, go on from a step of the same sequence."""
    valid = jnp.ones(piece.length, bool) if piece.mask is None else piece.mask
    some = jax.lax.cummax(valid.astype(jnp.int32), reverse=piece.reverse).astype(bool)
    found = valid & controls.delayed(jnp.zeros_like(some[:1]), some, piece.reverse)
    if piece.resets is None:
        return found
    return found.reshape(found.shape + (1,) * (piece.resets.ndim - found.ndim)) & ~piece.resets


def unsteadiness(met: Met, d: list[jax.Array], batch: int, exact: bool) -> MaskedMean:
    """The penalty of one cell, given dE/ds at all steps; `batch` is how many batch axes it has."""
    before, zs = met.before, met.zs
    if not exact:
        before, zs, d = jax.lax.stop_gradient((before, zs, d))

    def back(state: State, z: Any, d: list[jax.Array]) -> list[jax.Array]:
        def step(shift: list[jax.Array]) -> list[jax.Array]:
            return floats(met.cell.step(met.params, added(state, shift), z, Dot(met.params)))

        return jax.vjp(step, jax.tree.map(jnp.zeros_like, floats(state)))[1](d)[0]

    v = jax.vmap(back)(before, zs, d)

    def over(parts: list[jax.Array], reduce: Callable) -> list[jax.Array]:
        return [reduce(x, axis=tuple(range(1 + batch, x.ndim))) for x in parts]

    # The ratio does not depend on what both norms are divided by. Divided by the largest number,
    # squares of a gradient of 1e-25 are not lost.
    largest = jax.lax.stop_gradient(jnp.stack(over([abs(x) for x in d], jnp.max)).max(0))
    counts = largest > jnp.finfo(largest.dtype).tiny / jnp.finfo(largest.dtype).eps
    counts &= met.follows.reshape(met.follows.shape + (1,) * (counts.ndim - met.follows.ndim))
    scale = jnp.where(counts, largest, 1)

    def norm(parts: list[jax.Array]) -> jax.Array:
        """Of each row, with the slope 0 at 0."""
        scaled = [x / scale.reshape(scale.shape + (1,) * (x.ndim - scale.ndim)) for x in parts]
        square = sum(over([jnp.square(abs(x)) for x in scaled], jnp.sum), jnp.zeros_like(scale))
        some = counts & (square > 0)
        return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)

    ratio = norm(v) / jnp.where(counts, norm(d), 1)
    return MaskedMean.over(jnp.square(ratio - 1), counts)
