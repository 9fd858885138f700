"""One step after another."""

from collections.abc import Sequence
from typing import Any

from jaxrnn import controls, errors
from jaxrnn.autodiff.recurrence import recurrences
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.controls import Piece
from jaxrnn.strategies.linear_cell import linear
from jaxrnn.strategies.strategy import Strategy


class Scan(Strategy):
    """One `lax.scan` over time: O(T) steps, O(T) memory under reverse differentiation.

    The weight gradient of every `dot` is one matmul after the loop. The coefficients of a
    `LinearCell` are computed for all steps at once, outside it. On a CPU a large pass without a
    gradient projects its inputs a few steps at a time, so that z never exists for all steps.

    Args:
      unroll: how many steps one iteration of the compiled loop takes; at least four for short rows
        on a CPU.

    Raises:
      TypeError, ValueError: for an `unroll` that is no positive integer.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Scan(unroll=2))
    """

    unroll: int = 1

    def __post_init__(self) -> None:
        errors.check_size(self, "unroll", self.unroll, "Leave it at 1 unless measured.")

    def loops(self, cell: Any) -> bool:
        return not isinstance(cell, LinearCell)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        if isinstance(cell, LinearCell):
            return linear(cell, params, piece, unroll=self.unroll)
        return self.together(cell, [params], [piece])[0]

    def together(
        self, cell: Cell, params: Sequence[Any], pieces: Sequence[Piece]
    ) -> list[tuple[Any, Any]]:
        """A cell that is not linear, over several pieces of one length, each by params of its own:
        `run` of each, on a GPU as one loop.
        """
        members = [
            ((own, piece.start), piece.state, (piece.zs, piece.mask, piece.resets))
            for own, piece in zip(params, pieces, strict=True)
        ]
        reverse = tuple(piece.reverse for piece in pieces)
        step, length = controls.controlled(cell), pieces[0].length
        return recurrences(step, members, length, reverse, self.unroll)
