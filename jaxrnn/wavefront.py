"""Equal cells of a chain side by side, each a chunk of time behind the one that feeds it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls
from jaxrnn.autodiff._jax import fixed, trace
from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import steps
from jaxrnn.cell import Cell
from jaxrnn.composite import Composite
from jaxrnn.layer import Feedforward, Layer, Params, State
from jaxrnn.pieces import Run, leaf, piece
from jaxrnn.strategies import Wavefront


def in_a_row(layers: tuple[Layer, ...], strategy: Wavefront, length: Any) -> range:
    """The most layers one after another that run in waves: equal cells, from the first one to the
    last, and what has no state between them. Empty where there is no such row.
    """
    best, count = range(0), length // strategy.size if fixed(length) else 0
    for first, cell in enumerate(layers):
        if not isinstance(cell, Cell) or not strategy.loops(cell) or cell.takes_memory:
            continue
        cells, last = 1, first
        for i, layer in enumerate(layers[first + 1 :], first + 1):
            if layer == cell and cells < count:
                cells, last = cells + 1, i
            elif not isinstance(layer, Feedforward):
                break
        if last > first and last - first >= len(best):
            best = range(first, last + 1)
    return best


# With n cells and C chunks, cell j runs chunk s - j at stage s. The first n - 1 stages have fewer
# cells, and so have the last; those between are one loop. Steps that are left over come last, one
# cell after another.
def in_waves(
    layer: Composite,
    row: range,
    params: tuple[Params, ...],
    state: State,
    start: State,
    xs: Any,
    run: Run,
    strategy: Wavefront,
) -> tuple[list[State], Any]:
    """The children of a row over a sequence: their last states, and the outputs of the last."""
    size, length, cell = strategy.size, steps(xs), layer.children[row.start]
    assert isinstance(cell, Cell)
    cells = [i for i in row if isinstance(layer.children[i], Cell)]
    count, n = length // size, len(cells)
    rows = [range(i, j) for i, j in zip(cells, [*cells[1:], row.stop], strict=True)]

    def part(tree: Any, k: Any) -> Any:
        begin = length - (k + 1) * size if run.reverse else k * size
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, begin, size), tree)

    def behind(j: int, y: Any, arrays: tuple) -> Any:
        """What follows cell j before the next one."""
        for i in rows[j][1:]:
            own = run.child(i, False).chunk(arrays)
            y = leaf(layer.children[i], params[i], state[i], start[i], y, own)[1]
        return y

    def stage(s: Any, some: range, states: list, fed: list) -> tuple[list, list]:
        """Some of the cells, each over a chunk: all states, and what each cell hands on."""
        arrays = [part(run.arrays, s - j) for j in some]
        pieces = []
        for j, now in zip(some, arrays, strict=True):
            x, i = part(xs, s) if j == 0 else fed[j - 1], cells[j]
            own = run.child(i, False).chunk(now)
            pieces.append(piece(layer.children[i], params[i], states[j], start[i], x, own))
        read = [only_read(cell, params[cells[j]], p) for j, p in zip(some, pieces, strict=True)]
        made = strategy.inner.together(cell, read, pieces)
        states, fed = list(states), [None] * n
        for j, now, at, (last, hs) in zip(some, arrays, pieces, made, strict=True):
            states[j] = last
            fed[j] = behind(j, cell.readout(params[cells[j]], hs, at.zs), now)
        return states, fed

    states, fed = [state[i] for i in cells], [None] * n
    for s in range(n - 1):
        states, fed = stage(s, range(s + 1), states, fed)

    def body(carry: tuple, s: Any) -> tuple[tuple, Any]:
        states, fed = stage(s, range(n), *carry)
        return (states, [*fed[:-1], None]), fed[-1]

    (states, fed), ys = jax.lax.scan(body, (states, fed), jnp.arange(n - 1, count))
    if run.reverse:
        ys = jax.tree.map(lambda a: a[::-1], ys)
    found = [jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), ys)]
    for s in range(count, count + n - 1):
        states, fed = stage(s, range(s - count + 1, n), states, fed)
        found.append(fed[-1])
    if length % size:
        cut = slice(0, length % size) if run.reverse else slice(count * size, None)
        x, arrays = jax.tree.map(lambda a: a[cut], (xs, run.arrays))
        for j, i in enumerate(cells):
            own = run.child(i, False).chunk(arrays)
            states[j], x = leaf(layer.children[i], params[i], states[j], start[i], x, own)
            x = behind(j, x, arrays)
        found.append(x)
    found = found[::-1] if run.reverse else found
    last = dict(zip(cells, states, strict=True))
    ys = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    return [last.get(i, state[i]) for i in row], ys


def only_read(cell: Cell, params: Params, piece: controls.Piece) -> Params:
    """The params with a number in the place of those that no step reads: a weight of inputs may
    differ in size from layer to layer.
    """
    leaves, tree = jax.tree.flatten(params)

    def step(leaves: list, state: State, z: Any) -> State:
        p = tree.unflatten(leaves)
        return cell.step(p, state, z, Dot(p))

    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), piece.zs)
    jaxpr = trace(step, leaves, piece.state, first).jaxpr
    read = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
    pairs = zip(leaves, jaxpr.invars, strict=False)
    return tree.unflatten([a if id(v) in read else jnp.zeros((), a.dtype) for a, v in pairs])
