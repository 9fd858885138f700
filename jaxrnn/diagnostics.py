"""Looking inside a network while it runs."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import steps
from jaxrnn.cell import Cell
from jaxrnn.composite import Composite, run_children
from jaxrnn.layer import Feedforward, Layer, Params, State
from jaxrnn.strategies import Scan
from jaxrnn.unroll import Run, check_static, prepare, sequence


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
    check_static(cell, Scan(), reverse, key)
    errors.check_inputs(cell, "xs", xs)
    with errors.leaves_checked(cell, params=params, state=state):
        return _record(cell, reverse, params, xs, state, mask, resets, key)


@partial(jax.jit, static_argnums=1)
def _record(
    cell: Layer,
    reverse: bool,
    params: Params,
    xs: Any,
    state: Any,
    mask: Any,
    resets: Any,
    key: Any,
) -> Any:
    params, xs, state, start, mask, resets = prepare(cell, params, xs, state, mask, resets)
    return _walk(
        cell,
        params,
        state,
        start,
        xs,
        Run(Scan(), reverse, mask, resets, key, jnp.arange(steps(xs))),
    )[2]


def _walk(
    cell: Layer, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any, Any]:
    if isinstance(cell, Composite):
        seen: dict[int, Any] = {}

        def child(i: int, cell: Layer, params: Params, xs: Any, reverse: bool) -> tuple[State, Any]:
            last, ys, seen[i] = _walk(cell, params, state[i], start[i], xs, run.child(i, reverse))
            return last, ys

        last, ys = run_children(cell, params, xs, child)
        return last, ys, tuple(seen[i] for i in range(len(seen)))
    kept: list[tuple[State, Any]] = []
    last, ys = sequence(cell, params, state, start, xs, run._replace(strategy=_Watch(kept=kept)))
    states, gates = kept[0] if kept else (None, None)
    if isinstance(cell, Feedforward) and cell.gates is not None:
        gates = cell.gates(params, controls.blank(xs, run.mask))
    return last, ys, Record(states, gates, ys)


class _Watch(Scan):
    """A scan that keeps the states, and the gates worked out from them for all steps at once."""

    kept: list = dataclasses.field(default_factory=list)

    def loops(self, cell: Any) -> bool:
        return False  # a pass that is traced apart would keep its tracers to itself

    def run(self, cell: Cell, params: Any, piece: controls.Piece) -> Any:
        last, states = super().run(cell, params, piece)
        gates = None
        if cell.gates is not None:
            before = jax.tree.map(partial(_before, piece.reverse), piece.state, states)
            if piece.resets is not None:
                before = jax.vmap(controls.choose, (0, None, 0))(piece.resets, piece.start, before)
            gates = cell.gates(params, before, piece.zs, Dot(params))
        self.kept.append((states, gates))
        return last, states


def _before(reverse: bool, first: jax.Array, after: jax.Array) -> jax.Array:
    """The states before each step, from the first state and those after each step."""
    pieces = [after[1:], first[None]] if reverse else [first[None], after[:-1]]
    return jnp.concatenate(pieces)[: after.shape[0]]
