"""Effective memory: how far back a loss is moved by the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.axes import steps
from jaxrnn.diagnostics.gradients import gradient_norms, norm
from jaxrnn.layer import Layer, Params, State


def effective_memory(
    cell: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    at: Any = -1,
    fraction: float = 0.01,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> Any:
    """How many steps back the loss of one step is moved by a layer's state: the least lag from
    which on the influence stays under a fraction of what it is at lag 0.

        influence(k) = |dL_at / ds_{at - k}|        over all parts of the layer's state together
        memory = min k such that influence(j) < fraction * influence(0) for all j >= k

    Where it never falls so low, the memory is the number of lags that the sequence has: at least as
    long as it. It is 0 where nothing has an influence. Below a reader of both directions a state
    may matter to a loss before it; the lag is then the distance, and the larger influence of the
    two counts.

    Args:
      cell: any cell or network; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      loss: a pure function of the outputs to the loss of every step and row `[T, ...]`; static.
      at: the step whose loss is meant, counted from the end below zero.
      fraction: between 0 and 1.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid. A lag counts steps that are not, too.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first; a lag then leads forward in time.
      key: a PRNG key, for training mode.

    Returns:
      For a cell, whole numbers `[...]`, one for each row; for a composite, the tuple of its
      children's, None for a layer without a state or without a loop.

    Raises:
      TypeError, ValueError: for a fraction out of range; otherwise as `gradient_norms`.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> lag = effective_memory(cell, params, jnp.ones((50, 2, 3)), lambda ys: ys.sum(-1))
      >>> lag.shape
      (2,)
    """
    errors.check_fraction("effective_memory", fraction)
    settings = {"state": state, "mask": mask, "resets": resets, "reverse": reverse, "key": key}
    norms = gradient_norms(cell, params, xs, loss, at=at, **settings)
    at = errors.step_number("effective_memory", "at", at, steps(xs))
    return by_layer(cell, lambda leaves: _lag(jnp.stack(leaves), at, float(fraction)), norms)


def by_layer(cell: Any, f: Callable, tree: Any) -> Any:
    """A function of the leaves of each layer's part of a network's tree."""
    children = getattr(cell, "children", None)
    if children is None:
        leaves = jax.tree.leaves(tree)
        return f(leaves) if leaves else None
    return tuple(by_layer(c, f, t) for c, t in zip(children, tree, strict=True))


def _lag(norms: jax.Array, at: Any, fraction: float) -> jax.Array:
    """The memory of norms `[parts, T, ...]`."""
    influence = norm(norms, 0)
    length = influence.shape[0]
    lags = jnp.abs(jnp.arange(length) - at)
    heard = influence >= fraction * influence[at]
    heard &= influence > 0
    lags = lags.reshape(-1, *(1,) * (influence.ndim - 1))
    return jnp.max(jnp.where(heard, lags + 1, 0), axis=0)
