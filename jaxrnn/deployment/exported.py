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
import numpy as np

from jaxrnn import errors
from jaxrnn.deployment.plain import plain
from jaxrnn.layer import Params, State
from jaxrnn.saving.network import named, rebuilt


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

    @functools.cached_property
    def sizes(self) -> tuple[int | None, int | None]:
        """The numbers of steps and of rows that it is for; None for any."""
        _, _, _, mask = arguments(self.programs["sequence"])
        steps, rows = (size if isinstance(size, int) else None for size in mask.shape)
        return steps, rows

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), *, params: Params | None = None
    ) -> State:
        """The state before the first step, for rows of this shape.

        Raises:
          TypeError, ValueError: for what is no tuple of sizes of one or more, or for other rows
            than the file is for.
        """
        who = "Exported.initial_state"
        errors.check_batch(who, batch_shape)
        batch = tuple(errors.check_count(who, "a size", size) for size in batch_shape)
        with errors.leaves_checked(who, params=params):
            return self._calls["initial_state"](self._or_own(params), np.zeros(batch, bool))

    def step(self, state: State, x: Any, *, params: Params | None = None) -> tuple[State, Any]:
        """One step, as `advance`: `(state, y)`, for inputs `[..., F]` or tokens `[...]`.

        Args:
          state: the state before it, from `initial_state` or an earlier call.
          x: the input, of any batch shape.
          params: other params of the same shapes; by default those of the file.

        Raises:
          TypeError, ValueError: for arguments that do not fit, and for a layer that is not causal.
        """
        if "step" not in self.programs:
            raise errors.no_step(self.layer)
        with errors.leaves_checked("Exported.step", params=params, state=state, x=x):
            return self._calls["step"](self._or_own(params), state, x)

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
          mask: booleans `[T, ...]`, true where the step is valid; a step under false changes
            nothing, and its output is zero.
          params: other params of the same shapes; by default those of the file.

        Raises:
          TypeError, ValueError: for arguments that do not fit.
        """
        given = {"params": params, "xs": xs, "state": state, "mask": mask}
        with errors.leaves_checked("Exported.sequence", **given):
            return self._calls["sequence"](self._or_own(params), xs, state, mask)

    def _or_own(self, params: Params | None) -> Params:
        return self.params if params is None else params

    @functools.cached_property
    def _calls(self) -> dict[str, Callable]:
        """The programs behind their checks."""
        here = jax.export.default_export_platform()
        if not {here, "cpu"} & set(self.platforms):
            raise errors.other_platforms(self.platforms, here)
        calls = {"initial_state": self._initial_state, "step": self._step}
        return {
            name: jax.jit(call) for name, call in (calls | {"sequence": self._sequence}).items()
        }

    def _initial_state(self, params: Params, rows: jax.Array) -> State:
        errors.check_exported_sizes("Exported.initial_state", rows.shape, None, self.sizes)
        params = self._params("Exported.initial_state", params)
        state = self.programs["initial_state"].call(params, rows.reshape(-1))
        return moved(0, state, (rows.size,), rows.shape)

    def _step(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        who, x = "Exported.step", plain(x)
        batch = errors.check_program_input(who, "x", x, self.x, 0)
        errors.check_exported_sizes(who, batch, None, self.sizes)
        state = self._state(who, state, batch)
        rows, params = (math.prod(batch),), self._params(who, params)
        x = moved(0, cast(x, self.x), batch, rows)
        state, y = self.programs["step"].call(params, moved(0, state, batch, rows), x)
        return moved(0, state, rows, batch), moved(0, y, rows, batch)

    def _sequence(self, params: Params, xs: Any, state: Any, mask: Any) -> tuple[State, Any]:
        who, xs = "Exported.sequence", plain(xs)
        axes = errors.check_program_input(who, "xs", xs, self.x, 1)
        batch = axes[1:]
        errors.check_exported_sizes(who, batch, axes[0], self.sizes)
        rows, params = (math.prod(batch),), self._params(who, params)
        if state is None:
            state = self._initial_state(params, jnp.zeros(batch, bool))
        if mask is None:
            mask = jnp.ones(axes, bool)
        errors.check_flags(who, "mask", mask, axes)
        state = moved(0, self._state(who, state, batch), batch, rows)
        xs = moved(1, cast(xs, self.x), batch, rows)
        run = self.programs["sequence"].call
        state, ys = run(params, xs, state, moved(1, mask, batch, rows))
        return moved(0, state, rows, batch), moved(1, ys, rows, batch)

    def _params(self, who: str, params: Any) -> Params:
        """The params that a program takes: like the file's."""
        arrays, need = named("params", plain(params)), named("params", self.params)
        errors.check_arrays(who, arrays, need, "Pass a tree like .params.")
        return cast(rebuilt(self.params, "params", arrays), self.params)

    def _state(self, who: str, state: Any, batch: tuple[int, ...]) -> State:
        """A state of these rows, without classes."""
        _, _, like, _ = arguments(self.programs["sequence"])
        like = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*batch, *a.shape[1:]), a.dtype), like)
        state = plain(state)
        errors.check_state(who, state, like, "state of these rows")
        return state


def arguments(program: jax.export.Exported) -> tuple:
    """The arguments of a program, their shapes and dtypes."""
    return jax.tree.unflatten(program.in_tree, program.in_avals)[0]


def cast(tree: Any, like: Any) -> Any:
    """The same numbers in the dtypes of another tree."""
    return jax.tree.map(lambda a, spec: jnp.asarray(a, spec.dtype), tree, like)


def moved(lead: int, tree: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
    """Arrays whose batch axes, after `lead` axes, are others."""

    def one(a: jax.Array) -> jax.Array:
        return a.reshape(*a.shape[:lead], *new, *a.shape[lead + len(old) :])

    return tree if old == new else jax.tree.map(one, tree)
