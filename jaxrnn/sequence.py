"""A network run over a whole sequence, layer by layer over time: one recursion for every verb."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls
from jaxrnn.autodiff._jax import fixed
from jaxrnn.autodiff.forward_only import forward_only
from jaxrnn.axes import steps
from jaxrnn.composite import Composite, run_children
from jaxrnn.layer import Feedforward, Layer, Noise, Params, State, WholeSequence
from jaxrnn.strategies import Chunked, Strategy


class Run(NamedTuple):
    """How a sequence is to be run, passed down the recursion.

    `resets` are the caller's until `controls.directed` has adapted them to the direction.
    """

    strategy: Strategy
    reverse: bool
    mask: Any
    resets: Any
    key: Any
    times: Any
    within: bool = False  # inside a chunk of a causal network: resets are directed, time is cut

    def child(self, i: int, reverse: bool) -> Run:
        key = None if self.key is None else jax.random.fold_in(self.key, i)
        return self._replace(key=key, reverse=self.reverse != reverse)

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """Those `[T, ...]`, which are cut as the inputs are."""
        return self.mask, self.resets, self.times

    def chunk(self, arrays: tuple[Any, Any, Any]) -> Run:
        mask, resets, times = arrays
        return self._replace(mask=mask, resets=resets, times=times, within=True)


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
    """A composite over a sequence: each child over the whole of it in turn."""

    def child(i: int, layer: Layer, params: Params, xs: Any, reverse: bool) -> tuple[State, Any]:
        return sequence(layer, params, state[i], start[i], xs, run.child(i, reverse))

    return run_children(layer, params, xs, child)


def within(
    layer: Layer, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """A layer over steps that no strategy cuts any more."""
    if isinstance(layer, Composite):
        return through_children(layer, params, state, start, xs, run)
    if isinstance(layer, Feedforward | WholeSequence) or not run.strategy.loops(layer):
        return leaf(layer, params, state, start, xs, run)

    args = (state, params, start, xs, run.mask, run.resets, run.key, run.times)
    row = sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(state))
    run = run._replace(mask=None, resets=None, key=None, times=None)  # no array is closed over

    def unpacked(state: State, params: Params, start: State, xs: Any, *arrays: Any) -> tuple:
        names = ("mask", "resets", "key", "times")
        return state, params, start, xs, run._replace(**dict(zip(names, arrays, strict=True)))

    def whole(*args: Any) -> tuple[State, Any]:
        state, params, start, xs, run = unpacked(*args)
        return leaf(layer, params, state, start, xs, run)

    def chunked(size: int, *args: Any) -> tuple[State, Any]:
        state, params, start, xs, run = unpacked(*args)

        def block(state: State, inputs: Any, size: Any) -> tuple[State, Any]:
            xs, arrays = inputs
            return leaf(layer, params, state, start, xs, run.chunk(arrays))

        cut = Chunked(size, remat=False).cut
        return cut(block, state, (xs, run.arrays), steps(xs), run.reverse)

    return forward_only(whole, chunked, args, steps(xs), row)


def leaf(
    layer: Any, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """A layer that is no composite, over a piece of time: the last state and the outputs."""
    xs, length = controls.blank(xs, run.mask), steps(xs)
    noise = Noise.at(run.key, run.times)
    if isinstance(layer, Feedforward):
        return state, layer.project(params, xs, noise)
    zs = xs if isinstance(layer, WholeSequence) else layer.project(params, xs, noise)
    piece = controls.Piece(state, start, zs, run.mask, run.resets, length, run.reverse)
    if isinstance(layer, WholeSequence):
        return layer.sequence(params, piece)
    if fixed(length) and not length:  # so that no strategy meets an empty piece
        last, states = state, jax.tree.map(lambda s: jnp.zeros((0, *s.shape), s.dtype), state)
    else:
        last, states = run.strategy.run(layer, params, piece)
    return last, layer.readout(params, states, zs)
