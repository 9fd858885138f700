"""A whole sequence in one kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.autodiff._jax import fixed
from jaxrnn.autodiff.choose import choose
from jaxrnn.autodiff.kernels.lowering import KERNELS, planned
from jaxrnn.autodiff.kernels.rows import ROWS, Kernel
from jaxrnn.autodiff.linear_loops import forget, split_transitions
from jaxrnn.autodiff.recurrence import recurrence
from jaxrnn.autodiff.transitions import evolve
from jaxrnn.axes import batch_shape, step_spec, steps
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.composite import Composite, run_children
from jaxrnn.controls import Piece
from jaxrnn.layer import Feedforward, Layer, WholeSequence
from jaxrnn.params import freeze
from jaxrnn.strategies.auto import Choice
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Strategy


class Fused(Strategy):
    """Any cell's whole recurrence as one kernel of an accelerator, and its gradient as another.

    A step of `Scan` costs an accelerator a few launches, and reads the params from its main memory
    again. In a kernel the loop is inside: params stay in fast memory, the state too, and the rows
    of the next steps are read while these are computed.

    The kernel is made from the step itself, by Pallas: any cell whose step consists of elementwise
    operations, reductions and products with params. Where the params do not fit, for a step of
    other operations, and on a CPU, `Fused` is `Scan`. That is decided when the program is lowered,
    for the platform that it is lowered for; `select` shows the decision and the reason. Second
    derivatives are those of `Scan`.

    Kernels have been compiled for a TPU v5e and an H100 and checked in Pallas's interpreter. None
    has been run on a card or timed, so `Auto` does not choose them.

    Args:
      interpret: on a CPU run the kernels of a TPU in Pallas's interpreter, to check them; very
        slow.

    Raises:
      TypeError: for an `interpret` that is no bool.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Fused())
    """

    interpret: bool = False

    def __post_init__(self) -> None:
        errors.check_flag(self, "interpret", self.interpret)

    def loops(self, cell: Any) -> bool:
        return Scan().loops(cell)

    def select(self, cell: Layer, xs: Any, platform: str = "tpu") -> tuple[Choice, ...]:
        """The choice for each cell with a loop, over inputs `[T, ...]` on a platform, in the
        network's order, with the reason: the kernel's tiles, or why it is `Scan`.

        Params are of the shapes that `init` gives them.
        """
        errors.check_platform(self, platform, KERNELS)
        x = jax.tree.map(jnp.asarray, xs)
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), step_spec(cell, x)))
        found: list[tuple[Cell, Any, Piece]] = []
        jax.eval_shape(lambda p, x: outputs(cell, p, x, found), params, x)
        return tuple(self.choice(*one, platform) for one in found)

    def choice(self, cell: Cell, params: Any, piece: Piece, platform: str) -> Choice:
        """The choice for one cell, from the loops of its gradient."""
        args = (params, piece.state, piece.zs)
        leaves, tree = jax.tree.flatten(args)
        moving = [i for i, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.inexact)]

        def loss(some: Any) -> Any:
            params, state, zs = tree.unflatten(
                some.get(i, jnp.zeros(a.shape, a.dtype)) for i, a in enumerate(leaves)
            )
            now = piece._replace(state=state, start=state, zs=zs)
            out = self.run(cell, freeze(params), now)  # as `unroll` runs it
            return sum(a.astype(jnp.float32).sum() for a in jax.tree.leaves(out))

        gradient = jax.make_jaxpr(jax.grad(loss))({i: leaves[i] for i in moving})
        plans = [
            planned(platform, eqn.invars[eqn.params["num_consts"]].aval.shape[0], eqn.params)
            for eqn in loops(gradient)
        ]
        if not plans:
            return Choice(cell, Scan(), "its states or inputs have no axis of features")
        if refused := next((p for p in plans if isinstance(p, str)), None):
            return Choice(cell, Scan(), refused)
        tiles = " and ".join(str(p) for p in plans)
        return Choice(cell, self, f"one kernel forward and one backward: {tiles}")

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        row = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
        states, rows = jax.tree.leaves(piece.state), jax.tree.leaves(row)
        batch = states[0].shape[: states[0].ndim - rows[0].ndim]
        lead = (piece.length, *batch)
        step, inputs = stepped(cell, params, piece)
        arrays = (piece.state, inputs, piece.start)
        if (
            not fixed(*lead)
            or not all(r.ndim for r in rows)
            or any(a.shape[: len(lead)] != lead for a in jax.tree.leaves(inputs))
            or any(jax.typeof(a).sharding.mesh._any_axis_explicit for a in jax.tree.leaves(arrays))
        ):
            return Scan().run(cell, params, piece)
        kernel = Kernel(self.interpret)

        def one(state: Any, inputs: Any, start: Any) -> tuple[Any, Any]:
            return recurrence(
                step, (params, start), state, inputs, piece.length, piece.reverse, kernel=kernel
            )

        axes = (0, 1, 0)
        flat = [merged(tree, axis, len(batch)) for tree, axis in zip(arrays, axes, strict=True)]
        last, ys = jax.vmap(one, axes, (0, 1), axis_name=ROWS)(*flat)
        return split(last, 0, batch), split(ys, 1, batch)


def outputs(layer: Any, params: Any, xs: Any, found: list) -> Any:
    """The outputs of a network over a sequence, in shape; its cells, their params and pieces are
    added to `found`.
    """
    if isinstance(layer, Composite):

        def child(i: int, layer: Layer, params: Any, xs: Any, reverse: bool) -> tuple[None, Any]:
            return None, outputs(layer, params, xs, found)

        return run_children(layer, params, xs, child)[1]
    if isinstance(layer, Feedforward):
        return layer.project(params, xs, None)
    state, length = layer.initial_state(params, batch_shape(layer, xs, 1)), steps(xs)
    piece = Piece(state, state, xs, None, None, length, False)
    if isinstance(layer, WholeSequence):
        return layer.sequence(params, piece)[1]
    zs = layer.project(params, xs, None)
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (state, zs, params))
    found.append((layer, spec[2], piece._replace(state=spec[0], start=spec[0], zs=spec[1])))
    states = jax.tree.map(lambda s: jnp.broadcast_to(s, (length, *s.shape)), state)
    return layer.readout(params, states, zs)


def loops(closed: Any) -> Iterator[Any]:
    """The loops in a program that are to be kernels."""
    for eqn in closed.eqns:
        if eqn.params.get("kernel") is not None:
            yield eqn
        for value in eqn.params.values():
            if hasattr(value, "eqns"):
                yield from loops(value)


def stepped(cell: Cell, params: Any, piece: Piece) -> tuple[Callable, Any]:
    """A cell's step with its controls, and what it reads of each step; flags have an axis of size
    one in the place of the features.
    """
    mask, resets = (None if a is None else a[..., None] for a in (piece.mask, piece.resets))
    if not isinstance(cell, LinearCell):
        return controls.controlled(cell), (piece.zs, mask, resets)
    a, b = cell.coefficients(params, piece.zs)
    if piece.resets is not None:
        b = controls.choose(piece.resets, evolve(a, piece.start, b), b)
    scanned, join = split_transitions(a, b)

    def step(params: Any, h: Any, now: tuple, dot: Any) -> Any:
        scanned, b, mask, reset = now
        after = evolve(join(scanned), forget(reset, h), b)
        return after if mask is None else choose(mask, after, h)

    return step, (scanned, b, mask, resets)


def merged(tree: Any, axis: int, count: int) -> Any:
    """`count` axes from `axis` on as one."""
    return jax.tree.map(lambda a: a.reshape(*a.shape[:axis], -1, *a.shape[axis + count :]), tree)


def split(tree: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The axis as axes of these sizes."""
    return jax.tree.map(lambda a: a.reshape(*a.shape[:axis], *shape, *a.shape[axis + 1 :]), tree)
