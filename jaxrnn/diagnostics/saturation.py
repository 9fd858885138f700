"""How far the gates of a run are open: histograms over time, and the shares at both ends."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.diagnostics.record import Record


class Saturation(NamedTuple):
    """What one gate did at each step, over all rows and units.

    `shares [T, bins]` of its values between `edges [bins + 1]`; `low` and `high` `[T]`, the shares
    near the lower and the upper end of its range.
    """

    shares: jax.Array
    edges: jax.Array
    low: jax.Array
    high: jax.Array


def saturation(seen: Any, *, bins: int = 20, near: float = 0.05, mask: Any = None) -> Any:
    """The values of every gate as histograms over time, and how many are near 0 and near 1.

    A gate that stays near an end of its range passes almost no gradient to its weights. The range
    is from 0 to 1, and from -1 for a gate that is below 0 anywhere (a candidate after tanh). What
    lies beyond counts at the end.

    Args:
      seen: what `record` returned, for a cell or a network, or the gates of one `Record`.
      bins: how many bins the range has; static.
      near: which part of the range at each of its ends is near it, between 0 and 1/2.
      mask: booleans `[T, ...]`, as the run's: steps under false are left out.

    Returns:
      A `Saturation` for each gate: the gates' NamedTuple of them for a cell, None for a cell
      without gates, and the tuple of its children's for a composite.

    Raises:
      TypeError, ValueError: for what `record` does not return, a wrong number of bins, a `near` out
        of range, a mask of another shape.

    Example:
      >>> cell = LSTM(8)
      >>> seen = rnn.diagnostics.record(cell, cell.init(jax.random.key(0), 3), jnp.ones((5, 2, 3)))
      >>> shown = saturation(seen, bins=10)
      >>> shown.f.shares.shape, shown.g.edges[0].item()
      ((5, 10), -1.0)

    Karpathy, Johnson & Fei-Fei 2015.
    """
    bins = errors.check_count("saturation", "bins", bins)
    errors.check_fraction("saturation", near, "near", 0.5)
    return _saturation(bins, seen, float(near), mask)


@partial(jax.jit, static_argnums=0)
def _saturation(bins: int, seen: Any, near: Any, mask: Any) -> Any:
    if isinstance(seen, Record):
        return None if seen.gates is None else _saturation(bins, seen.gates, near, mask)
    if type(seen) is tuple:
        return tuple(_saturation(bins, part, near, mask) for part in seen)
    errors.check_gates(seen, mask)
    return jax.tree.map(lambda gate: _of_gate(bins, gate, near, mask), seen)


def _of_gate(bins: int, gate: jax.Array, near: Any, mask: Any) -> Saturation:
    valid = jnp.ones(gate.shape[:1], bool) if mask is None else mask
    valid = valid.reshape(*valid.shape, *(1,) * (gate.ndim - valid.ndim))
    valid = jnp.broadcast_to(valid, gate.shape)
    bottom = jnp.where(jnp.any(valid & (gate < 0)), -1.0, 0.0).astype(gate.dtype)
    place = (gate - bottom) / (1 - bottom)  # from 0 to 1

    steps = gate.shape[0]
    index = jnp.clip(jnp.floor(place * bins), 0, bins - 1).astype(jnp.int32)
    row = jnp.arange(steps).reshape(-1, *(1,) * (gate.ndim - 1))
    counts = jnp.zeros((steps, bins), gate.dtype).at[row, index].add(valid.astype(gate.dtype))
    many = jnp.maximum(jnp.sum(counts, axis=1), 1)

    def share(chosen: jax.Array) -> jax.Array:
        axes = tuple(range(1, gate.ndim))
        return jnp.sum(chosen & valid, axis=axes, dtype=gate.dtype) / many

    edges = bottom + (1 - bottom) * jnp.linspace(0, 1, bins + 1, dtype=gate.dtype)
    return Saturation(counts / many[:, None], edges, share(place < near), share(place > 1 - near))
