"""What the wrappers that change one cell's step have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import batch_shape, sequence_spec
from jaxrnn.cell import Cell
from jaxrnn.layer import Layer, Noise, Params, State


class Drawn(NamedTuple):
    """A wrapper's z: that of the cell inside, and the masks drawn for all steps, None without a
    key.
    """

    z: Any
    masks: Any


class Wrapper(Cell):
    """A cell around one leaf cell that changes its step by masks; its params, its state and its
    gates are that cell's.

    An author writes `draw`, which draws masks, and how the masks of one step, or None without a
    key, change the cell's matmuls (`lowered`) and its new state (`settled`). All randomness is
    drawn in `project`, so the step is deterministic.
    """

    cell: Cell

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Layer)
        if not isinstance(self.cell, Cell):
            raise errors.not_a_leaf(self, self.cell)
        self.check()

    @abc.abstractmethod
    def check(self) -> None:
        """Refuse wrong fields."""

    @abc.abstractmethod
    def draw(self, params: Params, state: State, z: Any, noise: Noise) -> Any:
        """The masks, a pytree of booleans `[T, ...]`, for a cell whose state and whose z of one
        step have these shapes. Refuse a cell that cannot be wrapped.
        """

    @abc.abstractmethod
    def lowered(self, dot: Dot, masks: Any) -> Dot:
        """The `dot` that the cell inside receives."""

    @abc.abstractmethod
    def settled(self, old: State, new: State, masks: Any) -> State:
        """The state after a step that leads from `old` to `new`."""

    @property
    def takes_tokens(self) -> Any:
        return self.cell.takes_tokens

    @property
    def feature_ndim(self) -> Any:
        return self.cell.feature_ndim

    @property
    def takes_memory(self) -> bool:
        return self.cell.takes_memory

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return self.cell.bind(params, memory, mask)

    @property
    def gates(self) -> Callable | None:
        inner = self.cell.gates
        if inner is None:
            return None
        return lambda params, state, z, dot: inner(params, state, z.z, self.lowered(dot, z.masks))

    def init(self, key: jax.Array, x: Any) -> Params:
        params = self.cell.init(key, x)
        xs = sequence_spec(self, x)
        # Masks are drawn in training alone. Their shapes are computed here too, so that a cell that
        # cannot be wrapped is refused at once.
        jax.eval_shape(
            lambda params, xs, key: self.project(params, xs, Noise.at(key, jnp.arange(1))),
            params,
            xs,
            key,
        )
        return params

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return self.cell.initial_state(params, batch_shape)

    def project(self, params: Params, xs: Any, noise: Noise | None = None) -> Drawn:
        if noise is None:
            return Drawn(self.cell.project(params, xs), None)
        z = self.cell.project(params, xs, noise.place(0))
        step = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), z)
        state = jax.eval_shape(
            lambda params: self.initial_state(params, batch_shape(self, xs, 1)), params
        )
        return Drawn(z, self.draw(params, state, step, noise.place(1)))

    def step(self, params: Params, state: State, z: Drawn, dot: Dot) -> State:
        return self.settled(
            state, self.cell.step(params, state, z.z, self.lowered(dot, z.masks)), z.masks
        )

    def readout(self, params: Params, state: State, z: Drawn) -> Any:
        return self.cell.readout(params, state, z.z)
