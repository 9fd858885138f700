"""How a step uses its params, state and z, read off its jaxpr: what a derivative of the loop has to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp

from jaxrnn.dot import Dot, Path, blocks, columns, lookup
from jaxrnn.products import matmul

Step = Callable[[Any, Any, Any, Dot], Any]  # step(params, state, z, dot) -> state


class Term(NamedTuple):
    """One block of a product, or a bias that the step adds: columns `start` to `stop` of the params at `path`."""

    path: Path
    start: int
    stop: int
    call: int | None  # which call of `dot` it is a block of; None for a bias
    shape: jax.ShapeDtypeStruct


class Sum(NamedTuple):
    """Terms that the step only ever uses in this sum, in this order: with z, or with the first of them."""

    z: int | None  # the leaf of z
    terms: tuple[int, ...]


class Uses(NamedTuple):
    terms: list[Term]
    sums: list[Sum]  # every block of a product is in one
    inputs: list[int | None]  # the leaf of the state that each call of `dot` is given, if it is one
    direct: set[int]  # leaves of params that the step uses otherwise

    @property
    def calls(self) -> list[Path]:
        """The weight of each call of `dot`."""
        count = len(self.inputs)
        return [next(t.path for t in self.terms if t.call == c) for c in range(count)]


def uses(step: Step, params: Any, state: Any, zs: Any) -> Uses:
    z = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), zs)
    terms: list[Term] = []
    inputs: list[int | None] = []

    def probe(params: Any, weights: Any, state: Any, z: Any) -> tuple[list[jax.Array], Any]:
        results: list[jax.Array] = []
        terms.clear()
        inputs.clear()

        def found(y: jax.Array, path: Path, start: int, call: int | None) -> jax.Array:
            terms.append(Term(path, start, start + y.shape[-1], call, jax.ShapeDtypeStruct(y.shape, y.dtype)))
            results.append(y)
            return y

        def product(x: jax.Array, path: Path, cuts: tuple[int, ...]) -> tuple[jax.Array, ...]:
            inputs.append(next((i for i, leaf in enumerate(jax.tree.leaves(state)) if leaf is x), None))
            parts = blocks(matmul(x, lookup(weights, path)), cuts)
            return tuple(found(y, path, start, len(inputs) - 1) for y, start in zip(parts, (0, *cuts), strict=True))

        def plus(z: jax.Array, path: Path, start: int) -> jax.Array:
            return z + found(jnp.broadcast_to(columns(weights, path, start, z), z.shape), path, start, None)

        new = step(params, state, z, Dot(product, plus))
        return results, new

    jaxpr = jax.make_jaxpr(probe)(params, params, state, z).jaxpr
    results, outputs = jaxpr.outvars[: len(terms)], jaxpr.outvars[len(terms) :]
    live, readers = {v for v in outputs if not _literal(v)}, {}
    for v in outputs:
        if not _literal(v):
            readers.setdefault(v, []).append(None)
    for eqn in reversed(jaxpr.eqns):
        if any(v in live for v in eqn.outvars):
            for v in eqn.invars:
                if not _literal(v):
                    live.add(v)
                    readers.setdefault(v, []).append(eqn)

    n, m = len(jax.tree.leaves(params)), len(jax.tree.leaves(state))
    places = {v: k for k, v in enumerate(results)}

    def chain(v: Any) -> list[int]:
        """The terms added to v one after the other, nothing else being done with the sums on the way."""
        found: list[int] = []
        while True:
            match readers.get(v):
                case [eqn] if eqn is not None and eqn.primitive.name == "add":
                    a, b = eqn.invars
                    other = b if a is v else a
                    if _literal(other) or other not in places or readers[other] != [eqn] or other.aval.shape != v.aval.shape:
                        return found
                    found.append(places[other])
                    v = eqn.outvars[0]
                case _:
                    return found

    sums = [Sum(i, tuple(ks)) for i, v in enumerate(jaxpr.invars[2 * n + m :]) if (ks := chain(v))]
    taken = {k for s in sums for k in s.terms}
    for k, term in enumerate(terms):
        if k not in taken and term.call is not None:
            sums.append(Sum(None, (k, *chain(results[k]))))
            taken.update(sums[-1].terms)
    leaves = {path: i for i, path in enumerate(paths(params))}
    direct = {i for i, v in enumerate(jaxpr.invars[:n]) if v in live}
    return Uses(list(terms), sums, list(inputs), direct | {leaves[t.path] for k, t in enumerate(terms) if k not in taken})


def paths(params: Any) -> list[Path]:
    """Where each leaf of params is."""
    return [tuple(_key(k) for k in path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]


def _literal(v: Any) -> bool:
    return isinstance(v, jax.extend.core.Literal)


def _key(entry: Any) -> Any:
    return getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", None)))
