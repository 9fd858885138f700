"""The ways of computing one thing that the laws compare.

A way is a frozen value that maps (cell, given) to (state, outputs).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from jaxrnn.advance import advance
from jaxrnn.axes import steps
from jaxrnn.layer import Layer, Params, State
from jaxrnn.strategies import Chunked, Scan, Strategy
from jaxrnn.testing.inputs import CUT, STEPS, Given
from jaxrnn.unroll import fold, unroll


def at(tree: Any, steps: Any) -> Any:
    """These steps of every array."""
    return jax.tree.map(lambda a: a[steps], tree)


@dataclasses.dataclass(frozen=True)
class Whole:
    """`unroll`, as it is or under jax.checkpoint; for a cell that looks ahead, whose two ends of
    time differ, the outputs alone.
    """

    strategy: Strategy = Scan()
    reverse: bool = False
    checkpoint: bool = False
    outputs_alone: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        def run(params: Params, state: State, xs: Any) -> tuple[State, Any]:
            return unroll(
                cell,
                params,
                xs,
                state=state,
                mask=given.mask,
                resets=given.resets,
                reverse=self.reverse,
                key=given.key,
                strategy=self.strategy,
            )

        state, ys = (jax.checkpoint(run) if self.checkpoint else run)(
            given.params, given.state, given.xs
        )
        return (() if self.outputs_alone else state), ys


@dataclasses.dataclass(frozen=True)
class Steps:
    """A Python loop over `advance`: the truth. Reversed, a step whose later neighbour began a
    sequence begins afresh.
    """

    reverse: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        state, ys = given.state, [None] * steps(given.xs)
        pending: Any = None if given.resets is None else jnp.zeros_like(given.resets[0])
        for t in reversed(range(len(ys))) if self.reverse else range(len(ys)):
            mask = None if given.mask is None else given.mask[t]
            reset = None if given.resets is None else given.resets[t]
            if self.reverse and reset is not None:
                reset, pending = pending, reset if mask is None else jnp.where(mask, reset, pending)
            x = at(given.xs, t)
            state, ys[t] = advance(
                cell, given.params, state, x, mask=mask, reset=reset, key=given.key, t=t
            )
        return state, jax.tree.map(lambda *y: jnp.stack(y), *ys)


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The steps before and after CUT run apart, the later begun from the initial state (reversed,
    the earlier).
    """

    reverse: bool = False
    outputs_alone: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        earlier, later = at(given.xs, slice(CUT)), at(given.xs, slice(CUT, None))
        first, second = (later, earlier) if self.reverse else (earlier, later)
        _, ya = unroll(cell, given.params, first, state=given.state, reverse=self.reverse)
        state, yb = unroll(cell, given.params, second, reverse=self.reverse)
        ys = jax.tree.map(lambda a, b: jnp.concatenate([b, a] if self.reverse else [a, b]), ya, yb)
        return (() if self.outputs_alone else state), ys


@dataclasses.dataclass(frozen=True)
class Shorter:
    """The first CUT steps alone, the outputs filled up with zeros."""

    reverse: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        xs = at(given.xs, slice(CUT))
        state, ys = unroll(cell, given.params, xs, state=given.state, reverse=self.reverse)
        return state, jax.tree.map(
            lambda y: jnp.pad(y, [(0, STEPS - CUT)] + [(0, 0)] * (y.ndim - 1)), ys
        )


@dataclasses.dataclass(frozen=True)
class Folded:
    """`fold`, with its outputs gathered again by the number of their step."""

    strategy: Strategy = Chunked(2)  # noqa: RUF009
    reverse: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        spec = jax.eval_shape(Whole(), cell, given)[1]

        def gather(acc: Any, params: Params, ys: Any, t: Any, mask: Any) -> Any:
            return jax.tree.map(lambda a, y: a.at[t].set(y), acc, ys)

        empty = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), spec)
        return fold(
            cell,
            given.params,
            given.xs,
            gather,
            empty,
            extra=jnp.arange(steps(given.xs)),
            state=given.state,
            mask=given.mask,
            resets=given.resets,
            reverse=self.reverse,
            key=given.key,
            strategy=self.strategy,
        )


@dataclasses.dataclass(frozen=True)
class Rows:
    """Each row by itself, `[T, F]`: one after another, or all at once by vmap."""

    by: Literal["vmap", "map"] = "map"

    @property
    def claim(self) -> str:
        return f"each row by itself, by {self.by},"

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        def row(state: State, xs: Any, mask: Any, resets: Any) -> tuple[State, Any]:
            return unroll(cell, given.params, xs, state=state, mask=mask, resets=resets)

        rows = (given.state, given.xs, given.mask, given.resets)
        if self.by == "vmap":
            return jax.vmap(row, (0, 1, 1, 1), (0, 1))(*rows)
        turned = (rows[0], *(jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), r) for r in rows[1:]))
        state, ys = jax.lax.map(lambda r: row(*r), turned)
        return state, jax.tree.map(lambda y: jnp.moveaxis(y, 0, 1), ys)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The batch axis `[B]` split into two, `[2, B/2]`."""

    claim: ClassVar[str] = "two batch axes"

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        def split(axis: int) -> Callable[[Any], Any]:
            return lambda a: a.reshape(*a.shape[:axis], 2, -1, *a.shape[axis + 1 :])

        def join(axis: int) -> Callable[[Any], Any]:
            return lambda a: a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2 :])

        xs, mask, resets = jax.tree.map(split(1), (given.xs, given.mask, given.resets))
        state, ys = unroll(
            cell,
            given.params,
            xs,
            state=jax.tree.map(split(0), given.state),
            mask=mask,
            resets=resets,
        )
        return jax.tree.map(join(0), state), jax.tree.map(join(1), ys)


@dataclasses.dataclass(frozen=True)
class Packed:
    """The valid steps of each row moved to its front, with the gaps behind them, and the outputs
    moved back.
    """

    reverse: bool = False

    def __call__(self, cell: Layer, given: Given) -> tuple[State, Any]:
        order = jnp.argsort(~given.mask, axis=0, stable=True)

        def permute(order: Any, a: Any) -> Any:
            return jnp.take_along_axis(
                a, order.reshape(order.shape + (1,) * (a.ndim - order.ndim)), axis=0
            )

        xs, mask, resets = jax.tree.map(
            lambda a: permute(order, a), (given.xs, given.mask, given.resets)
        )
        state, ys = unroll(
            cell,
            given.params,
            xs,
            state=given.state,
            mask=mask,
            resets=resets,
            reverse=self.reverse,
        )
        return state, jax.tree.map(lambda y: permute(jnp.argsort(order, axis=0), y), ys)


Way = Callable[[Layer, Given], tuple[State, Any]]
