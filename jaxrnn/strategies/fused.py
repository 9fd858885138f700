"""A whole sequence in one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn import controls, errors
from jaxrnn.autodiff._jax import fixed
from jaxrnn.autodiff.choose import choose
from jaxrnn.autodiff.in_kernel import ROWS, Kernel
from jaxrnn.autodiff.linear_scan import forget, split_transitions
from jaxrnn.autodiff.recurrence import recurrence
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.controls import Piece
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Strategy


class Fused(Strategy):
    """Any cell's whole recurrence as one kernel of an accelerator, and its gradient as another.

    A step of `Scan` costs an accelerator a few launches, and reads the params from its main memory
    again. In a kernel the loop is inside: params stay in fast memory, the state too, and the rows
    of the next steps are read while these are computed.

    The kernel is made from the step itself, by Pallas: any cell whose step consists of elementwise
    operations, reductions and products with params. Where the params do not fit, for a step of
    other operations, and on a CPU, `Fused` is `Scan`. That is decided when the program is lowered,
    for the platform that it is lowered for; `select` shows the decision and the reason. Second
    derivatives are those of `Scan`.

    Kernels have been compiled for their targets and checked in Pallas's interpreter. They have not
    been timed, so `Auto` does not choose them.

    Args:
      interpret: on a CPU run the kernel in Pallas's interpreter, to check it; very slow.

    Raises:
      TypeError: for an `interpret` that is no bool.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Fused())
    """

    interpret: bool = False

    def __post_init__(self) -> None:
        errors.check_flag(self, "interpret", self.interpret)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        row = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
        states, rows = jax.tree.leaves(piece.state), jax.tree.leaves(row)
        batch = states[0].shape[: states[0].ndim - rows[0].ndim]
        lead = (piece.length, *batch)
        step, inputs = stepped(cell, params, piece)
        arrays = (piece.state, inputs, piece.start)
        if (
            not fixed(*lead)
            or not all(r.ndim for r in rows)
            or any(a.shape[: len(lead)] != lead for a in jax.tree.leaves(inputs))
            or any(jax.typeof(a).sharding.mesh._any_axis_explicit for a in jax.tree.leaves(arrays))
        ):
            return Scan().run(cell, params, piece)
        kernel = Kernel(self.interpret)

        def one(state: Any, inputs: Any, start: Any) -> tuple[Any, Any]:
            return recurrence(
                step, (params, start), state, inputs, piece.length, piece.reverse, kernel=kernel
            )

        axes = (0, 1, 0)
        flat = [merged(tree, axis, len(batch)) for tree, axis in zip(arrays, axes, strict=True)]
        last, ys = jax.vmap(one, axes, (0, 1), axis_name=ROWS)(*flat)
        return split(last, 0, batch), split(ys, 1, batch)


def stepped(cell: Cell, params: Any, piece: Piece) -> tuple[Callable, Any]:
    """A cell's step with its controls, and what it reads of each step; flags have an axis of size
    one in the place of the features.
    """
    mask, resets = (None if a is None else a[..., None] for a in (piece.mask, piece.resets))
    if not isinstance(cell, LinearCell):
        return controls.controlled(cell), (piece.zs, mask, resets)
    a, b = cell.coefficients(params, piece.zs)
    if piece.resets is not None:
        b = controls.choose(piece.resets, evolve(a, piece.start, b), b)
    scanned, join = split_transitions(a, b)

    def step(params: Any, h: Any, now: tuple, dot: Any) -> Any:
        scanned, b, mask, reset = now
        after = evolve(join(scanned), forget(reset, h), b)
        return after if mask is None else choose(mask, after, h)

    return step, (scanned, b, mask, resets)


def merged(tree: Any, axis: int, count: int) -> Any:
    """`count` axes from `axis` on as one."""
    return jax.tree.map(
        lambda a: a.reshape(*a.shape[:axis], -1, *a.shape[axis + count :]), tree
    )


def split(tree: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The axis as axes of these sizes."""
    return jax.tree.map(
        lambda a: a.reshape(*a.shape[:axis], *shape, *a.shape[axis + 1 :]), tree
    )
