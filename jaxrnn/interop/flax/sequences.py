"""One call of a Flax module: its axes, lengths and orders around `unroll`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.nnx.nn.recurrent import flip_sequences

from jaxrnn import Layer, Strategy, errors, lengths_to_mask, unroll
from jaxrnn.axes import batch_shape


def run(
    layer: Layer,
    params: Any,
    inputs: Any,
    *,
    initial_carry: Any,
    seq_lengths: Any,
    mask: Any,
    resets: Any,
    key: Any,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    return_carry: bool,
    strategy: Strategy,
) -> Any:
    """What `nnx.RNN` and `linen.RNN` return, from `unroll`."""
    errors.check_inputs(layer, "inputs", inputs)
    inputs = jax.tree.map(jnp.asarray, inputs)
    errors.check_rank(layer, inputs, 1)
    first, batch = jax.tree.leaves(inputs)[0], len(batch_shape(layer, inputs, 1))
    axis = 0 if time_major else batch
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is not None:
            errors.check_module_flags(layer, name, flags, first.shape[: batch + 1], axis)

    def timed(tree: Any, old: int, new: int) -> Any:
        return jax.tree.map(lambda a: jnp.moveaxis(a, old, new), tree)

    xs, mask, resets = timed((inputs, mask, resets), axis, 0)
    if seq_lengths is not None:
        if mask is not None:
            raise errors.lengths_and_mask(layer)
        mask = lengths_to_mask(jnp.asarray(seq_lengths), first.shape[axis])
    state, ys = unroll(
        layer,
        params,
        xs,
        state=initial_carry,
        mask=mask,
        resets=resets,
        reverse=reverse,
        key=key,
        strategy=strategy,
    )
    ys = timed(ys, 0, axis)
    if reverse and not keep_order:
        ys = jax.tree.map(lambda y: flip_sequences(y, seq_lengths, batch, time_major), ys)
    return (state, ys) if return_carry else ys
