"""A linear cell's recurrence over a piece of time, for every strategy."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import controls, errors
from jaxrnn.autodiff.linear import evolve, linear_scan
from jaxrnn.cell import LinearCell
from jaxrnn.controls import Piece


def linear(cell: LinearCell, params: Any, piece: Piece, *, radix: int = 0, unroll: int = 1) -> tuple[Any, Any]:
    """A linear cell's recurrence over a piece; a step under a reset evolves from the initial state."""
    a, b = cell.coefficients(params, piece.zs)
    need = jax.tree.map(lambda s: jax.ShapeDtypeStruct((piece.length, *s.shape), s.dtype), piece.state)
    errors.check_state(cell, b, need, "coefficients")
    if piece.resets is not None:
        b = controls.choose(piece.resets, evolve(a, piece.start, b), b)
    return linear_scan(a, b, piece.state, mask=piece.mask, resets=piece.resets, reverse=piece.reverse, radix=radix, unroll=unroll)


def check_radix(strategy: Any, radix: Any) -> None:
    if radix is not None and (not isinstance(radix, int) or radix < 0 or radix == 1):
        raise errors.fail(ValueError, strategy, f"radix={radix!r}", "2 or more steps, or 0 for one loop", "Leave it at None unless measured.")


def radix_here(radix: int | None) -> int:
    """One loop is fastest on a CPU."""
    return radix if radix is not None else 0 if jax.default_backend() == "cpu" else 16
