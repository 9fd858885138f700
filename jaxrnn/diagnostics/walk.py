"""One recursion through a network for every diagnostic that looks into its layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.axes import steps
from jaxrnn.composite import Composite, run_children
from jaxrnn.layer import Layer, Params, State
from jaxrnn.strategies import Scan
from jaxrnn.unroll import Run, check_static, prepare


class Given(NamedTuple):
    """What a call says of a run besides params and inputs, as `unroll` means it."""

    state: Any
    mask: Any
    resets: Any
    key: Any


class Prepared(NamedTuple):
    """A checked run: params and inputs, the state to begin with, that of a reset, the controls."""

    params: Params
    state: State
    start: State
    xs: Any
    run: Run


@contextlib.contextmanager
def checks(cell: Any, params: Any, xs: Any, given: Given, reverse: Any) -> Iterator[None]:
    """Around a jitted call: refuse what is no cell, no array, no key."""
    check_static(cell, Scan(), reverse, given.key)
    errors.check_inputs(cell, "xs", xs)
    errors.check_rank(cell, xs, 1)
    trees = {"state": given.state, "mask": given.mask, "resets": given.resets}
    with errors.leaves_checked(cell, params=params, **trees):
        yield


def prepared(cell: Layer, reverse: bool, params: Params, xs: Any, given: Given) -> Prepared:
    """The run of a call, all of it checked."""
    params, xs, state, start, mask, resets = prepare(cell, params, xs, *given[:3])
    run = Run(Scan(), reverse, mask, resets, given.key, jnp.arange(steps(xs)))
    return Prepared(params, state, start, xs, run)


def walk(cell: Layer, now: Prepared, visit: Callable, given: Any = None) -> tuple[State, Any, Any]:
    """Every layer that is no composite, in the order in which the input flows through them.

    `visit(cell, now, given) -> (last, ys, seen)` runs one over the whole sequence. The result is
    the last state, the outputs, and what was seen: a tuple for each composite. `given` is a tree
    with such tuples, or None.
    """
    if not isinstance(cell, Composite):
        return visit(cell, now, given)
    seen: dict[int, Any] = {}

    def child(i: int, layer: Layer, params: Params, xs: Any, reverse: bool) -> tuple[State, Any]:
        inner = Prepared(params, now.state[i], now.start[i], xs, now.run.child(i, reverse))
        part = None if given is None else given[i]
        last, ys, seen[i] = walk(layer, inner, visit, part)
        return last, ys

    last, ys = run_children(cell, now.params, now.xs, child)
    return last, ys, tuple(seen[i] for i in range(len(seen)))
