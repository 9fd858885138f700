"""Cells: layers that carry a state from one step to the next."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, cast

import jax

from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.layer import Layer, Noise, Params, State

__all__ = ["Cell", "Layer", "LinearCell", "Noise", "Params", "State"]  # for the author of a cell


class Cell(Layer):
    """What is computed at a time step.

    An author writes five pure functions, for arrays with any number of leading axes:

        z = project(params, xs)
            everything that needs no state, for all steps at once (the input matmul)
        state = step(params, state, z, dot)
            one step; `dot(x, "w_h")` is `x @ params["w_h"]`, with its weight gradient computed in
            one matmul after the loop
        y = readout(params, state, z)
            the output, from the new state
        initial_state(params, batch_shape)
        init(key, x)

    Features are the last axis, and gates lie side by side in it. On a TPU, whose tiles are 8 rows
    of 128 lanes, sizes fit that are multiples of 128 and batches that are multiples of 8.

    Leaves of the params under a key "fixed" are never trained: their gradient is stopped, and
    `training` leaves them as they are.

    A cell may also offer `gates(params, state, z, dot) -> NamedTuple`, which its own step calls, so
    that `diagnostics.record` can show them.
    """

    gates = cast("Callable | None", None)  # no annotation: a subclass may make it a method

    @property
    def elementwise(self) -> bool:
        """Whether each unit's new state depends on the old state of that unit alone, in every leaf:
        `Newton` then scans small Jacobians.
        """
        return False

    @abc.abstractmethod
    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Any:
        """`[T, ..., F]` to z, a pytree of arrays `[T, ..., *]`; random only with noise."""

    @abc.abstractmethod
    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        """The state after one step, with the structure, shapes and dtypes of the state before.

        Recurrent products and biases go through `dot` (see `Dot`). A gradient computes the step
        again from their results, without the products.
        """

    @abc.abstractmethod
    def readout(self, params: Params, state: State, z: Any) -> Any:
        """The output of a step from its new state; called with a leading time axis too."""


class LinearCell(Cell):
    """A cell whose state evolves as `state = a state + b`, part by part, so that time can be
    evaluated in parallel.

    An author writes `coefficients(params, z) -> (a, b)`. b is like the state, and a has a
    transition for each part of it: an array (a real diagonal), a `Complex` (a complex diagonal, for
    a `Complex` part) or a `Matrix`. A transition that depends on the params alone has no time and
    batch axes. The step is derived from the coefficients and so cannot disagree with them.
    """

    @abc.abstractmethod
    def coefficients(self, params: Params, z: Any) -> tuple[Any, Any]:
        """The transition `a` and the drive `b`, for one step or with a leading time axis."""

    def step(self, params: Params, state: State, z: Any, dot: Dot) -> State:
        a, b = self.coefficients(params, z)
        return evolve(a, state, b)
