"""Layers made of layers, and one step of any layer."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.dot import Dot
from jaxrnn.layer import Feedforward, Layer, Noise, Params, State, WholeSequence

Child = Callable[..., Any]


class Composite(Layer):
    """A layer made of layers. An author names the `children` and writes how one input flows through
    them:

        compose(params, x, child) -> y

    where `child(i, x)` runs the i-th child, over one step in `advance` and over the whole sequence
    in `unroll`; the states are kept for it. So both verbs follow one definition, and no composite
    knows of a strategy. `params` is the tuple of the children's params, unless `init` makes and
    `split` reads another. `child(i, x, reverse=True)` runs against time, which makes the composite
    not causal.
    """

    @property
    @abc.abstractmethod
    def children(self) -> tuple[Layer, ...]:
        """The layers it is made of. Its params and its state are tuples of theirs, in this
        order."""

    @abc.abstractmethod
    def compose(self, params: Params, x: Any, child: Child) -> Any:
        """The output for an input `[..., F]` of one step, or `[T, ..., F]` of a sequence: use the
        last axes only."""

    @property
    def feature_ndim(self) -> int:
        return self.children[0].feature_ndim

    @property
    def takes_tokens(self) -> bool:
        return self.children[0].takes_tokens

    @property
    def causal(self) -> bool:
        return all(child.causal for child in self.children)

    @property
    def takes_memory(self) -> bool:
        return any(child.takes_memory for child in self.children)

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        """The children's, each bound; a composite whose params are not that tuple writes its
        own."""
        if not self.takes_memory:
            return params
        pairs = zip(self.children, self.split(params), strict=True)
        return tuple(child.bind(p, memory, mask) for child, p in pairs)

    def split(self, params: Params) -> tuple[Params, ...]:
        """The children's params within this composite's."""
        return params

    def init(self, key: jax.Array, x: Any) -> Params:
        keys = [jax.random.fold_in(key, i) for i in range(len(self.children))]
        seen: dict[int, jax.ShapeDtypeStruct] = {}

        def flow(keys: list[jax.Array], x: jax.Array) -> Any:
            params: list[Params] = [None] * len(keys)

            def child(i: int, x: jax.Array, reverse: bool = False) -> Any:
                layer = self.children[i]
                seen[i] = jax.ShapeDtypeStruct(x.shape, x.dtype)
                params[i] = layer.init(keys[i], x)
                return one_step(
                    layer, params[i], layer.initial_state(params[i]), None, x, None, 0
                )[1]

            return self.compose(params, x, child)

        shape = tuple(x.shape[len(x.shape) - self.feature_ndim :])
        jax.eval_shape(flow, keys, jax.ShapeDtypeStruct(shape, x.dtype))
        return tuple(layer.init(keys[i], seen[i]) for i, layer in enumerate(self.children))

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        pairs = zip(self.children, self.split(params), strict=True)
        return tuple(layer.initial_state(p, batch_shape) for layer, p in pairs)


def run_children(
    layer: Composite, params: Params, x: Any, run: Callable[..., tuple[State, Any]]
) -> tuple[State, Any]:
    """Compose with `run(i, child, params, x, reverse)`, gathering the children's states."""
    children, parts = layer.children, layer.split(params)
    states: list[list[State]] = [[] for _ in children]

    def child(i: int, x: Any, reverse: bool = False) -> Any:
        state, y = run(i, children[i], parts[i], x, reverse)
        states[i].append(state)
        return y

    y = layer.compose(params, x, child)
    if any(len(s) != 1 for s in states):
        raise errors.child_runs(layer, [len(s) for s in states])
    return tuple(s[0] for s in states), y


def one_step(
    layer: Layer,
    params: Params,
    state: State,
    start: State,
    x: Any,
    key: jax.Array | None,
    t: Any,
    mask: Any = None,
    reset: Any = None,
) -> tuple[State, Any]:
    """One step of any layer; `start` is the state a reset returns to."""
    if isinstance(layer, Composite):

        def run(i: int, child: Layer, p: Params, x: Any, reverse: bool) -> tuple[State, Any]:
            inner = None if key is None else jax.random.fold_in(key, i)
            begin = None if start is None else start[i]
            return one_step(child, p, state[i], begin, x, inner, t, mask, reset)

        return run_children(layer, params, x, run)
    check_input(layer, x)
    x = controls.blank(x, mask)
    if isinstance(layer, WholeSequence):
        old = state if reset is None else controls.choose(reset, start, state)
        new, y = layer.step(params, old, x)
        errors.check_state(layer, new, old, "step")
        return (new if mask is None else controls.choose(mask, new, old)), y
    noise = Noise.at(key, jnp.asarray(t)[None])
    z = jax.tree.map(lambda a: a[0], layer.project(params, x[None], noise))
    if isinstance(layer, Feedforward):
        return state, z
    both = params, start
    state = controls.controlled(layer)(both, state, (z, mask, reset), Dot.plain(both))
    return state, layer.readout(params, state, z)


def check_input(layer: Layer, x: Any, time: int = 0) -> None:
    errors.check_array(layer, "inputs", x)
    errors.check_rank(layer, x, time)
    errors.check_input(layer, x)


def batch_shape(layer: Layer, x: Any, time: int) -> tuple[int, ...]:
    """The axes of an input between time and features."""
    return tuple(x.shape[time : x.ndim - layer.feature_ndim])
