"""Jacobians of a network's state over steps, and their singular values by products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.axes import steps
from jaxrnn.diagnostics.steps import Steps, steps_of
from jaxrnn.diagnostics.walk import Given, checks
from jaxrnn.layer import Layer, Params, State


def singular_values(
    cell: Layer,
    params: Params,
    xs: Any,
    *,
    lag: int = 1,
    at: Any = None,
    count: int | None = None,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> jax.Array:
    """How a run stretches small changes of its state over `lag` steps.

    These are the singular values of

        J = ds_{t + lag} / ds_t = J_{t + lag} ... J_{t + 1}

    for the whole state of a cell or a network, row by row, largest first. Above one a change grows,
    below one it vanishes, and so does a gradient on its way back.

    With a `count`, J is never made: Lanczos' method, with every vector kept orthogonal to all
    before, multiplies it and its transpose with 2 count + 32 vectors, and the largest singular
    values of J on what they span are those of J, nearly: from below, and exactly where N is no
    larger. Without, J is made (see `jacobian`).

    Args:
      cell: any causal cell or network, whose state has N numbers a row; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      lag: how many steps lie between the two states; static.
      at: t, the step whose state is changed, counted from the end below zero; None for the state
        before the first step (reversed: the last).
      count: how many singular values; None for all N. Static.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: a step under false changes nothing, J_t = 1.
      resets: as in `unroll`: a reset forgets, J_t = 0.
      reverse: run from the last step to the first; `lag` counts backward in time.
      key: a PRNG key, for training mode.

    Returns:
      `[..., count]`, the batch axes first.

    Raises:
      TypeError, ValueError: for a network that is not causal, a lag that does not fit into the
        sequence, a count above N; otherwise as `unroll`.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> singular_values(cell, params, jnp.ones((20, 2, 3)), lag=10, count=3).shape
      (2, 3)

    Saxe, McClelland & Ganguli 2014; Pennington, Schoenholz & Ganguli 2017; the method: Golub &
    Kahan 1965.
    """
    who, given = "singular_values", Given(state, mask, resets, key)
    if count is not None:
        count = errors.check_count(who, "count", count)
    with checks(cell, params, xs, given, reverse):
        lag, at = _place(who, lag, at, steps(xs), reverse)
        return _singular(cell, reverse, lag, count, params, xs, given, at)


def jacobian(
    cell: Layer,
    params: Params,
    xs: Any,
    *,
    lag: int = 1,
    at: Any = None,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> jax.Array:
    """The Jacobian whose singular values `singular_values` gives, `[..., N, N]`: the new state's
    numbers, then the old's, leaf after leaf as `jax.tree.leaves` orders them.

    It costs N products with vectors, side by side.

    Args:
      cell: any causal cell or network; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      lag: how many steps lie between the two states; static.
      at: the step whose state is changed; None for the state before the first step.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.

    Raises:
      TypeError, ValueError: as `singular_values`.

    Example:
      >>> cell = LSTM(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> jacobian(cell, params, jnp.ones((20, 2, 3)), at=5).shape  # h and c: 8 numbers
      (2, 8, 8)
    """
    given = Given(state, mask, resets, key)
    with checks(cell, params, xs, given, reverse):
        lag, at = _place("jacobian", lag, at, steps(xs), reverse)
        return _jacobian(cell, reverse, lag, params, xs, given, at)


def _place(who: str, lag: Any, at: Any, length: int, reverse: bool) -> tuple[int, Any]:
    """The lag, and how many steps are run before it."""
    lag = errors.check_count(who, "lag", lag)
    if at is not None:
        at = errors.step_number(who, "at", at, length)
        at = length - at if reverse else at + 1
    errors.check_lag(who, lag, 0 if at is None else at, length)
    return lag, 0 if at is None else at


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _singular(
    cell: Layer,
    reverse: bool,
    lag: int,
    count: int | None,
    params: Params,
    xs: Any,
    given: Given,
    first: Any,
) -> jax.Array:
    found = steps_of("singular_values", cell, reverse, params, xs, given)
    state, push = _pushed(found, lag, first)
    if count is None:
        return jnp.linalg.svd(_columns(push, state), compute_uv=False)
    errors.check_most("singular_values", count, state.shape[-1])
    return largest(push, state, count)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _jacobian(
    cell: Layer, reverse: bool, lag: int, params: Params, xs: Any, given: Given, first: Any
) -> jax.Array:
    state, push = _pushed(steps_of("jacobian", cell, reverse, params, xs, given), lag, first)
    return _columns(push, state)


def _pushed(found: Steps, lag: int, first: Any) -> tuple[jax.Array, Callable]:
    """The state after the `first` steps, and the product of a vector there with the Jacobian of
    the `lag` steps that follow.
    """

    def one(state: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
        new = found.step(found.restart(state, now), now)
        return new, new

    states = jax.lax.scan(one, found.state, found.inputs)[1]
    state = jnp.concatenate([found.state[None], states])[first]
    window = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, lag), found.inputs)
    return state, jax.linearize(lambda s: jax.lax.scan(one, s, window)[0], state)[1]


def _columns(push: Callable, state: jax.Array) -> jax.Array:
    size = state.shape[-1]
    unit = jnp.eye(size, dtype=state.dtype)
    columns = jax.vmap(lambda e: push(jnp.broadcast_to(e, state.shape)))(unit)
    return jnp.moveaxis(columns, 0, -1)


def largest(push: Callable, state: jax.Array, count: int) -> jax.Array:
    """The largest singular values `[..., count]` of a linear map of `[..., N]`, row by row.

    The vectors v_1, J'J v_1, ... are made orthonormal one by one, each against all before, twice.
    Where the next lies in what they span (J is the identity, say), a random one takes its place.
    The result is the singular values of J restricted to their span.
    """
    pull = jax.linear_transpose(push, state)
    size = state.shape[-1]
    tries = min(size, 2 * count + 32)
    random = jax.random.normal(jax.random.key(0), (tries, *state.shape), state.dtype)

    def apart(v: jax.Array, basis: jax.Array) -> jax.Array:
        parts = jnp.einsum("i...n,...n->i...", basis, v)
        return v - jnp.einsum("i...,i...n->...n", parts, basis)

    def body(carry: tuple, now: tuple) -> tuple[tuple, jax.Array]:
        (v, basis), (i, spare) = carry, now
        basis = basis.at[i].set(v)
        image = push(v)
        following = apart(_unit(apart(_unit(pull(_unit(image))[0]), basis)), basis)
        # What is left of a vector of the span is rounding, which the second time finds there again.
        lost = jnp.sum(following**2, -1, keepdims=True) < 0.5
        spare = apart(_unit(apart(spare, basis)), basis)
        return (_unit(jnp.where(lost, spare, following)), basis), image

    basis = jnp.zeros_like(random)
    first = _unit(random[0])
    with jax.default_matmul_precision("highest"):
        images = jax.lax.scan(body, (first, basis), (jnp.arange(tries), random))[1]
    return jnp.linalg.svd(jnp.moveaxis(images, 0, -1), compute_uv=False)[..., :count]


def _unit(v: jax.Array) -> jax.Array:
    """A vector of length one in the same direction; of nothing, nothing."""
    scale = jnp.max(jnp.abs(v), axis=-1, keepdims=True)  # so that no square is too small or large
    v = v / jnp.where(scale > 0, scale, 1)
    length = jnp.sqrt(jnp.sum(v * v, axis=-1, keepdims=True))
    return v / jnp.where(length > 0, length, 1)
