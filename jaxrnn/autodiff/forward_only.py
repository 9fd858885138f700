"""A pass through which nothing is differentiated, taken in chunks of time on one CPU device.

A gradient wants z for all steps. A pass without one does not, and on a CPU an array of all z costs
more than its arithmetic: the kernel zeroes its pages at every call, and it fits no cache. Three
things are known only when a program is lowered, not when it is traced: whether it needs a gradient,
how many copies of a pass a `vmap` makes, and for which platform it is. So a pass is a primitive
that means `whole`: its derivative is that of `whole`, and `whole` is what runs on all but one CPU
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import (
    ClosedJaxpr,
    Tracer,
    ad,
    batching,
    dce,
    debugging,
    derived_jvp,
    lowered,
    primitive,
    trace,
)

LARGE = 2**23  # bytes of all states from which a pass is taken in chunks
CACHED, FEWEST = 2**20, 4  # bytes of a chunk's states, and the fewest steps that make one


def forward_only(whole: Callable, chunked: Callable, args: tuple, length: Any, row: Any) -> Any:
    """`whole(*args) -> (state, ys)`, where it pays by `chunked(size, *args)`, which is the same.

    Args:
      whole: a function of pytrees of arrays, over `length` steps; time is the first axis of ys.
      chunked: the same, `size` steps at a time.
      args: all arrays that the two read.
      length: T, the number of steps.
      row: the bytes of a state.
    """
    leaves, tree = jax.tree.flatten(args)
    structure: list = []

    def flat(f: Callable, *leaves: Any) -> list:
        parts = [jax.tree.flatten(part) for part in f(*tree.unflatten(leaves))]
        structure[:] = [(made, len(outs)) for outs, made in parts]
        return [*parts[0][0], *parts[1][0]]

    closed = None if debugging() else trace(lambda *leaves: flat(whole, *leaves), *leaves)
    if closed is None or closed.effects or any(isinstance(c, Tracer) for c in closed.consts):
        return whole(*args)
    (state, states), (ys, _) = structure
    outs = forward_p.bind(
        *leaves,
        whole=closed,
        chunked=lambda size, *x: flat(lambda *a: chunked(size, *a), *x),
        states=states,
        length=length,
        row=row,
        axes=(),
    )
    return state.unflatten(outs[:states]), ys.unflatten(outs[states:])


def _whole(*args: Any, whole: ClosedJaxpr, **_: Any) -> list:
    return jaxpr_as_fun(whole)(*args)


def _on_cpu(
    *args: Any,
    whole: ClosedJaxpr,
    chunked: Callable,
    states: int,
    length: int,
    row: int,
    axes: tuple,
) -> list:
    row *= math.prod(copies for _, copies in axes)
    size = max(FEWEST, CACHED // max(row, 1))
    if length * row < LARGE or length < 2 * size:
        return jaxpr_as_fun(whole)(*args)

    def f(*args: Any) -> list:
        return chunked(size, *args)

    for given, _ in axes:
        f = jax.vmap(f, given, _places(whole, states))
    return f(*args)


def _places(whole: ClosedJaxpr, states: int) -> list[int]:
    """Where a vmapped axis goes: first in a state, behind time in ys."""
    return [int(i >= states) for i in range(len(whole.out_avals))]


def _batched(
    axis: Any,
    args: tuple,
    dims: tuple,
    *,
    whole: ClosedJaxpr,
    states: int,
    axes: tuple,
    **params: Any,
) -> tuple[list, list]:
    # A key that nothing draws from must not batch anything.
    used = dce(whole)[1]
    rest = [
        a if use or dim is None else jax.lax.index_in_dim(a, 0, dim, keepdims=False)
        for a, dim, use in zip(args, dims, used, strict=True)
    ]
    axes_in = [dim if use else None for dim, use in zip(dims, used, strict=True)]
    if all(dim is None for dim in axes_in):
        outs = forward_p.bind(*rest, whole=whole, states=states, axes=axes, **params)
        return outs, [None] * len(outs)
    places = _places(whole, states)
    batched, _ = batching.batch_jaxpr_axes(whole, axis, axes_in, places)
    axes = (*axes, (tuple(axes_in), axis.size))
    outs = forward_p.bind(*rest, whole=batched, states=states, axes=axes, **params)
    return outs, places


forward_p = primitive("forward_only", multiple_results=True)
forward_p.def_abstract_eval(lambda *args, whole, **_: whole.out_avals)
lowered(forward_p, _whole, {"cpu": _on_cpu})
ad.primitive_jvps[forward_p] = derived_jvp(_whole)
batching.fancy_primitive_batchers[forward_p] = _batched
