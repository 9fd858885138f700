"""The base of every layer, and the two kinds of layers that need no loop over time.

A layer is a frozen dataclass of static configuration: it hashes, compares, pickles, and its repr is
its constructor call. Subclasses become frozen dataclasses and are registered with JAX as leafless
pytrees. So a layer passes through `jit`, `vmap` and `grad` as it is, and equal layers are traced
once.

Letters in shapes: T time, `...` any batch axes, F features in, H hidden size, G number of gates.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.controls import Piece
from jaxrnn.fields import frozen

Params = Any
State = Any

TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
"""The spec of an integer token, for `init`."""


def features(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """The spec of one step's features, for `init`. An example array serves as well, and a number of
    features stands for `features(number)`.

    Example:
      >>> params = LSTM(8).init(jax.random.key(0), features(32))  # for inputs [T, ..., 32]
    """
    return jax.ShapeDtypeStruct(shape, dtype)


def like_input(layer: Any, x: Any) -> Any:
    """One step's input or its spec, from any argument that `init` accepts: these, or a number of
    features. For a layer that takes several arrays, a pytree of such.

    Raises:
      TypeError: for anything else.
    """

    def one(layer: Any, name: str, x: Any) -> None:
        if isinstance(x, int | np.integer) and not isinstance(x, bool):
            errors.check_size(layer, "the number of features", int(x))
        else:
            errors.check_example(layer, name, x)

    errors.check_inputs(layer, "an example input", x, one)
    return jax.tree.map(lambda a: features(int(a)) if isinstance(a, int | np.integer) else a, x)


def _of_any_example(init: Callable) -> Callable:
    """An `init` that receives an array or a spec, whatever its caller passed."""

    @functools.wraps(init)
    def wrapped(self: Layer, key: jax.Array, x: Any) -> Params:
        errors.check_key(self, key)
        return init(self, key, like_input(self, x))

    return wrapped


def _of_any_batch(initial_state: Callable) -> Callable:
    """An `initial_state` that refuses a batch that is no tuple."""

    @functools.wraps(initial_state)
    def wrapped(self: Layer, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        errors.check_batch(self, batch_shape)
        return initial_state(self, params, tuple(batch_shape))

    return wrapped


class Noise(NamedTuple):
    """The keys that `project` may draw from: one for the whole sequence, `[T]` for the steps."""

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
        fold = jax.random.fold_in
        return Noise(fold(self.sequence, i), jax.vmap(fold, (0, None))(self.steps, i))


@dataclass_transform(frozen_default=True)
@frozen
class Layer(abc.ABC):
    """A pure function over params and inputs, with or without a state: what the verbs run.

    An author subclasses one of its kinds, which are run in different ways: `Cell` step by step,
    `LinearCell` in parallel too, `Feedforward` without a state, `WholeSequence` without a loop,
    `Composite` through its children.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "init" in cls.__dict__:
            cls.init = _of_any_example(cls.init)
        if "initial_state" in cls.__dict__:
            cls.initial_state = _of_any_batch(cls.initial_state)
        frozen(cls, repr=False)
        jax.tree_util.register_static(cls)

    def __repr__(self) -> str:
        """The constructor call, without the keyword-only fields that have their defaults."""
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if f.repr and not (f.kw_only and getattr(self, f.name) is f.default)
        ]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    @property
    def feature_ndim(self) -> Any:
        """How many trailing axes of an input are one step's features: 1 for vectors `[T, ..., F]`,
        0 for tokens `[T, ...]`.

        A layer that takes several arrays says so here, with a pytree of numbers like its input.
        Under `(1, 1, 0)` its inputs are tuples `(x, seen, dt)` of arrays `[T, ..., F]`,
        `[T, ..., F]` and `[T, ...]`.
        """
        return 1

    @property
    def takes_tokens(self) -> Any:
        """Whether inputs are integers; of several arrays, one answer for all or a pytree of
        answers.
        """
        return False

    @property
    def causal(self) -> bool:
        """Whether the output at t depends on inputs up to t alone."""
        return True

    @property
    def takes_memory(self) -> bool:
        """Whether a memory must be bound before the layer runs."""
        return False

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        """The params with a memory `[S, *batch, M]` beside them, under the key "bound", for the
        layers in it that look at one; the mask `[S, *batch]` is true where the memory is valid. The
        memory is no state: neither carried, nor reset, nor masked. Every other layer's params stay
        as they are.
        """
        return params

    @abc.abstractmethod
    def init(self, key: jax.Array, x: Any) -> Params:
        """Params for inputs like `x`: an example array, a spec (`TOKEN`, `features(...)`) or a
        number of features.

        Only the feature axes count. An author's `init` always receives an array or a spec:
        something with a shape and a dtype.
        """

    @abc.abstractmethod
    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        """The state before the first step, `[*batch_shape, ...]` leaf by leaf."""


class Feedforward(Layer):
    """A layer without memory: an author writes `init` and `project`, whose result is the output.
    It costs no loop.

    It may also offer `gates(params, xs) -> NamedTuple`, which `diagnostics.record` shows.
    """

    gates = cast("Callable | None", None)  # no annotation: a subclass may make it a method

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return ()

    @abc.abstractmethod
    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Any:
        """The outputs `[T, ..., *]` for inputs `[T, ..., F]`; random only with noise."""


class WholeSequence(Layer):
    """A layer with a state that runs a whole piece of time at once, such as a convolution.

    It handles masks, resets and direction itself, so no strategy runs it. An author writes, besides
    `init` and `initial_state`,

        state, ys = sequence(params, piece)    piece.zs are the inputs, blank under a false mask
        state, y = step(params, state, x)      one step of the same, without controls
    """

    @abc.abstractmethod
    def sequence(self, params: Params, piece: Piece) -> tuple[State, Any]:
        """The last state and the outputs `[T, ..., *]` over a piece, with its mask, its resets and
        its direction.
        """

    @abc.abstractmethod
    def step(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        """The state and the output after one step; the state keeps its structure, shapes and
        dtypes.
        """
