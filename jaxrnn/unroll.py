"""`unroll` and `fold`: validation, the jit boundary, and the recursion through a network, layer by layer over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.cell import Cell
from jaxrnn.composite import Composite, batch_shape, run_children
from jaxrnn.derivative import differentiated_as
from jaxrnn.layer import Feedforward, Layer, Noise, Params, State, WholeSequence
from jaxrnn.params import checked
from jaxrnn.strategies import Chunked, Scan, Strategy

LARGE = 2**24  # bytes of states from which a pass is taken in pieces


class Run(NamedTuple):
    """How a sequence is to be run, handed down the recursion: `resets` are as given until the direction is settled."""

    strategy: Strategy
    reverse: bool
    mask: Any
    resets: Any
    key: Any
    times: Any
    within: bool = False  # inside a piece of a causal network: the resets are directed, time is cut

    def child(self, i: int, reverse: bool) -> Run:
        key = None if self.key is None else jax.random.fold_in(self.key, i)
        return self._replace(key=key, reverse=self.reverse != reverse)

    def piece(self, start: Any, size: int) -> Run:
        mask, resets, times = (slice_time(a, start, size) for a in (self.mask, self.resets, self.times))
        return self._replace(mask=mask, resets=resets, times=times, within=True)


def slice_time(tree: Any, start: Any, size: int) -> Any:
    return jax.tree.map(lambda a: a if a.shape[0] == size else jax.lax.dynamic_slice_in_dim(a, start, size), tree)


def sequence(cell: Layer, params: Params, state: State, start: State, xs: Any, run: Run) -> tuple[State, Any]:
    """The last state and the outputs of any cell; where time may be cut, the strategy cuts it."""
    if run.within:
        return within(cell, params, state, start, xs, run)
    if cell.causal:
        run = run._replace(resets=controls.directed(run.mask, run.resets, run.reverse))

        def block(state: State, begin: Any, size: int) -> tuple[State, Any]:
            return within(cell, params, state, start, slice_time(xs, begin, size), run.piece(begin, size))

        return run.strategy.cut(block, state, length_of(xs), run.reverse)
    return through_children(cell, params, state, start, xs, run)


def through_children(cell: Any, params: Params, state: State, start: State, xs: Any, run: Run) -> tuple[State, Any]:
    def child(i: int, cell: Layer, params: Params, xs: Any, reverse: bool) -> tuple[State, Any]:
        return sequence(cell, params, state[i], start[i], xs, run.child(i, reverse))

    return run_children(cell, params, xs, child)


def within(cell: Layer, params: Params, state: State, start: State, xs: Any, run: Run) -> tuple[State, Any]:
    if isinstance(cell, Composite):
        return through_children(cell, params, state, start, xs, run)
    if isinstance(cell, Cell) and run.strategy.loops(cell) and (size := passing(state, length_of(xs))):
        return in_passing(cell, params, state, start, xs, run, size)
    return leaf(cell, params, state, start, xs, run)


def passing(state: State, length: int) -> int:
    """The steps at a time of a pass that nothing is differentiated through, or 0 for all of them.

    On a CPU their projection then stays in its cache, in place of an array that the kernel zeroes at every call: 0.7 to 1.0 of the time.
    """
    row = sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(state))
    if not (isinstance(row, int) and isinstance(length, int)):  # a symbol of jax.export
        return 0
    size = max(16, 2**20 // max(row, 1))
    return size if jax.default_backend() == "cpu" and length * row >= LARGE and length >= 2 * size else 0


def in_passing(cell: Layer, params: Params, state: State, start: State, xs: Any, run: Run, size: int) -> tuple[State, Any]:
    """`leaf`, a few steps at a time where nothing is differentiated."""

    def with_arrays(arrays: tuple) -> Run:
        mask, resets, key, times = arrays
        return run._replace(mask=mask, resets=resets, key=key, times=times)

    def whole(params: Params, state: State, start: State, xs: Any, arrays: tuple) -> tuple[State, Any]:
        return leaf(cell, params, state, start, xs, with_arrays(arrays))

    def pieces(params: Params, state: State, start: State, xs: Any, arrays: tuple) -> tuple[State, Any]:
        def block(state: State, begin: Any, size: int) -> tuple[State, Any]:
            return leaf(cell, params, state, start, slice_time(xs, begin, size), with_arrays(arrays).piece(begin, size))

        return Chunked(size, remat=False).cut(block, state, length_of(xs), run.reverse)

    return differentiated_as(whole, pieces)(params, state, start, xs, (run.mask, run.resets, run.key, run.times))


def leaf(cell: Any, params: Params, state: State, start: State, xs: Any, run: Run) -> tuple[State, Any]:
    xs = controls.blank(xs, run.mask)
    noise = Noise.at(run.key, run.times)
    if isinstance(cell, Feedforward):
        return state, cell.project(params, xs, noise)
    zs = cell.project(params, xs, noise) if isinstance(cell, Cell) else xs
    piece = controls.Piece(state, start, zs, run.mask, run.resets, length_of(xs), run.reverse)
    if isinstance(cell, WholeSequence):
        return cell.sequence(params, piece)
    last, states = run.strategy.run(cell, params, piece)
    return last, cell.readout(params, states, zs)


def length_of(xs: Any) -> int:
    return jax.tree.leaves(xs)[0].shape[0]


def prepare(cell: Layer, params: Params, xs: Any, state: Any, mask: Any, resets: Any) -> tuple[Params, jax.Array, State, State]:
    """Checks that need the whole network; params with fixed leaves frozen, inputs, the first state, and the initial one."""
    xs = jnp.asarray(xs)
    errors.check_rank(cell, xs, 1)
    batch = batch_shape(cell, xs, 1)
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is not None:
            errors.check_flags(cell, name, flags, (xs.shape[0], *batch))
    params = checked(cell, params, xs)
    start = cell.initial_state(params, batch)
    if state is None:
        return params, xs, start, start
    errors.check_state(cell, state, start)
    return params, xs, state, start


def unroll(
    cell: Layer,
    params: Params,
    xs: Any,
    state: State | None = None,
    *,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    strategy: Strategy = Scan(),  # noqa: B008  a frozen value
) -> tuple[State, Any]:
    """A whole sequence: `(state, ys)`.

    Time is axis 0, features are last, whatever lies between is batch: `[T, F]`, `[T, B, F]`, `[T, A, B, F]`;
    tokens are `[T, ...]`.

    Args:
      cell: the cell; static, and an equal one does not retrace.
      params: what `cell.init` made.
      xs: the inputs.
      state: the state before the first step (reversed: the last); by default `cell.initial_state(params, batch_shape)`.
      mask: booleans `[T, ...]`; a step under false changes nothing, whatever its input holds, and its output is zero.
      resets: booleans `[T, ...]`; true means that `xs[t]` begins a new sequence from the initial state.
      reverse: run from the last step to the first; outputs stay in their places.
      key: a PRNG key; passing one is training mode (dropout, zoneout). Noise at step t depends on (key, t) alone.
      strategy: how the steps are evaluated; it changes time and memory, never the answer.

    Returns:
      The state after the last step and the outputs `[T, ..., *]`. T=0 gives the given state and empty outputs.

    Raises:
      TypeError, ValueError: while tracing, for inputs, params, state, mask or resets that do not fit the cell.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 2, 3)))
      >>> ys.shape, state.h.shape
      ((5, 2, 8), (2, 8))
    """
    check_static(cell, strategy)
    errors.check_array(cell, "xs", xs)
    return _unroll(cell, strategy, bool(reverse), params, xs, state, mask, resets, key)


@partial(jax.jit, static_argnums=2)
def _unroll(
    cell: Layer, strategy: Strategy, reverse: bool, params: Params, xs: Any, state: Any, mask: Any, resets: Any, key: Any
) -> tuple[State, Any]:
    params, xs, state, start = prepare(cell, params, xs, state, mask, resets)
    run = Run(strategy, reverse, mask, resets, key, jnp.arange(xs.shape[0]))
    state, ys = sequence(cell, params, state, start, xs, run)
    return state, controls.blank(ys, mask)


def fold(
    cell: Layer,
    params: Params,
    xs: Any,
    f: Callable[[Params, Any, Any, Any, Any], Any],
    init: Any,
    *,
    extra: Any = None,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
    strategy: Strategy = Scan(),  # noqa: B008  a frozen value
) -> tuple[State, Any]:
    """A whole sequence whose outputs are consumed piece by piece and never stored for all T: `(state, acc)`.

    `acc = f(params, acc, ys, extra, mask)` is called for each piece in turn, with the piece's outputs `[t, ...]`, its part of
    `extra` (targets, say: any pytree of arrays `[T, ...]`) and of `mask` (or None). Under `Chunked` the outputs, the loss and what
    their gradient needs exist for one chunk at a time. `f` must be a sum over steps, so that the answer does not depend on the cuts;
    outputs under a false mask are zero.

    Args:
      cell, params, xs, state, mask, resets, reverse, key, strategy: as in `unroll`.
      f: a pure function; the same object again does not retrace.
      init: the accumulator before the first piece; f keeps its structure, shapes and dtypes.
      extra: a pytree of arrays with a leading time axis, handed to f piece by piece.

    Returns:
      The state after the last step and the accumulator.

    Raises:
      ValueError: for a cell that is not causal, or `extra` whose time axis is not that of `xs`; otherwise as `unroll`.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> total = lambda params, acc, ys, extra, mask: acc + ys.sum()
      >>> state, acc = fold(cell, params, jnp.ones((50, 3)), total, jnp.float32(0), strategy=Chunked(8))
      >>> acc.shape
      ()
    """
    check_static(cell, strategy)
    errors.check_array(cell, "xs", xs)
    if not cell.causal:
        raise errors.not_causal(cell, "fold")
    for leaf in jax.tree.leaves(extra):
        errors.check_array(cell, "a leaf of extra", leaf)
        if not errors.same_shape(leaf.shape[:1], xs.shape[:1]):
            raise errors.wrong_extra(cell, leaf, xs)
    return _fold(cell, strategy, bool(reverse), f, params, xs, init, extra, state, mask, resets, key)


@partial(jax.jit, static_argnums=(2, 3))
def _fold(
    cell: Layer, strategy: Strategy, reverse: bool, f: Callable, params: Params, xs: Any, init: Any, extra: Any, state: Any, mask: Any,
    resets: Any, key: Any,
) -> tuple[State, Any]:  # fmt: skip
    params, xs, state, start = prepare(cell, params, xs, state, mask, resets)
    run = Run(strategy, reverse, mask, controls.directed(mask, resets, reverse), key, jnp.arange(xs.shape[0]))

    def block(carry: tuple[State, Any], begin: Any, size: int) -> tuple[Any, None]:
        state, acc = carry
        piece = run.piece(begin, size)
        state, ys = within(cell, params, state, start, slice_time(xs, begin, size), piece)
        acc = f(params, acc, controls.blank(ys, piece.mask), slice_time(extra, begin, size), piece.mask)
        return (state, acc), None

    init = jax.tree.map(jnp.asarray, init)
    (state, acc), _ = strategy.cut(block, (state, init), xs.shape[0], reverse)
    return state, acc


def check_static(cell: Any, strategy: Any) -> None:
    errors.check_cell(cell, Layer)
    if not isinstance(strategy, Strategy):
        raise errors.wrong_strategy(cell, strategy)
