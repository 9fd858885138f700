"""A linear recurrence whose time is cut over the devices of a mesh: within `shard_map`, each has a
piece of the steps, one piece after another.

With A_i for the product of a piece's transitions and e_i for its last state from zero, the state
after piece i is

    h_i = A_i h_{i-1} + e_i

which is the same recurrence, of as many steps as there are devices. So each device runs its piece
from zero, all hear of all (A_i, e_i), and each runs its piece again from h_{i-1}. What is sent does
not depend on T. All of it is linear in `b` and `start`, as `linear_scan.py` needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.autodiff.choose import choose
from jaxrnn.autodiff.linear_loops import Plan, product, sequential, states_before, unmasked

Local = Callable[[Any, Any], tuple[Any, Any]]  # local(b, start): the last state and all states


def over_devices(
    axis: str, reverse: bool, local: Local, a: Any, b: Any, start: Any, mask: Any, resets: Any
) -> tuple[Any, Any]:
    """The state after all pieces, the same on each device, and the states of the own piece."""
    p = product(a, b, mask, resets, start, reverse)
    ends, _ = local(b, jax.tree.map(jnp.zeros_like, start))
    # A piece that contains a reset forgets what came before, even NaN.
    cuts = None if resets is None else unmasked(mask, resets).any(0)
    # Tiled, since JAX's transpose of the other form is wrong under `vmap` (0.10).
    mine = jax.tree.map(lambda x: x[None], (p, ends, cuts))
    p, ends, cuts = jax.lax.all_gather(mine, axis, tiled=True)
    last, after = sequential(Plan(reverse), p, ends, start, None, cuts)
    here = jax.lax.axis_index(axis)
    before = jax.tree.map(lambda h: h[here], states_before(start, after, reverse))
    # Each device has it; the sum of one says so in its type.
    one = choose(here == 0, last, jax.tree.map(jnp.zeros_like, last))
    return jax.lax.psum(one, axis), local(b, before)[1]


def first_before(axis: str, reverse: bool, start: Any, states: Any) -> Any:
    """The state before the first step of the own piece: the last one of the piece before it, or
    `start`.
    """
    count, here = jax.lax.axis_size(axis), jax.lax.axis_index(axis)
    begins, step, end = (count - 1, -1, 0) if reverse else (0, 1, -1)
    pairs = [(i, i + step) for i in range(count) if 0 <= i + step < count]
    sent = jax.tree.map(lambda h: jax.lax.ppermute(h[end], axis, pairs), states)
    return choose(here == begins, start, sent)
