"""The loop over time and its derivative.

`jax.grad` of `lax.scan` carries the gradient of every recurrent weight, `[H, G*H]`, through the whole reverse loop: one small
matmul and one large addition a step. Here the weights that a step uses through `dot` are held constant inside the loop and a
perturbation is added to each product instead; the tangent of a weight is then the perturbation `x_t @ dW` for all steps at
once, and JAX transposes that into one matmul over T * B after the loop. As a `custom_jvp` it serves every mode of
differentiation. Its price: `jvp` alone stores O(T) residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxrnn.products import held, matmul, wide

Path = tuple


def lookup(params: Any, path: Path) -> jax.Array:
    for key in path:
        params = params[key]
    return params


class Dot:
    """The recurrent matmul a step is handed: `dot(x, "w_h")` is `x @ params["w_h"]`, and `dot["cell"](x, "w_h")` is
    `x @ params["cell"]["w_h"]`, for a cell wrapped in another. Call it in the step itself, not in a loop inside it."""

    def __init__(self, product: Callable[[jax.Array, Path], jax.Array], path: Path = ()):
        self.product, self.path = product, path

    def __call__(self, x: jax.Array, name: Any) -> jax.Array:
        return self.product(x, (*self.path, name))

    def __getitem__(self, key: Any) -> Dot:
        return Dot(self.product, (*self.path, key))

    @classmethod
    def plain(cls, params: Any) -> Dot:
        """Products alone, for a step outside the loop."""
        return cls(lambda x, path: matmul(x, lookup(params, path)))


Step = Callable[[Any, Any, Any, Dot], Any]  # step(params, state, z, dot) -> state


class Loop(NamedTuple):
    """What is static about a loop."""

    step: Step
    length: int
    reverse: bool
    unroll: int


def recurrence(step: Step, params: Any, state: Any, zs: Any, length: int, reverse: bool = False, unroll: int = 1) -> tuple[Any, Any]:
    """`state_t = step(params, state_{t-1}, zs_t, dot)` for all t: the last state and all states `[T, ...]`.

    Reversed, t runs from T-1 to 0; `zs_t` and the states keep their places.
    """
    loop = Loop(step, length, reverse, unroll)
    if length == 0 or not uses(loop, params, state, zs).calls:
        return scan(loop, params, state, zs)
    return deferred(loop, params, state, zs)


def scan(loop: Loop, params: Any, state: Any, zs: Any) -> tuple[Any, Any]:
    def body(state: Any, z: Any) -> tuple[Any, Any]:
        state = loop.step(params, state, z, Dot.plain(params))
        return state, state

    return jax.lax.scan(body, state, zs, loop.length, loop.reverse, loop.unroll)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def deferred(loop: Loop, params: Any, state: Any, zs: Any) -> tuple[Any, Any]:
    return scan(loop, params, state, zs)


@partial(deferred.defjvp, symbolic_zeros=True)
def deferred_jvp(loop: Loop, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    leaves, tree = jax.tree.flatten(primals)
    dleaves = jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
    moves = [not isinstance(d, SymbolicZero) for d in dleaves]
    params = primals[0]
    places = {tuple(_key(k) for k in path): i for i, (path, _) in enumerate(jax.tree_util.tree_flatten_with_path(params)[0])}
    found = uses(loop, *primals)

    # A product needs no perturbation of its own where it is only ever added to a z: the tangent of that z carries it.
    deferred = [k for k, path in enumerate(found.calls) if moves[places[path]]]
    carried = {k: found.sums[k] for k in deferred if k in found.sums}
    alone = [k for k in deferred if k not in carried]
    only_dotted = {places[path] for path in found.calls} - found.direct
    varied = [i for i in range(len(leaves)) if (moves[i] and i not in only_dotted) or i in carried.values()]

    turned = {path: lookup(params, path).T.astype(wide(lookup(params, path).dtype)) for path in found.calls}

    def run(values: list, perturbations: list) -> tuple[tuple[Any, Any], list]:
        merged = list(leaves)
        for i, value in zip(varied, values, strict=True):
            merged[i] = value
        params_, state, zs = jax.tree.unflatten(tree, merged)

        def body(state: Any, inputs: tuple) -> tuple[Any, Any]:
            z, p = inputs
            seen: list[jax.Array] = []

            def product(x: jax.Array, path: Path) -> jax.Array:
                k = len(seen)
                seen.append(x)
                y = held(x, lookup(params, path), turned[path])
                return y + p[alone.index(k)] if k in alone else y

            state = loop.step(params_, state, z, Dot(product))
            return state, (state, [seen[k] for k in deferred])

        last, (states, inputs) = jax.lax.scan(body, state, (zs, perturbations), loop.length, loop.reverse, loop.unroll)
        return (last, states), inputs

    zero = [jnp.zeros((loop.length, *found.shapes[k].shape), found.shapes[k].dtype) for k in alone]
    values = [leaves[i] for i in varied]
    (out, inputs), tangent = jax.linearize(run, values, zero)
    products = {k: matmul(x, dleaves[places[found.calls[k]]]) for k, x in zip(deferred, inputs, strict=True)}
    extra = {i: products[k] for k, i in carried.items()}
    dvalues = [d if i not in extra else extra[i] if not moves[i] else d + extra[i] for i, d in zip(varied, (dleaves[i] for i in varied), strict=True)]
    return out, tangent(dvalues, [products[k] for k in alone])[0]


class Uses(NamedTuple):
    """How a step uses its arguments, read off its jaxpr."""

    calls: list[Path]  # the weight of each dot, in the order of the calls
    shapes: list[jax.ShapeDtypeStruct]  # the result of each dot
    direct: set[int]  # leaves of params that the step uses otherwise than through dot
    sums: dict[int, int]  # dot -> the leaf of (params, state, zs) that is z, where the step uses only their sum


def uses(loop: Loop, params: Any, state: Any, zs: Any) -> Uses:
    z = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), zs)
    calls: list[Path] = []

    def probe(params: Any, weights: Any, state: Any, z: Any) -> tuple[list[jax.Array], Any]:
        results: list[jax.Array] = []
        calls.clear()

        def product(x: jax.Array, path: Path) -> jax.Array:
            calls.append(path)
            results.append(matmul(x, lookup(weights, path)))
            return results[-1]

        state = loop.step(params, state, z, Dot(product))
        return results, state

    jaxpr = jax.make_jaxpr(probe)(params, params, state, z).jaxpr
    n, m = len(jax.tree.leaves(params)), len(jax.tree.leaves(state))
    count = len(calls)
    results, outputs = jaxpr.outvars[:count], jaxpr.outvars[count:]
    readers: dict[Any, list[Any]] = {}
    live = {v for v in outputs if not _literal(v)}
    for eqn in reversed(jaxpr.eqns):
        if not any(v in live for v in eqn.outvars):
            continue
        for v in eqn.invars:
            if not _literal(v):
                live.add(v)
                readers.setdefault(v, []).append(eqn)
    for v in outputs:
        if not _literal(v):
            readers.setdefault(v, []).append(None)
    direct = {i for i, v in enumerate(jaxpr.invars[:n]) if v in live}
    inputs = {v: n + m + j for j, v in enumerate(jaxpr.invars[2 * n + m :])}
    sums = {}
    for k, v in enumerate(results):
        match readers.get(v, []):
            case [eqn] if eqn is not None and eqn.primitive.name == "add":
                a, b = eqn.invars
                other = b if a is v else a
                if not _literal(other) and other in inputs and other.aval.shape == v.aval.shape and readers[other] == [eqn]:
                    sums[k] = inputs[other]
    return Uses(list(calls), [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in results], direct, sums)


def _literal(v: Any) -> bool:
    return isinstance(v, jax.extend.core.Literal)


def _key(entry: Any) -> Any:
    return getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", None)))
