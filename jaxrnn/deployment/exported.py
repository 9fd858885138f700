"""Run an exported network."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.deployment.plain import plain
from jaxrnn.layer import Params, State
from jaxrnn.saving.network import named, rebuilt

AXES: dict[str, tuple[tuple, Any]] = {
    "initial_state": ((0,), 0),
    "step": ((0, 0), (0, 0)),
    "sequence": ((1, 0, 1), (0, 1)),
}
"""Where the batch axes of each program's arguments after the params begin, and of its results."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Exported:
    """An exported network. Its methods are compiled for each shape of inputs at their first call,
    and work within `jax.jit`.

    States are trees of tuples, lists and dictionaries, whose leaves begin with the batch axes.
    """

    params: Params
    platforms: tuple[str, ...]
    """Where it runs: of "cpu", "cuda", "rocm" and "tpu"."""
    metadata: Mapping[str, Any]
    layer: str
    """The layer's constructor call."""
    configuration: Any
    """What `saving.from_json` makes the layer of; None where it is not jaxrnn's alone."""
    versions: Mapping[str, str]
    """Of jaxrnn and of JAX, which wrote it."""
    programs: Mapping[str, jax.export.Exported]

    def __repr__(self) -> str:
        x = jax.tree.map(errors.describe, self.x)
        return f"Exported({self.layer}, x={x}, platforms={self.platforms})"

    @functools.cached_property
    def x(self) -> Any:
        """The spec of one row's step of an input."""
        _, xs, _, _ = arguments(self.programs["sequence"])
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[2:], a.dtype), xs)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), *, params: Params | None = None
    ) -> State:
        """The state before the first step, for rows of this shape.

        Raises:
          TypeError, ValueError: for what is no tuple of sizes of one or more.
        """
        who = "Exported.initial_state"
        errors.check_batch(who, batch_shape)
        batch = tuple(errors.check_count(who, "a size", size) for size in batch_shape)
        return self._calls["initial_state"](batch, self._given(who, params), jnp.zeros(batch, bool))

    def step(self, state: State, x: Any, *, params: Params | None = None) -> tuple[State, Any]:
        """One step, as `advance`: `(state, y)`, for inputs `[..., F]` or tokens `[...]`.

        Args:
          state: the state before it, from `initial_state` or an earlier call.
          x: the input, of any batch shape.
          params: other params of the same shapes; by default those of the file.

        Raises:
          TypeError, ValueError: for arguments that do not fit, and for a layer that is not causal.
        """
        who = "Exported.step"
        if "step" not in self.programs:
            raise errors.no_step(self.layer)
        x = plain(x)
        batch = errors.check_program_input(who, "x", x, self.x, 0)
        errors.check_exported_rows(who, batch)
        state = self._state(who, state, batch)
        return self._calls["step"](batch, self._given(who, params), state, cast(x, self.x))

    def sequence(
        self,
        xs: Any,
        state: State | None = None,
        mask: Any = None,
        *,
        params: Params | None = None,
    ) -> tuple[State, Any]:
        """A whole sequence, as `unroll`: `(state, ys)`, for inputs `[T, ..., F]` or tokens
        `[T, ...]`.

        Args:
          xs: the inputs: one step or more, of any batch shape.
          state: the state before the first step; by default the initial one.
          mask: booleans `[T, ...]`, true where the step is valid.
          params: other params of the same shapes; by default those of the file.

        Raises:
          TypeError, ValueError: for arguments that do not fit.
        """
        who = "Exported.sequence"
        xs = plain(xs)
        steps, *batch = axes = errors.check_program_input(who, "xs", xs, self.x, 1)
        batch = tuple(batch)
        errors.check_exported_rows(who, batch, steps)
        if state is None:
            state = self.initial_state(batch, params=params)
        state = self._state(who, state, batch)
        if mask is None:
            mask = jnp.ones(axes, bool)
        errors.check_flags(who, "mask", mask, axes)
        params = self._given(who, params)
        return self._calls["sequence"](batch, params, cast(xs, self.x), state, mask)

    def _given(self, who: str, params: Any) -> Params:
        """The params that a program takes: the file's, or others like them."""
        if params is None:
            return self.params
        params = plain(params)
        do = "Pass a tree like .params."
        errors.check_arrays(who, named("params", params), named("params", self.params), do)
        return cast(rebuilt(self.params, "params", named("params", params)), self.params)

    def _state(self, who: str, state: Any, batch: tuple[int, ...]) -> State:
        """A state of these rows, without classes."""
        _, _, like, _ = arguments(self.programs["sequence"])
        like = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*batch, *a.shape[1:]), a.dtype), like)
        state = plain(state)
        errors.check_state(who, state, like, "state of these rows")
        return state

    @functools.cached_property
    def _calls(self) -> dict[str, Callable]:
        """Each program, compiled at its first call with arguments of new shapes."""
        here = jax.export.default_export_platform()
        if not {here, "cpu"} & set(self.platforms):
            raise errors.other_platforms(self.platforms, here)
        return {name: compiled(made, *AXES[name]) for name, made in self.programs.items()}


def arguments(program: jax.export.Exported) -> tuple:
    """The arguments of a program, their shapes and dtypes."""
    return jax.tree.unflatten(program.in_tree, program.in_avals)[0]


def cast(tree: Any, like: Any) -> Any:
    """The same numbers in the dtypes of another tree."""
    return jax.tree.map(lambda a, spec: jnp.asarray(a, spec.dtype), tree, like)


def compiled(program: jax.export.Exported, given: tuple, made: Any) -> Callable:
    """A program for rows of any shape, `call(batch, params, *trees)`, from one for `[B]`; `given`
    and `made` say where batch axes begin.
    """

    @functools.partial(jax.jit, static_argnums=0)
    def call(batch: tuple[int, ...], params: Params, *trees: Any) -> Any:
        rows = (math.prod(batch),)
        flat = [moved(lead, tree, batch, rows) for lead, tree in zip(given, trees, strict=True)]
        results = program.call(params, *flat)
        return jax.tree.map(lambda lead, tree: moved(lead, tree, rows, batch), made, results)

    return call


def moved(lead: int, tree: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
    """Arrays whose batch axes, after `lead` axes, are others."""

    def one(a: jax.Array) -> jax.Array:
        return a.reshape(*a.shape[:lead], *new, *a.shape[lead + len(old) :])

    return tree if old == new else jax.tree.map(one, tree)
