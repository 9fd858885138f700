"""Layers made of layers, and one step of any layer."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors, initializers
from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import batch_shape, step_spec
from jaxrnn.layer import Feedforward, Layer, Noise, Params, State, WholeSequence

Child = Callable[..., Any]


class Composite(Layer):
    """A layer made of layers.

    An author names the `children` and writes how one input flows through them:

        compose(params, x, child) -> y

    where `child(i, x)` runs the i-th child, over one step in `advance` and over the whole sequence
    in `unroll`, and keeps its state. So both verbs follow one definition, and no composite depends
    on a strategy. `params` is the tuple of the children's params, unless the composite has an
    `init` and a `split` of its own. `child(i, x, reverse=True)` runs against time, which makes the
    composite not causal.
    """

    @property
    @abc.abstractmethod
    def children(self) -> tuple[Layer, ...]:
        """The layers it is made of. Its params and its state are tuples of theirs, in this
        order.
        """

    @abc.abstractmethod
    def compose(self, params: Params, x: Any, child: Child) -> Any:
        """The output for an input `[..., F]` of one step, or `[T, ..., F]` of a sequence: use the
        last axes only.
        """

    @property
    def directions(self) -> tuple[bool, ...]:
        """Where `compose` hands its own input to every child: whether each is run in reverse. Then
        children that are equal cells may share a loop. By default empty: nothing is known.
        """
        return ()

    @property
    def chain(self) -> bool:
        """Whether `compose` feeds each child the output of the one before, and does nothing else.
        Then children that are equal cells may run side by side, a chunk of time apart.
        """
        return False

    @property
    def feature_ndim(self) -> Any:
        return self.children[0].feature_ndim

    @property
    def takes_tokens(self) -> Any:
        return self.children[0].takes_tokens

    @property
    def causal(self) -> bool:
        return all(child.causal for child in self.children)

    @property
    def takes_memory(self) -> bool:
        return any(child.takes_memory for child in self.children)

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        """The children's params, each bound; a composite whose params are not that tuple has a
        `bind` of its own.
        """
        if not self.takes_memory:
            return params
        pairs = zip(self.children, self.split(params), strict=True)
        return tuple(child.bind(p, memory, mask) for child, p in pairs)

    def split(self, params: Params) -> tuple[Params, ...]:
        """The children's params within this composite's."""
        return params

    def init(self, key: jax.Array, x: Any) -> Params:
        errors.check_cell(self, Layer)
        inputs, _ = flow(self, step_spec(self, x))
        keys = initializers.split(key, len(inputs))
        triples = zip(self.children, keys, inputs, strict=True)
        return tuple(layer.init(key, x) for layer, key, x in triples)

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
    layer: Any,
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
    x = controls.blank(x, mask)
    if isinstance(layer, WholeSequence):
        old = state if reset is None else controls.choose(reset, start, state)
        new, y = layer.step(params, old, x)
        errors.check_state(layer, new, old, "step")
        return (new if mask is None else controls.choose(mask, new, old)), y
    noise = Noise.at(key, jnp.asarray(t)[None])
    xs = jax.tree.map(lambda a: a[None], x)
    z = jax.tree.map(lambda a: a[0], layer.project(params, xs, noise))
    if isinstance(layer, Feedforward):
        return state, z
    both = params, start
    state = controls.controlled(layer)(both, state, (z, mask, reset), Dot(both))
    return state, layer.readout(params, state, z)


def by_spec(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`f(layer, x)`, computed once for equal layers and inputs: shapes alone, no arrays."""
    cached = functools.lru_cache(4096)(
        lambda layer, leaves, tree, widest: f(layer, tree.unflatten(leaves))
    )

    def looked_up(layer: Any, x: Any) -> Any:
        leaves, tree = jax.tree.flatten(x)
        return cached(layer, tuple(leaves), tree, jax.dtypes.canonicalize_dtype(float))

    return looked_up


@by_spec
def params_spec(layer: Layer, x: Any) -> Params:
    """The params that `init` makes for inputs like `x`, shapes and dtypes alone."""
    if plain(layer):
        pairs = zip(layer.children, flow(layer, x)[0], strict=True)
        return tuple(params_spec(child, x) for child, x in pairs)
    return jax.eval_shape(layer.init, jax.eval_shape(lambda: jax.random.key(0)), x)


@by_spec
def output_spec(layer: Layer, x: Any) -> Any:
    """The shapes and dtypes of one row's output for inputs like `x`."""
    if plain(layer):
        return flow(layer, x)[1]

    def step(params: Params, x: jax.Array) -> Any:
        return one_step(layer, params, layer.initial_state(params), None, x, None, 0)[1]

    return specs(jax.eval_shape(step, params_spec(layer, x), x))


@by_spec
def flow(layer: Composite, x: Any) -> tuple[tuple[Any, ...], Any]:
    """The inputs of a composite's children, each checked, and its output."""
    seen: list[list[Any]] = [[] for _ in layer.children]

    def compose(x: jax.Array) -> Any:
        params: list[Params] = [None] * len(seen)

        def child(i: int, x: Any, reverse: bool = False) -> Any:
            inner = layer.children[i]
            errors.check_inputs(inner, "inputs", x)
            errors.check_rank(inner, x, 0)
            errors.check_input(inner, x)
            spec, batch = step_spec(inner, x), batch_shape(inner, x, 0)
            seen[i].append(spec)
            params[i] = zeros(params_spec(inner, spec))
            return zeros(output_spec(inner, spec), batch)

        return layer.compose(params, x, child)

    y = specs(jax.eval_shape(compose, x))
    if any(len(runs) != 1 for runs in seen):
        raise errors.child_runs(layer, [len(runs) for runs in seen])
    return tuple(runs[0] for runs in seen), y


def plain(layer: Layer) -> TypeGuard[Composite]:
    """Whether a layer's params are the tuple of its children's."""
    return isinstance(layer, Composite) and type(layer).init is Composite.init


def specs(tree: Any) -> Any:
    """The shapes and dtypes of a tree of arrays."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def zeros(tree: Any, batch: tuple[int, ...] = ()) -> Any:
    """Zeros of these shapes and dtypes, with batch axes before them."""
    return jax.tree.map(lambda a: jnp.zeros((*batch, *a.shape), a.dtype), tree)
