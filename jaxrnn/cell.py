"""The four kinds of cell, what an author writes for each, and one step of any of them.

A cell is a frozen dataclass of static configuration: it hashes, compares, pickles, and its repr is its constructor call.
Subclasses are made frozen dataclasses and registered with JAX as leafless pytrees, so a cell passes through `jit`, `vmap`
and `grad` as it is, and an equal cell built twice traces once.

Letters in shapes: T time, `...` any batch axes, F features in, H hidden size, G number of gates.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, dataclass_transform

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.dot import Dot

Params = Any
State = Any

TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
"""What `init` needs to know of an integer token."""


def features(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """What `init` needs to know of one step's features; an example array serves as well.

    Example:
      >>> params = LSTM(8).init(jax.random.key(0), features(32))  # for inputs [T, ..., 32]
    """
    return jax.ShapeDtypeStruct(shape, dtype)


class Noise(NamedTuple):
    """The keys a `project` may draw from: one for the whole sequence, one `[T]` for each step."""

    sequence: jax.Array
    steps: jax.Array

    @classmethod
    def at(cls, key: jax.Array | None, times: jax.Array) -> Noise | None:
        """Keys that depend on (key, t) alone, so that cutting a sequence changes nothing."""
        if key is None:
            return None
        sequence, steps = jax.random.split(key)
        return cls(sequence, jax.vmap(jax.random.fold_in, (None, 0))(steps, times))

    def place(self, i: int) -> Noise:
        """Keys of their own for the i-th user of this noise (a wrapper and the cell it wraps)."""
        return Noise(jax.random.fold_in(self.sequence, i), jax.vmap(jax.random.fold_in, (0, None))(self.steps, i))


@dataclass_transform(frozen_default=True)
@dataclasses.dataclass(frozen=True)
class Cell(abc.ABC):
    """What is computed at a time step.

    An author writes five functions, all pure, all indifferent to how many leading axes their arrays have:

        z = project(params, xs)            everything that needs no state, for all steps at once (the input matmul)
        state = step(params, state, z, dot)          one step; `dot(x, "w_h")` is `x @ params["w_h"]`, its weight
                                                     gradient taken in one matmul after the loop
        y = readout(params, state, z)                the output, read out of the new state
        initial_state(params, batch_shape), init(key, x)

    A cell may also offer `gates(params, state, z, dot) -> NamedTuple`, which its own step calls, so that
    `diagnostics.trace` can show them.
    """

    whole: ClassVar[Callable | None] = None
    """`whole(params, piece) -> (state, ys)`, where a cell knows a whole sequence (a `controls.Piece`) without a loop."""

    gates: ClassVar[Callable | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True)(cls)
        jax.tree_util.register_static(cls)

    @property
    def feature_ndim(self) -> int:
        """How many trailing axes of an input are one step's features."""
        return 1

    @property
    def takes_tokens(self) -> bool:
        """Whether inputs are integers."""
        return False

    @property
    def causal(self) -> bool:
        """Whether the output at t depends on inputs up to t alone."""
        return True

    @property
    def elementwise(self) -> bool:
        """Whether each unit's new state depends on the old state of that unit alone, in every leaf: `Newton` then scans small Jacobians."""
        return False

    @property
    def takes_memory(self) -> bool:
        """Whether a memory must be bound before it runs."""
        return False

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        """The params with a memory `[S, *batch, M]` beside them, under the key "bound", for the cells in it that look at one; `mask` are
        booleans `[S, *batch]`. It is no state: neither carried, nor reset, nor masked. Every other cell's params stay as they are."""
        return params

    @abc.abstractmethod
    def init(self, key: jax.Array, x: Any) -> Params:
        """Parameters for inputs like `x`: anything with a shape and a dtype, of which the feature axes count."""

    @abc.abstractmethod
    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        """The state before the first step, `[*batch_shape, ...]` leaf by leaf."""

    @abc.abstractmethod
    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Any:
        """`[T, ..., F]` to z, a pytree of arrays `[T, ..., *]`. Without noise it must draw none."""

    @abc.abstractmethod
    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        """The state after one step, with the structure, shapes and dtypes of the state before.

        Recurrent products and biases go through `dot` (see `Dot`). A gradient computes the step again from their results, all but the products.
        """

    @abc.abstractmethod
    def readout(self, params: Params, state: State, z: Any) -> Any:
        """The output of a step from its new state; called with a leading time axis too."""


class LinearCell(Cell):
    """A cell whose state evolves as `state = a state + b`, part by part, so that time can be evaluated in parallel.

    An author writes `coefficients(params, z) -> (a, b)`: b is like the state, and a holds for each part of it a transition, an array (a real
    diagonal), a `Complex` (a complex one, of a `Complex` part) or a `Matrix`. A transition that depends on the params alone has no time and batch
    axes. The step is derived from them and so cannot disagree with them.
    """

    @abc.abstractmethod
    def coefficients(self, params: Params, z: Any) -> tuple[Any, Any]:
        """The transition `a` and the drive `b`, for one step or with a leading time axis."""

    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        a, b = self.coefficients(params, z)
        return evolve(a, state, b)


class Feedforward(Cell):
    """A layer without memory: an author writes `init` and `project`, whose result is the output. It costs no loop."""

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return ()

    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        return state

    def readout(self, params: Params, state: State, z: Any) -> Any:
        return z


Child = Callable[..., Any]


class Composite(Cell):
    """A cell made of cells. An author names the `children` and writes how one input flows through them:

        compose(params, x, child) -> y

    where `child(i, x)` runs the i-th child, over one step in `advance` and over the whole sequence in `unroll`; the states are
    kept for it. So both verbs follow one definition, and no composite knows of a strategy. `params` is the tuple of the
    children's params, unless `init` makes and `split` reads another. `child(i, x, reverse=True)` runs against time, which
    makes the composite not causal.
    """

    @property
    @abc.abstractmethod
    def children(self) -> tuple[Cell, ...]:
        """The cells it is made of. Its params and its state are tuples of theirs, in this order."""

    @abc.abstractmethod
    def compose(self, params: Params, x: Any, child: Child) -> Any:
        """The output for an input `[..., F]` of one step, or `[T, ..., F]` of a sequence: use the last axes only."""

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
        """The children's, each bound; a composite whose params are not that tuple writes its own."""
        if not self.takes_memory:
            return params
        return tuple(child.bind(p, memory, mask) for child, p in zip(self.children, self.split(params), strict=True))

    def split(self, params: Params) -> tuple[Params, ...]:
        """The children's params within this composite's."""
        return params

    def init(self, key: jax.Array, x: Any) -> Params:
        keys = [jax.random.fold_in(key, i) for i in range(len(self.children))]
        seen: dict[int, jax.ShapeDtypeStruct] = {}

        def flow(keys: list[jax.Array], x: jax.Array) -> Any:
            params: list[Params] = [None] * len(keys)

            def child(i: int, x: jax.Array, reverse: bool = False) -> Any:
                cell = self.children[i]
                seen[i] = jax.ShapeDtypeStruct(x.shape, x.dtype)
                params[i] = cell.init(keys[i], x)
                return one_step(cell, params[i], cell.initial_state(params[i]), None, x, None, 0)[1]

            return self.compose(params, x, child)

        shape = tuple(x.shape[len(x.shape) - self.feature_ndim :])
        jax.eval_shape(flow, keys, jax.ShapeDtypeStruct(shape, x.dtype))
        return tuple(cell.init(keys[i], seen[i]) for i, cell in enumerate(self.children))

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        pairs = zip(self.children, self.split(params), strict=True)
        return tuple(cell.initial_state(p, batch_shape) for cell, p in pairs)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Any:
        raise errors.no_loop(self, "project")

    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        raise errors.no_loop(self, "step")

    def readout(self, params: Params, state: State, z: Any) -> Any:
        raise errors.no_loop(self, "readout")


def run_children(cell: Composite, params: Params, x: Any, run: Callable[..., tuple[State, Any]]) -> tuple[State, Any]:
    """Compose with `run(i, child, params, x, reverse)`, gathering the children's states."""
    children, parts = cell.children, cell.split(params)
    states: list[list[State]] = [[] for _ in children]

    def child(i: int, x: Any, reverse: bool = False) -> Any:
        state, y = run(i, children[i], parts[i], x, reverse)
        states[i].append(state)
        return y

    y = cell.compose(params, x, child)
    if any(len(s) != 1 for s in states):
        raise errors.child_runs(cell, [len(s) for s in states])
    return tuple(s[0] for s in states), y


def one_step(
    cell: Cell, params: Params, state: State, start: State, x: Any, key: jax.Array | None, t: Any, mask: Any = None, reset: Any = None
) -> tuple[State, Any]:
    """One step of any cell; `start` is the state a reset returns to."""
    if isinstance(cell, Composite):

        def run(i: int, child: Cell, p: Params, x: Any, reverse: bool) -> tuple[State, Any]:
            inner = None if key is None else jax.random.fold_in(key, i)
            return one_step(child, p, state[i], None if start is None else start[i], x, inner, t, mask, reset)

        return run_children(cell, params, x, run)
    check_leaf(cell, x)
    x = controls.blank(x, mask)
    z = jax.tree.map(lambda a: a[0], cell.project(params, x[None], Noise.at(key, jnp.asarray(t)[None])))
    step = controls.controlled(cell)
    state = step((params, start), state, (z, mask, reset), Dot.plain((params, start)))
    return state, cell.readout(params, state, z)


def check_leaf(cell: Cell, x: Any, time: int = 0) -> None:
    errors.check_array(cell, "inputs", x)
    errors.check_rank(cell, x, time)
    errors.check_input(cell, x)


def batch_shape(cell: Cell, x: Any, time: int) -> tuple[int, ...]:
    """The axes of an input between time and features."""
    return tuple(x.shape[time : x.ndim - cell.feature_ndim])
