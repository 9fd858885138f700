"""A whole sequence in one kernel."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import controls
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.in_kernel import ROWS, Kernel
from jaxrnn.autodiff.linear_scan import forget, split_transitions
from jaxrnn.autodiff.recurrence import recurrence
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.controls import Piece
from jaxrnn.strategies.strategy import Strategy


class Fused(Strategy):
    """One kernel for all steps."""

    interpret: bool = False

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        axes = len(batch_axes(cell, params, piece))
        return over_rows(self, cell, params, piece, axes)


def batch_axes(cell: Cell, params: Any, piece: Piece) -> tuple[int, ...]:
    """The batch shape of a piece, from the state of a row by itself."""
    row = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
    state, one = jax.tree.leaves(piece.state)[0], jax.tree.leaves(row)[0]
    return state.shape[: state.ndim - len(one.shape)]


def over_rows(fused: Fused, cell: Cell, params: Any, piece: Piece, axes: int) -> tuple[Any, Any]:
    def flat(tree: Any, first: int) -> Any:
        return jax.tree.map(
            lambda a: a.reshape(*a.shape[:first], -1, *a.shape[first + axes :]), tree
        )

    def full(tree: Any, first: int) -> Any:
        shape = jax.tree.leaves(piece.state)[0].shape[:axes]
        return jax.tree.map(lambda a: a.reshape(*a.shape[:first], *shape, *a.shape[first + 1 :]), tree)

    def flags(a: Any) -> Any:
        return None if a is None else flat(a, 1)[..., None]

    def row(state: Any, start: Any, zs: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
        inputs = (zs, mask, resets)
        return recurrence(
            controls.controlled(cell), (params, start), state, inputs, piece.length, piece.reverse,
            kernel=Kernel(fused.interpret),
        )

    args = flat(piece.state, 0), flat(piece.start, 0), flat(piece.zs, 1), flags(piece.mask), flags(piece.resets)
    last, states = jax.vmap(row, (0, 0, 1, 1, 1), (0, 1), axis_name=ROWS)(*args)
    return full(last, 0), full(states, 1)
