"""Lyapunov exponents: how fast small changes grow or vanish along a long run.

Tangent vectors, the columns of Q, are pushed through each step and made orthonormal again,

    J_t Q_{t-1} = Q_t R_t,     lambda_i = mean over t of log |R_t[i, i]|

so that the first column turns to the fastest direction, the second to the fastest one orthogonal
to it, and so on (Benettin et al. 1980; for recurrent networks Engelken, Wolf & Abbott 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrnn import errors
from jaxrnn.axes import steps
from jaxrnn.diagnostics.steps import Steps, steps_of
from jaxrnn.diagnostics.walk import Given, checks
from jaxrnn.layer import Layer, Params, State


def lyapunov_exponents(
    cell: Layer,
    params: Params,
    xs: Any,
    count: int,
    *,
    skip: int = 0,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> jax.Array:
    """The largest Lyapunov exponents of a driven network's state, in nats per step, largest first.

    A positive one is chaos; where all are far below zero, the network forgets within -1 / lambda
    steps. Steps under a false mask do not count. At a reset the tangent vectors go on from the
    initial state, so that the exponents are those of the pieces.

    Args:
      cell: any causal cell or network, whose state has N numbers a row; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`; the mean is over T.
      count: how many exponents, at most N; static.
      skip: how many steps are run first and do not count: until the state has settled and the
        vectors have turned. Static.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.

    Returns:
      `[..., count]`, the batch axes first; zero for a row without a step that counts.

    Raises:
      TypeError, ValueError: for a network that is not causal, a count above N, a `skip` that leaves
        no step; otherwise as `unroll`.

    Example:
      >>> cell = Elman(8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> lyapunov_exponents(cell, params, jnp.ones((100, 2, 3)), count=4, skip=50).shape
      (2, 4)

    Benettin, Galgani, Giorgilli & Strelcyn 1980; Engelken, Wolf & Abbott 2023.
    """
    who, given = "lyapunov_exponents", Given(state, mask, resets, key)
    count, skip = errors.check_count(who, "count", count), errors.check_count(who, "skip", skip, 0)
    with checks(cell, params, xs, given, reverse):
        errors.check_skip(who, skip, steps(xs))
        return _exponents(cell, reverse, count, skip, params, xs, given)


def lyapunov_exponents_of(
    f: Callable[[Any], Any], x: Any, steps: int, count: int, *, skip: int = 0
) -> jax.Array:
    """The largest Lyapunov exponents of any map `x -> f(x)`, in nats per step, largest first.

    Those of a flow are the exponents of its step, divided by the step's time.

    Args:
      f: a pure function of a pytree of floats to one like it; static.
      x: where the run begins.
      steps: over how many steps the mean is taken; static.
      count: how many exponents; static.
      skip: how many steps are run before and do not count; static.

    Returns:
      `[count]`.

    Raises:
      TypeError, ValueError: for an f that is no function or does not return what it was given, a
        count above the numbers in x.

    Example:
      >>> def henon(p):
      ...     return {"x": 1 - 1.4 * p["x"] ** 2 + p["y"], "y": 0.3 * p["x"]}
      >>> start = {"x": jnp.float32(0.1), "y": jnp.float32(0.1)}
      >>> exponents = lyapunov_exponents_of(henon, start, 5000, 2, skip=100)
      >>> bool(jnp.all(jnp.abs(exponents - jnp.array([0.42, -1.62])) < 0.02))
      True
    """
    who = "lyapunov_exponents_of"
    errors.check_map(who, f, x)
    steps, count = errors.check_count(who, "steps", steps), errors.check_count(who, "count", count)
    return _of_map(f, steps, count, errors.check_count(who, "skip", skip, 0), x)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _exponents(
    cell: Layer, reverse: bool, count: int, skip: int, params: Params, xs: Any, given: Given
) -> jax.Array:
    found = steps_of("lyapunov_exponents", cell, reverse, params, xs, given)
    counted = jnp.arange(steps(xs)) >= skip
    mask = found.inputs[1]
    if mask is not None:
        counted = counted.reshape(-1, *(1,) * (mask.ndim - 1)) & mask
    return benettin("lyapunov_exponents", found, counted, count)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _of_map(f: Callable, steps: int, count: int, skip: int, x: Any) -> jax.Array:
    flat, unpack = ravel_pytree(x)
    times = jnp.arange(skip + steps)
    found = Steps(lambda s, _: ravel_pytree(f(unpack(s)))[0], lambda s, _: s, times, flat)
    return benettin("lyapunov_exponents_of", found, times >= skip, count)


def benettin(who: str, found: Steps, counted: jax.Array, count: int) -> jax.Array:
    """The exponents over the steps that count."""
    state = found.state
    errors.check_most(who, count, state.shape[-1])
    shape = (*state.shape, count)
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), shape, state.dtype))[0]

    def body(carry: tuple, now: tuple) -> tuple[tuple, None]:
        (state, q, total), (inputs, counts) = carry, now

        def step(state: jax.Array) -> jax.Array:
            return found.step(state, inputs)

        state, push = jax.linearize(step, found.restart(state, inputs))
        q, r = jnp.linalg.qr(jax.vmap(push, -1, -1)(q))
        grown = jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))
        return (state, q, total + jnp.where(counts[..., None], grown, 0)), None

    total = jnp.zeros((*state.shape[:-1], count), state.dtype)
    (_, _, total), _ = jax.lax.scan(body, (state, q, total), (found.inputs, counted))
    times = jnp.maximum(jnp.sum(counted, axis=0, dtype=state.dtype), 1)
    return -jnp.sort(-total / times[..., None], axis=-1)
