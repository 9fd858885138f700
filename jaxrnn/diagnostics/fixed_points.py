"""Fixed and slow points of a driven network, and what it does around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.axes import batch_shape
from jaxrnn.diagnostics.record import Record
from jaxrnn.diagnostics.steps import packing, steps_of
from jaxrnn.diagnostics.walk import Given, checks, prepared
from jaxrnn.layer import Layer, Params, State

NOTHING = Given(None, None, None, None)


class FixedPoints(NamedTuple):
    """The M points that were found, the slowest flow first.

    `points`, states `[M, ...]`; `speeds [M]`, q at each; `fixed [M]`, whether it stands still, and
    is no slow point only. Of the step's Jacobian at each, with N numbers in a state:
    `eigenvalues [M, N]` and the eigenvectors `directions [M, N, N]`, of which `directions[m, :, i]`
    belongs to `eigenvalues[m, i]`, those of the slowest flow first: by |log |eigenvalue||, whose
    inverse is a time in steps. `stable [M]`: no eigenvalue reaches 1 in size. A direction has the
    numbers of the state, leaf after leaf as `jax.tree.leaves` orders them.
    """

    points: State
    speeds: np.ndarray
    fixed: np.ndarray
    eigenvalues: np.ndarray
    directions: np.ndarray
    stable: np.ndarray


def fixed_points(
    cell: Layer,
    params: Params,
    x: Any,
    candidates: Any,
    *,
    fixed: float = 1e-10,
    slow: float = 1e-5,
    apart: float = 1e-2,
    iterations: int = 200,
) -> FixedPoints:
    """Where the state of a network stands still, or nearly, under a constant input x.

        F(s) = the state after one step from s;   q(s) = 1/2 |F(s) - s|^2

    From every candidate q is minimised by Levenberg's and Marquardt's method, all of them side by
    side. A minimum below `fixed` is a fixed point, another below `slow` a slow point: the flow
    there is a ghost of a fixed point. The rest are dropped, and so is all but the slowest of the
    points that are not `apart`. Around a point the flow is that of its linear map, whose
    eigenvalues say whether it is stable, and along which directions it is slow.

    It gives as many points as there are, so it is no part of a jitted function. It holds a Jacobian
    `[N, N]` for each candidate.

    Args:
      cell: any causal cell or network; static.
      params: the params from `cell.init`.
      x: one step's input, without batch axes.
      candidates: states to begin with, a pytree like `cell.initial_state(params)` with any leading
        axes, or what `record` returned: the states of a run. States near those of a run, with
        noise, find points that it does not visit.
      fixed: the q of a fixed point, at most.
      slow: the q of a slow point, at most.
      apart: how far apart in one of their numbers two points are, at least.
      iterations: how many steps of the method are taken, at most.

    Returns:
      A `FixedPoints`, of NumPy arrays.

    Raises:
      TypeError: within `jit`, `vmap` or `grad`.
      TypeError, ValueError: for an input with batch axes, candidates that are no states of the
        network, limits that are no positive numbers; otherwise as `unroll`.

    Example:
      >>> cell = Elman(2)  # two units, each of which holds itself up or down
      >>> params = {"w_x": jnp.zeros((1, 2)), "w_h": 1.5 * jnp.eye(2), "b": jnp.zeros(2)}
      >>> tries = jax.random.normal(jax.random.key(0), (50, 2))
      >>> found = fixed_points(cell, params, jnp.zeros(1), tries)
      >>> len(found.speeds), int(found.stable.sum())
      (9, 4)

    Sussillo & Barak 2013; Golub & Sussillo 2018.
    """
    who = "fixed_points"
    for name, value in (("fixed", fixed), ("slow", slow), ("apart", apart)):
        errors.check_positive(who, name, value, "Leave it at its default.")
    iterations = errors.check_count(who, "iterations", iterations)
    errors.check_concrete(who, (params, x, candidates))
    errors.check_cell(cell, Layer)
    errors.check_inputs(cell, "x", x)
    errors.check_rank(cell, x, 0)
    if batch_shape(cell, x, 0):
        raise errors.one_input(cell, x)
    xs = jax.tree.map(lambda a: jnp.asarray(a)[None], x)
    with checks(cell, params, xs, NOTHING, False):
        params = prepared(cell, False, params, xs, NOTHING).params
        tries = _tries(cell, params, candidates)
        reached, speeds = _minimised(cell, iterations, params, xs, tries)
        kept = _distinct(np.asarray(reached), np.asarray(speeds), slow, apart)
        maps = [np.asarray(_jacobian(cell, params, xs, reached[i])) for i in kept]

    unpack = packing(cell.initial_state(params), 0)[1]
    points = jax.tree.map(np.asarray, unpack(reached[jnp.array(kept, int)]))
    size = reached.shape[1]
    values, vectors = np.linalg.eig(np.array(maps, np.float64).reshape(len(kept), size, size))
    with np.errstate(divide="ignore"):
        order = np.argsort(np.abs(np.log(np.abs(values))), axis=1)
    values = np.take_along_axis(values, order, 1).astype(complex)
    vectors = np.take_along_axis(vectors, order[:, None], 2).astype(complex)
    speeds, stable = np.asarray(speeds)[kept], np.all(np.abs(values) < 1, axis=1)
    return FixedPoints(points, speeds, speeds <= fixed, values, vectors, stable)


def _tries(cell: Any, params: Params, candidates: Any) -> Any:
    """The candidates packed, `[K, N]`."""
    need = cell.initial_state(params)

    def states(seen: Any) -> Any:
        if isinstance(seen, Record):
            return () if seen.states is None else seen.states
        return tuple(map(states, seen)) if type(seen) is tuple else seen

    candidates = states(candidates)
    errors.check_candidates(cell, candidates, need)
    rows = jax.tree.map(
        lambda a, s: jnp.asarray(a, s.dtype).reshape(-1, *s.shape), candidates, need
    )
    return packing(need, 0)[0](rows)


def _map(cell: Layer, params: Params, xs: Any) -> Callable[[jax.Array], jax.Array]:
    found = steps_of("fixed_points", cell, False, params, xs, NOTHING)
    now = jax.tree.map(lambda a: a[0], found.inputs)
    return lambda s: found.step(s, now)


@partial(jax.jit, static_argnums=0)
def _jacobian(cell: Layer, params: Params, xs: Any, point: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return jax.jacfwd(_map(cell, params, xs))(point)


@partial(jax.jit, static_argnums=(0, 1))
def _minimised(
    cell: Layer, iterations: int, params: Params, xs: Any, tries: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The points that are reached from the tries `[K, N]`, and q there.

    With r = F(s) - s and its Jacobian A a step is d = -(A'A + m I)^-1 A'r. It is taken where it
    lowers q, and then m becomes smaller, so that the steps turn into Newton's; else m grows.
    """
    f = _map(cell, params, xs)
    eps = float(jnp.finfo(tries.dtype).eps)

    def speed(s: jax.Array) -> jax.Array:
        return jnp.sum((f(s) - s) ** 2) / 2

    def step(s: jax.Array, damping: jax.Array, q: jax.Array) -> tuple[jax.Array, ...]:
        r, a = f(s) - s, jax.jacfwd(f)(s) - jnp.eye(s.size, dtype=s.dtype)
        scale = damping * jnp.maximum(jnp.mean(a * a) * s.size, eps)
        d = jnp.linalg.solve(a.T @ a + scale * jnp.eye(s.size, dtype=s.dtype), -(a.T @ r))
        after = speed(s + d)
        better = after < q  # not where it is NaN
        damping = jnp.where(better, jnp.maximum(damping / 5, eps), damping * 4)
        return jnp.where(better, s + d, s), damping, jnp.where(better, after, q)

    def body(carry: tuple) -> tuple:
        i, *points = carry
        return (i + 1, *jax.vmap(step)(*points))

    def going(carry: tuple) -> jax.Array:
        i, s, damping, q = carry
        still = jnp.sqrt(2 * q) <= eps * (1 + jnp.max(jnp.abs(s), axis=1))
        return (i < iterations) & jnp.any(~still & (damping < 1 / eps))

    with jax.default_matmul_precision("highest"):
        first = (jnp.int32(0), tries, jnp.full_like(tries[:, 0], 0.1), jax.vmap(speed)(tries))
        _, reached, _, speeds = jax.lax.while_loop(going, body, first)
    return reached, speeds


def _distinct(points: np.ndarray, speeds: np.ndarray, slow: float, apart: float) -> list[int]:
    """The slowest of every group of points, the slowest first."""
    kept: list[int] = []
    for i in np.argsort(speeds, kind="stable"):
        if speeds[i] <= slow and all(np.max(np.abs(points[i] - points[j])) > apart for j in kept):
            kept.append(int(i))
    return kept
