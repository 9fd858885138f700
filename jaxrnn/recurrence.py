"""The loop over time and its derivative.

`jax.grad` of `lax.scan` carries the gradient of every recurrent weight, `[H, G*H]`, through the whole reverse loop: one small matmul and one
large addition a step; and it keeps all that the backward pass reads, a dozen arrays `[T, B, H]` for an LSTM. Here two loops are written out:

- The weights that a step uses through `dot` are held constant inside the loops, and the tangent of a weight is the product `x_t @ dW` for all
  steps at once, which JAX transposes into one matmul over T * B after the loop. Where a step only adds the product to z, the tangent of z carries it.
- The forward loop keeps the state before each step and the sums of z and the products, in the place of z; the backward loop computes the step
  again from these, which takes no matmul, and writes the gradient of z where the sums were.

As a `custom_jvp` it serves every mode of differentiation. Its price: `jvp` alone stores O(T) residuals.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxrnn.dot import Dot, Path, blocks, columns, lookup
from jaxrnn.loops import loop
from jaxrnn.products import held, matmul, wide
from jaxrnn.uses import Step, Sum, Term, Uses, paths, uses


class Recurrence(NamedTuple):
    """What is static about a recurrence."""

    step: Step
    length: int
    reverse: bool
    unroll: int


def recurrence(step: Step, params: Any, state: Any, zs: Any, length: int, reverse: bool = False, unroll: int = 1) -> tuple[Any, Any]:
    """`state_t = step(params, state_{t-1}, zs_t, dot)` for all t: the last state and all states `[T, ...]`.

    Reversed, t runs from T-1 to 0; `zs_t` and the states keep their places.
    """
    if length and uses(step, params, state, zs).inputs:
        return deferred(Recurrence(step, length, reverse, unroll), params, state, zs)

    def body(state: Any, z: Any) -> tuple[Any, Any]:
        state = step(params, state, z, Dot.plain(params))
        return state, state

    return jax.lax.scan(body, state, zs, length, reverse, unroll)


class Saved(NamedTuple):
    """What the derivative needs of every step."""

    before: list  # the leaves of the state before it
    zs: list  # the leaves of its z, their sums in place
    results: list  # the sums of products that no z is part of
    inputs: list  # what each call of `dot` was given


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def deferred(static: Recurrence, params: Any, state: Any, zs: Any) -> tuple[Any, Any]:
    last, states, _ = forward(static, None, params, state, zs)
    return last, states


def forward(static: Recurrence, found: Uses | None, *args: Any) -> tuple[Any, Any, Saved | None]:
    """The last state, all states, and for a derivative what it needs."""
    leaves, tree = flatten(args)

    def body(consts: list, carry: list, x: list) -> tuple[list, list]:
        params, state, z = _whole(tree, (consts, carry, x))
        terms: list[jax.Array] = []
        inputs: list[jax.Array] = []

        def product(x: jax.Array, path: Path, cuts: tuple[int, ...]) -> tuple[jax.Array, ...]:
            inputs.append(x)
            parts = blocks(matmul(x, lookup(params, path)), cuts)
            terms.extend(parts)
            return parts

        def plus(z: jax.Array, path: Path, start: int) -> jax.Array:
            terms.append(columns(params, path, start, z))
            return z + terms[-1]

        new = tree[1].flatten_up_to(static.step(params, state, z, Dot(product, plus)))
        if found is None:
            return new, new
        sums = [_sum([] if s.z is None else [x[s.z]], [terms[k] for k in s.terms]) for s in found.sums]
        fresh = [x for x, leaf in zip(inputs, found.inputs, strict=True) if leaf is None]
        return new, [*new, *carry, *sums, *fresh]

    n = len(leaves[1])
    reuse = [] if found is None else [(s.z, 2 * n + j) for j, s in enumerate(found.sums) if s.z is not None]
    last, ys = loop(body, leaves[0], leaves[1], leaves[2], static.length, static.reverse, static.unroll, reuse)
    states = tree[1].unflatten(ys[:n])
    if found is None:
        return tree[1].unflatten(last), states, None
    before, sums, fresh = ys[n : 2 * n], ys[2 * n : 2 * n + len(found.sums)], iter(ys[2 * n + len(found.sums) :])
    zs = list(leaves[2])
    for s, value in zip(found.sums, sums, strict=True):
        if s.z is not None:
            zs[s.z] = value
    results = [value for s, value in zip(found.sums, sums, strict=True) if s.z is None]
    inputs = [next(fresh) if i is None else before[i] for i in found.inputs]
    return tree[1].unflatten(last), states, Saved(before, zs, results, inputs)


@partial(deferred.defjvp, symbolic_zeros=True)
def deferred_jvp(static: Recurrence, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    found = uses(static.step, *primals)
    last, states, saved = forward(static, found, *primals)
    assert saved is not None
    leaves, tree = flatten(primals)
    dparams, dstate, dzs = (jax.tree.leaves(t, is_leaf=_is_zero) for t in tangents)
    moving = {path for path, d in zip(paths(primals[0]), dparams, strict=True) if not _is_zero(d)}

    def along(s: Sum) -> Any:
        """The tangent of a sum of terms for all steps at once, or None."""
        parts = [along_term(found.terms[k]) for k in s.terms if found.terms[k].path in moving]
        spec = found.terms[s.terms[0]].shape
        return jnp.broadcast_to(_sum([], parts), (static.length, *spec.shape)) if parts else None

    def along_term(term: Term) -> jax.Array:
        d = lookup(tangents[0], term.path)
        d = d if (term.start, term.stop) == (0, d.shape[-1]) else d[..., term.start : term.stop]
        return d.astype(term.shape.dtype) if term.call is None else matmul(saved.inputs[term.call], d)

    extra = {s.z: along(s) for s in found.sums if s.z is not None}
    given = {i: _sum([], [d for d in (None if _is_zero(d) else d, extra.get(i)) if d is not None] or [None]) for i, d in enumerate(dzs)}
    dzs = {i: d for i, d in given.items() if d is not None}
    heads = [s for s in found.sums if s.z is None]
    dresults = {j: d for j, d in enumerate(map(along, heads)) if d is not None}
    direct = {i: dparams[i] for i in sorted(found.direct) if not _is_zero(dparams[i])}
    floats = [i for i, a in enumerate(leaves[1]) if jnp.issubdtype(a.dtype, jnp.floating)]
    replay = partial(replayed, static, found, tree, (list(direct), floats, list(dzs), list(dresults)))

    turned = [lookup(primals[0], path).T.astype(wide(lookup(primals[0], path).dtype)) for path in found.calls]
    consts = [[*leaves[0], *turned], list(direct.values())]
    carry = [jnp.zeros_like(leaves[1][i]) if _is_zero(dstate[i]) else dstate[i] for i in floats]
    xs = [[*saved.before, *saved.zs, *saved.results], [*dzs.values(), *dresults.values()]]

    def body(consts_: list, carry: list, x: list) -> tuple[list, list]:
        fixed, dparams = consts_[: len(consts[0])], consts_[len(consts[0]) :]
        made = replay(fixed, x[: len(xs[0])], dparams, carry, x[len(xs[0]) :])
        return made, made

    flags = [[False] * len(consts[0]) + [True] * len(consts[1]), [True] * len(carry), [False] * len(xs[0]) + [True] * len(xs[1])]
    reuse = [(len(saved.before) + i, len(xs[0]) + j) for j, i in enumerate(dzs) if i in extra]
    reuse += [(len(saved.before) + len(saved.zs) + i, len(xs[0]) + len(dzs) + j) for j, i in enumerate(dresults)]
    made = loop(body, [*chain(*consts)], carry, [*chain(*xs)], static.length, static.reverse, static.unroll, reuse, flags)
    return (last, states), tuple(_tangent(like, floats, d) for like, d in zip((last, states), made, strict=True))


def replayed(static: Recurrence, found: Uses, tree: list, varied: tuple, fixed: list, x: list, *tangents: Any) -> list:
    """The tangents of the new state, of a step computed again from what was saved.

    `fixed` are the params and the turned weights, x is a row of what `Saved` holds, `varied` says which leaves of params, state, z and results
    move, and `tangents` are their tangents, those of z and results in one list.
    """
    params, turned = fixed[: tree[0].num_leaves], fixed[tree[0].num_leaves :]
    ends = tree[1].num_leaves, tree[1].num_leaves + tree[2].num_leaves
    known = params, x[: ends[0]], x[ends[0] : ends[1]], x[ends[1] :]
    heads = {s.terms[0]: j for j, s in enumerate(s for s in found.sums if s.z is None)}
    taken = {k for s in found.sums for k in s.terms}

    def step(*moving: list) -> list:
        values = [list(group) for group in known]
        for group, places, new in zip(values, varied, moving, strict=True):
            for i, value in zip(places, new, strict=True):
                group[i] = value
        count, calls = iter(range(len(found.terms))), iter(turned)
        whole, results = tree[0].unflatten(params), values[3]

        def product(x: jax.Array, path: Path, cuts: tuple[int, ...]) -> tuple[jax.Array, ...]:
            terms = [next(count) for _ in range(len(cuts) + 1)]
            ys = [results[heads[k]] if k in heads else jnp.zeros(found.terms[k].shape.shape, found.terms[k].shape.dtype) for k in terms]
            return remembered(x, lookup(whole, path), next(calls), *ys)

        def plus(z: jax.Array, path: Path, start: int) -> jax.Array:
            return z if next(count) in taken else z + columns(tree[0].unflatten(values[0]), path, start, z)

        params_, state_, z_ = _whole(tree, values[:3])
        new = static.step(params_, state_, z_, Dot(product, plus))
        return [leaf for i, leaf in enumerate(tree[1].flatten_up_to(new)) if i in varied[1]]

    dparams, dstate, rest = tangents
    primals = [[group[i] for i in places] for group, places in zip(known, varied, strict=True)]
    return jax.jvp(step, primals, [dparams, dstate, rest[: len(varied[2])], rest[len(varied[2]) :]])[1]


@jax.custom_jvp
def remembered(x: jax.Array, w: jax.Array, turned: jax.Array, *ys: jax.Array) -> tuple[jax.Array, ...]:
    """The blocks `ys`; their tangents are their own and those of `x @ w`, w held constant."""
    return ys


@partial(remembered.defjvp, symbolic_zeros=True)
def remembered_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (_, w, turned, *ys), (dx, _, _, *dys) = primals, tangents
    cuts = tuple(np.cumsum([y.shape[-1] for y in ys[:-1]]))
    moved = [None] * len(ys) if _is_zero(dx) else blocks(held(dx, w, turned), cuts)
    parts = [[d for d in (a, None if _is_zero(b) else b) if d is not None] for a, b in zip(moved, dys, strict=True)]
    return tuple(ys), tuple(_sum([], p) if p else jnp.zeros_like(y) for y, p in zip(ys, parts, strict=True))


def _sum(first: list, rest: list) -> Any:
    total, *rest = [*first, *rest]
    for a in rest:
        total = total + a
    return total


def flatten(trees: Iterable) -> tuple[list, list]:
    """The leaves of each, and the structure of each."""
    both = [jax.tree.flatten(tree) for tree in trees]
    return [leaves for leaves, _ in both], [tree for _, tree in both]


def _whole(trees: Iterable, leaves: Iterable) -> list:
    return [tree.unflatten(group) for tree, group in zip(trees, leaves, strict=False)]


def _is_zero(d: Any) -> bool:
    return isinstance(d, SymbolicZero)


def _tangent(like: Any, floats: list[int], made: list) -> Any:
    """The tangents of all leaves; what is not floating has one of dtype float0."""
    leaves, tree = jax.tree.flatten(like)
    given = iter(made)
    return tree.unflatten([next(given) if i in floats else np.zeros(a.shape, jax.dtypes.float0) for i, a in enumerate(leaves)])
