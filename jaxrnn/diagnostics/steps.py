"""A whole network as a map of its state, step by step: what its Jacobians are taken of.

The state of a row is packed into one vector `[..., N]`, leaf after leaf in the order of
`jax.tree.leaves`. Rows do not depend on one another, so that one product of the batch's Jacobian
with vectors `[..., N]` is the product of each row's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.axes import batch_shape
from jaxrnn.composite import one_step
from jaxrnn.diagnostics.walk import Given, prepared
from jaxrnn.layer import Layer, Params


class Steps(NamedTuple):
    """A run in the order in which it takes its steps.

    `step(state, now)` is one step from a packed state, `restart(state, now)` the state that it sets
    out from: the initial one under a reset. `inputs` are the `now` of all steps, `[T, ...]`.
    """

    step: Callable
    restart: Callable
    inputs: Any
    state: jax.Array


def steps_of(who: str, cell: Layer, reverse: bool, params: Params, xs: Any, given: Given) -> Steps:
    """The steps of a causal network over a sequence."""
    if not cell.causal:
        raise errors.not_causal(cell, who)
    params, state, start, xs, run = prepared(cell, reverse, params, xs, given)
    batch = len(batch_shape(cell, xs, 1))
    pack, unpack = packing(state, batch)
    resets = controls.directed(run.mask, run.resets, reverse)
    inputs = (xs, run.mask, resets, run.times)
    if reverse:
        inputs = jax.tree.map(lambda a: a[::-1], inputs)

    def step(flat: jax.Array, now: tuple) -> jax.Array:
        x, mask, _, t = now
        new, _ = one_step(cell, params, unpack(flat), None, x, run.key, t, mask)
        return pack(new)

    def restart(flat: jax.Array, now: tuple) -> jax.Array:
        return flat if now[2] is None else controls.choose(now[2], pack(start), flat)

    return Steps(step, restart, inputs, pack(state))


def packing(state: Any, batch: int) -> tuple[Callable, Callable]:
    """The functions that pack states like this one, with as many batch axes, and unpack them."""
    leaves, tree = jax.tree.flatten(state)
    if not leaves:
        raise errors.nothing_carried()
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise errors.no_numbers(leaf)
    shapes = [leaf.shape[batch:] for leaf in leaves]
    sizes = [math.prod(shape) for shape in shapes]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]

    def pack(state: Any) -> jax.Array:
        parts = jax.tree.leaves(state)
        wide = jnp.result_type(*parts)
        flat = [
            a.reshape(*a.shape[: a.ndim - len(shape)], size).astype(wide)
            for a, shape, size in zip(parts, shapes, sizes, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)

    def unpack(flat: jax.Array) -> Any:
        parts = zip(jnp.split(flat, ends, axis=-1), shapes, leaves, strict=True)
        return jax.tree.unflatten(
            tree, [a.reshape(*flat.shape[:-1], *shape).astype(b.dtype) for a, shape, b in parts]
        )

    return pack, unpack
