"""A network run over a whole sequence, layer by layer over time: one recursion for every verb."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import controls
from jaxrnn.autodiff._jax import fixed
from jaxrnn.autodiff.forward_only import forward_only
from jaxrnn.axes import steps
from jaxrnn.cell import Cell
from jaxrnn.composite import Composite, run_children
from jaxrnn.layer import Feedforward, Layer, Params, State, WholeSequence
from jaxrnn.pieces import Run, leaf, piece
from jaxrnn.strategies import Chunked, Scan, Strategy, Wavefront
from jaxrnn.wavefront import in_a_row, in_waves


def sequence(
    layer: Layer, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """The last state and the outputs of any layer; where time may be cut, the strategy cuts it."""
    if run.within:
        return within(layer, params, state, start, xs, run)
    if not layer.causal:
        return through_children(layer, params, state, start, xs, run)
    run = run._replace(resets=controls.directed(run.mask, run.resets, run.reverse))

    def block(state: State, inputs: Any, size: Any) -> tuple[State, Any]:
        xs, arrays = inputs
        return within(layer, params, state, start, xs, run.chunk(arrays))

    return run.strategy.cut(block, state, (xs, run.arrays), steps(xs), run.reverse)


def through_children(
    layer: Any, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """A composite over a sequence: each child over the whole of it in turn, or side by side where
    they are one cell.
    """
    together = one_cell(layer, xs, run.strategy)
    made = side_by_side(layer, params, state, start, xs, run) if together else []
    row, waves = range(0), run.strategy
    if run.within and layer.chain and isinstance(waves, Wavefront):
        row = in_a_row(layer.children, waves, steps(xs))
    states: list[State] = []  # of the row, which is run as a whole where its first child is

    def child(i: int, inner: Layer, p: Params, x: Any, reverse: bool) -> tuple[State, Any]:
        if i in row:
            if i == row.start and isinstance(waves, Wavefront):
                found, x = in_waves(layer, row, layer.split(params), state, start, x, run, waves)
                states.extend(found)
            return states[i - row.start], x
        if made and x is xs and reverse == layer.directions[i]:
            return made[i]
        return sequence(inner, p, state[i], start[i], x, run.child(i, reverse))

    return run_children(layer, params, xs, child)


def one_cell(layer: Composite, xs: Any, strategy: Strategy) -> bool:
    """Whether all children are one cell over the same inputs, and `Scan` loops over its steps."""
    length = steps(xs)
    if not layer.directions or type(strategy) is not Scan or (fixed(length) and not length):
        return False
    cell, *others = layer.children
    leaf = isinstance(cell, Cell) and strategy.loops(cell) and not cell.takes_memory
    return leaf and all(other == cell for other in others)


def side_by_side(
    layer: Any, params: Params, state: State, start: State, xs: Any, run: Run
) -> list[tuple[State, Any]]:
    """All children of a composite, which are one cell, over its inputs."""
    members = []
    for i, (p, s, begin) in enumerate(zip(layer.split(params), state, start, strict=True)):
        own = run.child(i, layer.directions[i])
        if not run.within:
            resets = controls.directed(own.mask, own.resets, own.reverse)
            own = own._replace(resets=resets)
        members.append((p, s, begin, xs, own))
    return looped(layer.children[0], members)


def within(
    layer: Layer, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """A layer over steps that no strategy cuts any more."""
    if isinstance(layer, Composite):
        return through_children(layer, params, state, start, xs, run)
    if isinstance(layer, Feedforward | WholeSequence) or not run.strategy.loops(layer):
        return leaf(layer, params, state, start, xs, run)
    return looped(layer, [(params, state, start, xs, run)])[0]


def looped(cell: Any, members: list[tuple]) -> list[tuple[State, Any]]:
    """A cell whose steps are run one after another, with the params, state, start, inputs and run
    of each member.
    """
    args = tuple((*given, r.mask, r.resets, r.key, r.times) for *given, r in members)
    runs = [r._replace(mask=None, resets=None, key=None, times=None) for *_, r in members]
    _, state, _, xs, run = members[0]
    row = sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(state))

    def unpacked(args: tuple) -> list[tuple]:  # no array is closed over
        names = ("mask", "resets", "key", "times")
        pairs = zip(args, runs, strict=True)
        return [(*a[:4], r._replace(**dict(zip(names, a[4:], strict=True)))) for a, r in pairs]

    def whole(*args: tuple) -> tuple[tuple, tuple]:
        given = unpacked(args)
        if len(given) == 1:
            return apart([leaf(cell, *given[0])])
        params, pieces = [p for p, *_ in given], [piece(cell, *member) for member in given]
        made = run.strategy.together(cell, params, pieces)
        rest = zip(params, made, pieces, strict=True)
        return apart([(last, cell.readout(p, states, of.zs)) for p, (last, states), of in rest])

    def chunked(size: int, *args: tuple) -> tuple[tuple, tuple]:
        def alone(params: Params, state: State, start: State, xs: Any, run: Run) -> tuple:
            def block(state: State, inputs: Any, size: Any) -> tuple[State, Any]:
                xs, arrays = inputs
                return leaf(cell, params, state, start, xs, run.chunk(arrays))

            cut = Chunked(size, remat=False).cut
            return cut(block, state, (xs, run.arrays), steps(xs), run.reverse)

        return apart([alone(*member) for member in unpacked(args)])

    states, ys = forward_only(whole, chunked, args, steps(xs), row)
    return list(zip(states, ys, strict=True))


def apart(pairs: list[tuple[State, Any]]) -> tuple[tuple, tuple]:
    """The states, and the outputs."""
    return tuple(s for s, _ in pairs), tuple(y for _, y in pairs)
