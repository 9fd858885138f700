"""Looking inside a network while it runs."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxrnn import controls
from jaxrnn.autodiff.dot import Dot
from jaxrnn.cell import Cell
from jaxrnn.diagnostics.walk import Given, Prepared, checks, prepared, walk
from jaxrnn.layer import Feedforward, Layer, Params, State
from jaxrnn.sequence import sequence
from jaxrnn.strategies import Scan


class Record(NamedTuple):
    """What one cell did over a sequence.

    `states` after each step, leaf by leaf `[T, ...]`, and the `gates` of each step, the cell's own
    NamedTuple of arrays `[T, ..., H]`: None where the cell has none. `ys` are its outputs. Under a
    false mask the state is that before the step, and gates and outputs mean nothing.
    """

    states: State
    gates: Any
    ys: Any


def record(
    cell: Layer,
    params: Params,
    xs: Any,
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> Any:
    """Every state and every gate of a run: a `Record` for a cell, and for a composite the tuple of
    its children's.

    The arguments are those of `unroll` and mean the same: the mask is true where the step is valid,
    for one. Differentiable; works under `jit` and `vmap`.

    Raises:
      TypeError, ValueError: as `unroll`.

    Example:
      >>> cell = LSTM(8)
      >>> seen = record(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> seen.states.c.shape, seen.gates.f.shape
      ((5, 8), (5, 8))
    """
    given = Given(state, mask, resets, key)
    with checks(cell, params, xs, given, reverse):
        return _record(cell, reverse, params, xs, given)


@partial(jax.jit, static_argnums=1)
def _record(cell: Layer, reverse: bool, params: Params, xs: Any, given: Given) -> Any:
    return walk(cell, prepared(cell, reverse, params, xs, given), _watched)[2]


def _watched(cell: Layer, now: Prepared, _: Any) -> tuple[State, Any, Record]:
    last, ys, (_, seen) = watched(cell, now)
    return last, ys, seen


def watched(cell: Layer, now: Prepared) -> tuple[State, Any, tuple[Any, Record]]:
    """A layer over a sequence, its projected inputs, where it has any, and its record."""
    kept: list[tuple[Any, State, Any]] = []
    last, ys = sequence(cell, *now[:4], now.run._replace(strategy=_Watch(kept=kept)))
    zs, states, gates = kept[0] if kept else (None, None, None)
    if isinstance(cell, Feedforward) and cell.gates is not None:
        gates = cell.gates(now.params, controls.blank(now.xs, now.run.mask))
    return last, ys, (zs, Record(states, gates, ys))


class _Watch(Scan):
    """A scan that keeps the states, and the gates worked out from them for all steps at once."""

    kept: list = dataclasses.field(default_factory=list)

    def loops(self, cell: Any) -> bool:
        return False  # a pass that is traced apart would keep its tracers to itself

    def run(self, cell: Cell, params: Any, piece: controls.Piece) -> Any:
        last, states = super().run(cell, params, piece)
        gates = None
        if cell.gates is not None:
            before = controls.states_before(piece, states)
            gates = cell.gates(params, before, piece.zs, Dot(params))
        self.kept.append((piece.zs, states, gates))
        return last, states
