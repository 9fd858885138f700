"""A linear cell's recurrence over a piece of time, for every strategy."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import controls, errors
from jaxrnn.autodiff.linear_scan import linear_scan
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.cell import LinearCell
from jaxrnn.controls import Piece


def linear(
    cell: LinearCell, params: Any, piece: Piece, *, radix: int | None = 0, unroll: int = 1
) -> tuple[Any, Any]:
    """A linear cell's recurrence over a piece; under a reset it evolves from the initial state."""
    a, b = cell.coefficients(params, piece.zs)
    need = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((piece.length, *s.shape), s.dtype), piece.state
    )
    errors.check_state(cell, b, need, "coefficients")
    if piece.resets is not None:
        b = controls.choose(piece.resets, evolve(a, piece.start, b), b)
    return linear_scan(
        a,
        b,
        piece.state,
        mask=piece.mask,
        resets=piece.resets,
        reverse=piece.reverse,
        radix=radix,
        unroll=unroll,
    )
