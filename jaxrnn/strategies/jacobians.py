"""All steps of a cell side by side, and their derivatives by the states before them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.transitions import Matrix
from jaxrnn.cell import Cell

Jacobian = Literal["full", "diagonal"]


class Inputs(NamedTuple):
    """What the steps depend on besides the states."""

    params: Any
    start: Any
    zs: Any


class Problem(NamedTuple):
    """The static part of a solve.

    States are packed into one array: `[..., N]` with all numbers of a row, or, unit by unit,
    `[..., M]` with the M leaves of the state side by side (without that axis for one leaf).
    """

    cell: Cell
    kind: Literal["full", "diagonal", "units"]
    shapes: tuple[tuple[int, ...], ...]  # of the state's leaves, without batch axes
    reverse: bool

    @classmethod
    def of(cls, cell: Cell, params: Any, jacobian: Jacobian, reverse: bool) -> Problem:
        shapes = tuple(
            leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_state, params))
        )
        return cls(cell, "units" if cell.elementwise else jacobian, shapes, reverse)

    @property
    def axes(self) -> int:
        """The axes of one row's packed state."""
        return len(self.shapes[0]) + (len(self.shapes) > 1) if self.kind == "units" else 1

    def pack(self, tree: Any) -> jax.Array:
        leaves = jax.tree.leaves(tree)
        if self.kind == "units":
            return jnp.stack(leaves, axis=-1) if len(leaves) > 1 else leaves[0]
        flat = [
            leaf.reshape(*leaf.shape[: leaf.ndim - len(shape)], math.prod(shape))
            for leaf, shape in zip(leaves, self.shapes, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)

    def unpacker(self, state: Any) -> Callable[[jax.Array], Any]:
        """The inverse of `pack`, for states like this one."""
        tree = jax.tree.structure(state)

        def unpack(flat: jax.Array) -> Any:
            if self.kind == "units":
                return jax.tree.unflatten(
                    tree,
                    [flat[..., i] for i in range(len(self.shapes))]
                    if len(self.shapes) > 1
                    else [flat],
                )
            ends = [sum(map(math.prod, self.shapes[: i + 1])) for i in range(len(self.shapes) - 1)]
            parts = zip(jnp.split(flat, ends, axis=-1), self.shapes, strict=True)
            return jax.tree.unflatten(
                tree, [part.reshape(*flat.shape[:-1], *shape) for part, shape in parts]
            )

        return unpack

    def largest(self, flat: jax.Array) -> jax.Array:
        """The largest number of each row, over time and state."""
        return jnp.max(flat, axis=(0, *range(flat.ndim - self.axes, flat.ndim)))

    def step(self, inputs: Inputs, before: Any, z: Any, mask: Any, reset: Any) -> Any:
        both = inputs.params, inputs.start
        # In the short formats of accelerators a small change of the state would vanish, and the
        # iteration would not end.
        with jax.default_matmul_precision("highest"):
            dot = Dot(both, place=0)  # all steps side by side: time stays first
            return controls.controlled(self.cell)(both, before, (z, mask, reset), dot)

    def steps(self, inputs: Inputs, before: Any, mask: Any, resets: Any) -> Any:
        """Every step from the state before it."""
        return jax.vmap(lambda *now: self.step(inputs, *now))(before, inputs.zs, mask, resets)

    def first(self, inputs: Inputs, mask: Any, resets: Any, length: int) -> Any:
        """One step from the initial state, at every t: what it computes of the state alone is
        computed once.
        """
        if not length:
            return jax.tree.map(lambda s: jnp.broadcast_to(s, (0, *s.shape)), inputs.start)
        return jax.vmap(lambda *now: self.step(inputs, inputs.start, *now), axis_size=length)(
            inputs.zs, mask, resets
        )

    def linearized(
        self, inputs: Inputs, before: jax.Array, mask: Any, resets: Any, unpack: Callable
    ) -> tuple[jax.Array, Any]:
        """The states after every step, packed, and the transitions: their derivatives by the states
        before.
        """

        def column(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
            # The direction is the same at every step, and JAX is told so: what a step computes of
            # it alone, as its product with a weight, is computed once and not for all steps.
            def push(flat: jax.Array, *now: Any) -> tuple[jax.Array, jax.Array]:
                def f(flat: jax.Array) -> jax.Array:
                    return self.pack(self.step(inputs, unpack(flat), *now))

                return jax.jvp(f, (flat,), (jnp.broadcast_to(direction, flat.shape),))

            return jax.vmap(push)(before, inputs.zs, mask, resets)

        if self.kind == "units" and len(self.shapes) == 1:
            return column(jnp.ones((), before.dtype))
        unit = jnp.eye(before.shape[-1], dtype=before.dtype)
        if self.kind == "diagonal":  # one column after another, of which one number is kept
            new = self.pack(self.steps(inputs, unpack(before), mask, resets))
            entries = jax.lax.map(lambda k: column(unit[k])[1][..., k], jnp.arange(len(unit)))
            return new, jnp.moveaxis(entries, 0, -1)
        new, columns = jax.vmap(column, out_axes=(None, 0))(unit)
        return new, Matrix(jnp.moveaxis(columns, 0, -1))

    def pushed(
        self, inputs: Inputs, before: Any, drive: Any, first: Any, mask: Any, resets: Any
    ) -> Any:
        """`d_t = J_t d_{t-1} + drive_t` from `first`, with the exact J, which is never stored."""

        def body(d: Any, now: tuple) -> tuple[Any, Any]:
            before, drive, *rest = now
            _, push = jax.jvp(lambda s: self.step(inputs, s, *rest), (before,), (d,))
            d = jax.tree.map(jnp.add, push, drive)
            return d, d

        return jax.lax.scan(
            body, first, (before, drive, inputs.zs, mask, resets), reverse=self.reverse
        )[1]
