"""The influence of params on a state, J = ds/dparams of one row, and how a step carries it on.

    s_t = F(params, s_{t-1}, x_t)
    J_t = A_t J_{t-1} + B_t         A_t = dF/ds  [S, S],  B_t = dF/dparams  [S, *P] for a leaf P

A leaf of params is kept in one of three ways. "none": no step brings it into a state. "whole": J is
`[S, *P]`. "units": each of its numbers touches one unit u alone, in the M leaves of the state, so
that J is `[M, *P]`, and the sum over the state is one over the leaves of that unit:

    J_t[m, p] = sum over n of A_t[m u, n u] J_{t-1}[n, p] + B_t[m u, p]         u the unit of p

That is exact where A_t leads from no unit to another, and the approximation of SnAp-1 elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxrnn.online import units

Step = Callable[[Any, Any], Any]  # (params, state) -> state, of one row


class Pattern(NamedTuple):
    """How each leaf of params is kept, the shape of each leaf of the state, one number a unit (or
    () where they differ), and whether each unit's new state depends on that unit's old state alone.
    """

    leaves: tuple[str, ...]
    unit: tuple[int, ...]
    diagonal: bool


def pattern_of(
    step: Callable, params: Any, state: Any, rest: tuple, *, exact: bool, through: Any = None
) -> Pattern:
    """Read the pattern off `step(params, state, *rest) -> state`.

    Unless `exact`, a leaf is kept by units also where the state leads from unit to unit. `through`
    is a step whose dependence on the state is taken in the place of `step`'s.
    """
    jaxpr = jax.make_jaxpr(step)(params, state, *rest)
    other = jaxpr if through is None else jax.make_jaxpr(through)(params, state, *rest)
    leaves, parts = jax.tree.leaves(params), jax.tree.leaves(state)
    shapes = {part.shape for part in parts}
    unit = shapes.pop() if len(shapes) == 1 else ()
    own = np.arange(math.prod(unit)).reshape(unit)

    def stays(results: list[np.ndarray]) -> bool:
        return all(((r == units.NONE) | (r == own)).all() for r in results)

    places = range(len(leaves), len(leaves) + len(parts))
    diagonal = unit != () and stays(units.touched(other, places, [own] * len(parts)))

    def kind(place: int, leaf: Any) -> str:
        reached = units.touched(jaxpr, [place], [np.zeros(leaf.shape, np.int64)])
        if all((r == units.NONE).all() for r in reached):
            return "none"
        if unit and (diagonal or not exact):
            labels = units.labelled(leaf.shape, unit)
            if labels is not None and stays(units.touched(jaxpr, [place], [labels])):
                return "units"
        return "whole"

    return Pattern(tuple(kind(i, leaf) for i, leaf in enumerate(leaves)), unit, diagonal)


def alone(state: Any) -> list[Any]:
    """For each leaf of a state: ones in it, zeros in the others."""
    leaves, tree = jax.tree.flatten(state)
    return [
        tree.unflatten([jnp.full_like(a, float(i == n)) for i, a in enumerate(leaves)])
        for n in range(len(leaves))
    ]


def everyone(state: Any) -> Any:
    """All unit vectors of a state, one after another."""
    flat, unravel = ravel_pytree(state)
    return jax.vmap(unravel)(jnp.eye(flat.size, dtype=flat.dtype))


def stacked(trees: list[Any]) -> Any:
    """Trees side by side along a new first axis."""
    return jax.tree.map(lambda *a: jnp.stack(a), *trees)


def direct(pattern: Pattern, f: Callable[[Any], Any], params: Any) -> tuple[Any, list[Any]]:
    """A state `f(params)` and its derivative by the params, leaf by leaf as they are kept."""
    state, pull = jax.vjp(f, params)
    leaves = jax.tree.leaves(state)
    dtype = leaves[0].dtype if leaves else jnp.float32
    found = {}
    if "whole" in pattern.leaves:
        found["whole"] = jax.tree.leaves(jax.vmap(pull)(everyone(state)))
    if "units" in pattern.leaves:
        # Ones for all units at once: of each number of a leaf they add the derivatives of all
        # units, of which that of its own is the only one.
        found["units"] = jax.tree.leaves(jax.vmap(pull)(stacked(alone(state))))
    kept = [
        None if kind == "none" else found[kind][i].astype(dtype)
        for i, kind in enumerate(pattern.leaves)
    ]
    return state, kept


def carried(
    pattern: Pattern, step: Step, params: Any, state: Any, influence: list[Any], through: Step
) -> list[Any]:
    """The influence after a step, of one row; `through` is what A is the derivative of."""
    if all(kind == "none" for kind in pattern.leaves):
        return influence
    _, fresh = direct(pattern, lambda p: step(p, state), params)

    def push(tangent: Any) -> Any:
        return jax.jvp(lambda s: through(params, s), (state,), (tangent,))[1]

    if pattern.diagonal:  # ones again: each unit answers for itself
        full = None
        blocks = list(zip(*(jax.tree.leaves(push(ones)) for ones in alone(state)), strict=True))
    else:
        columns = jax.vmap(push)(everyone(state))
        full = jax.vmap(lambda tree: ravel_pytree(tree)[0], out_axes=1)(columns)  # [new, old]
        blocks = own_units(full, pattern.unit, len(jax.tree.leaves(state)))

    def moved(kind: str, old: jax.Array) -> jax.Array:
        if kind == "units":
            return mixed(blocks, by_gates(old, pattern.unit), by_unit).reshape(old.shape)
        if full is not None:
            return jnp.tensordot(full, old, 1)
        cut = old.reshape(len(blocks), *pattern.unit, *old.shape[1:])  # each unit by itself
        lead = (1,) * (old.ndim - 1)
        return mixed(blocks, cut, lambda a: a.reshape(*a.shape, *lead)).reshape(old.shape)

    return [
        None if kind == "none" else moved(kind, old) + new
        for kind, old, new in zip(pattern.leaves, influence, fresh, strict=True)
    ]


def mixed(blocks: Any, old: jax.Array, fit: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """`sum over n of blocks[m][n] old[n]`, for every leaf m."""
    rows = ([fit(block) * part for block, part in zip(row, old, strict=True)] for row in blocks)
    return jnp.stack([sum(row[1:], row[0]) for row in rows])


def own_units(full: jax.Array, unit: Any, count: int) -> Any:
    """The entries of A that lead from a unit to itself, `[new leaf][old leaf]`, each like a unit;
    none where a state has no units.
    """
    if not unit:
        return ()
    square = full.reshape(count, math.prod(unit), count, math.prod(unit))
    leaves = range(count)
    return [[jnp.diagonal(square[m, :, n]).reshape(unit) for n in leaves] for m in leaves]


def by_gates(a: jax.Array, unit: Any) -> jax.Array:
    """The last axis cut into gates and units."""
    return a.reshape(*a.shape[:-1], -1, unit[-1])


def by_unit(a: jax.Array) -> jax.Array:
    """A number for each unit, beside what `by_gates` cut."""
    return a[..., None, :]


def pulled(
    pattern: Pattern, signal: Any, influence: list[Any], params: Any, batch: tuple[int, ...]
) -> Any:
    """The gradient of a loss by the params from that by the state: `dl/ds J`, summed over rows."""
    rows, axes = math.prod(batch), len(batch)
    parts = [a.reshape(rows, *a.shape[axes:]) for a in jax.tree.leaves(signal)]
    leaves, tree = jax.tree.flatten(params)

    def one(kind: str, leaf: jax.Array, kept: Any) -> jax.Array:
        if kind == "none":
            return jnp.zeros_like(leaf)
        kept = kept.reshape(rows, *kept.shape[axes:])
        if kind == "whole":
            flat = jnp.concatenate([a.reshape(rows, -1) for a in parts], 1)
            return jnp.tensordot(flat, kept, 2).astype(leaf.dtype)
        kept = by_gates(kept, pattern.unit)  # [rows, M, *lead, *unit]
        lead = (1,) * (kept.ndim - 2 - len(parts[0].shape))
        terms = [
            by_unit(a.reshape(rows, *lead, *a.shape[1:])) * kept[:, m] for m, a in enumerate(parts)
        ]
        return jnp.sum(sum(terms[1:], terms[0]), 0).reshape(leaf.shape).astype(leaf.dtype)

    pairs = zip(pattern.leaves, leaves, influence, strict=True)
    return tree.unflatten([one(*pair) for pair in pairs])
