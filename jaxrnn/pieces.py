"""One layer that is no composite, over a piece of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls
from jaxrnn.autodiff._jax import fixed
from jaxrnn.axes import steps
from jaxrnn.layer import Feedforward, Noise, Params, State, WholeSequence
from jaxrnn.strategies import Strategy


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


def piece(
    layer: Any, params: Params, state: State, start: State, xs: Any, run: Run
) -> controls.Piece:
    """What a layer with a state is run over, its inputs projected."""
    length, xs = steps(xs), controls.blank(xs, run.mask)
    if not isinstance(layer, WholeSequence):
        xs = layer.project(params, xs, Noise.at(run.key, run.times))
    return controls.Piece(state, start, xs, run.mask, run.resets, length, run.reverse)


def leaf(
    layer: Any, params: Params, state: State, start: State, xs: Any, run: Run
) -> tuple[State, Any]:
    """A layer that is no composite, over a piece of time: the last state and the outputs."""
    if isinstance(layer, Feedforward):
        xs = controls.blank(xs, run.mask)
        return state, layer.project(params, xs, Noise.at(run.key, run.times))
    now = piece(layer, params, state, start, xs, run)
    if isinstance(layer, WholeSequence):
        return layer.sequence(params, now)
    if fixed(now.length) and not now.length:  # so that no strategy meets an empty piece
        last, states = state, jax.tree.map(lambda s: jnp.zeros((0, *s.shape), s.dtype), state)
    else:
        last, states = run.strategy.run(layer, params, now)
    return last, layer.readout(params, states, now.zs)
