"""Masks, resets and reversal, wrapped around any step without knowing its kind.

A false mask leaves the state as it was; a true reset replaces it by the initial state before the
step. Both choose with `where` and never multiply, so a NaN that is not chosen does not survive.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.choose import choose as choose
from jaxrnn.autodiff.dot import Dot


class Piece(NamedTuple):
    """A piece of time that one cell is run over, with its controls."""

    state: Any  # before the first step, or, reversed, after the last
    start: Any  # what a reset returns to
    zs: Any  # the result of the cell's `project`, [T, ...] leaf by leaf
    mask: Any  # booleans [T, ...], true where the step is valid, or None
    resets: Any  # booleans [T, ...] as this direction meets them (see `directed`), or None
    length: int  # T
    reverse: bool


def blank(xs: Any, mask: Any) -> Any:
    """Zero wherever the mask is false: whatever lay there, even NaN, reaches neither values nor
    gradients.
    """
    return xs if mask is None else choose(mask, xs, jax.tree.map(jnp.zeros_like, xs))


def controlled(cell: Any) -> Callable:
    """The cell's step, over inputs `(z, mask, reset)` and params `(params, start)`."""

    def lifted(both: Any, state: Any, inputs: Any, dot: Dot) -> Any:
        (params, start), (z, mask, reset) = both, inputs
        if reset is not None:
            state = choose(reset, start, state)
        new = cell.step(params, state, z, dot[0])
        errors.check_state(cell, new, state, "step")
        return new if mask is None else choose(mask, new, state)

    return lifted


def states_before(piece: Piece, states: Any) -> Any:
    """The state that each step of a piece begins from, given the states after each of them."""

    def before(first: jax.Array, after: jax.Array) -> jax.Array:
        return delayed(first[None], after, piece.reverse)

    found = jax.tree.map(before, piece.state, states)
    if piece.resets is None:
        return found
    return jax.vmap(choose, (0, None, 0))(piece.resets, piece.start, found)


def delayed(first: jax.Array, after: jax.Array, reverse: bool) -> jax.Array:
    """What was there before each step: `first [1, ...]` before the first one met, and for the
    others what the step before them left, `after [T, ...]`.
    """
    parts = [after[1:], first] if reverse else [first, after[:-1]]
    return jnp.concatenate(parts)[: after.shape[0]]


def directed(mask: Any, resets: Any, reverse: bool) -> Any:
    """The resets as a run in the given direction meets them; those under a false mask are ignored.

    Forward, the flag at t cuts before t. Reversed, the cut lies between t-1 and t, so the state is
    replaced before the last valid step of the earlier piece. The flag of that step is then the flag
    of the next valid step after it.
    """
    if resets is None:
        return None
    if mask is not None:
        resets = resets & mask
    if not reverse:
        return resets
    steps = resets.shape[0]
    never = jnp.zeros_like(resets[:1])
    if mask is None:
        return jnp.concatenate([resets[1:], never])[:steps]
    index = jnp.arange(steps, dtype=jnp.int32).reshape((-1,) + (1,) * (mask.ndim - 1))
    valid = jax.lax.cummin(jnp.where(mask, index, steps), axis=0, reverse=True)
    after = jnp.concatenate([valid[1:], jnp.full_like(valid[:1], steps)])[:steps]
    return mask & jnp.take_along_axis(jnp.concatenate([resets, never]), after, axis=0)


def lengths_to_mask(lengths: Any, steps: int) -> jax.Array:
    """The mask `[T, ...]` of rows of these lengths `[...]`, right-padded to `steps`: true where the
    step is valid, t < length.

    Raises:
      TypeError: for lengths that are no integers.
      ValueError: for lengths below 0 or above `steps`, where their values are known.

    Example:
      >>> lengths_to_mask(jnp.array([2, 0]), 3).astype(int).tolist()
      [[1, 0], [1, 0], [0, 0]]
    """
    lengths = jnp.asarray(lengths)
    errors.check_lengths(lengths, steps)
    if lengths.dtype.itemsize < 4:  # it may not hold `steps`
        lengths = lengths.astype(jnp.int32)
    return jnp.arange(steps, dtype=lengths.dtype).reshape((steps,) + (1,) * lengths.ndim) < lengths
