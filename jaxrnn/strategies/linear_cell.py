"""A linear cell's recurrence over a piece of time, for every strategy."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from jaxrnn import controls, errors
from jaxrnn.autodiff.linear_scan import linear_scan
from jaxrnn.autodiff.transitions import evolve, has_time_axis, map_transitions
from jaxrnn.cell import LinearCell
from jaxrnn.controls import Piece


def linear(
    cell: LinearCell,
    params: Any,
    piece: Piece,
    *,
    radix: int | None = 0,
    unroll: int = 1,
    axis: str | None = None,
) -> tuple[Any, Any]:
    """A linear cell's recurrence over a piece; under a reset it evolves from the initial state."""
    a, b = cell.coefficients(params, piece.zs)
    need = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((piece.length, *s.shape), s.dtype), piece.state
    )
    errors.check_state(cell, b, need, "coefficients")
    if piece.resets is not None:
        b = controls.choose(piece.resets, evolve(a, piece.start, b), b)
    scan = partial(linear_scan, reverse=piece.reverse, radix=radix, unroll=unroll, axis=axis)
    if axis is not None:
        scan = over_mesh(cell, scan, axis, a, b)
    return scan(a, b, piece.state, mask=piece.mask, resets=piece.resets)


def over_mesh(cell: LinearCell, scan: Any, axis: str, a: Any, b: Any) -> Any:
    """A scan of pieces as one of whole arrays, whose time is cut over an axis of the mesh around.
    What other axes of the mesh cut stays as it is.
    """
    mesh = jax.sharding.get_abstract_mesh()
    errors.check_time_mesh(cell, axis, mesh, jax.tree.leaves(b)[0].shape[0])
    timed = map_transitions(lambda a, b: P(axis) if has_time_axis(a, b) else P(), a, b)

    def mapped(a: Any, b: Any, start: Any, *, mask: Any, resets: Any) -> tuple[Any, Any]:
        return jax.shard_map(
            lambda a, b, start, mask, resets: scan(a, b, start, mask=mask, resets=resets),
            in_specs=(timed, P(axis), P(), P(axis), P(axis)),
            out_specs=(P(), P(axis)),
            axis_names={axis},
        )(a, b, start, mask, resets)

    return mapped
