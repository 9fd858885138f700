"""The axes of inputs: time first, then batch, then each array's own feature axes.

Most layers take one array. A layer may take a pytree of arrays, `(x, mask, dt)` say, all with the
same time and batch axes: its `feature_ndim` is then a pytree like its input, a number for each
array.
"""

from typing import Any

import jax

from jaxrnn.layer import Layer


def steps(xs: Any) -> Any:
    """T, the number of steps of inputs `[T, ...]`."""
    return jax.tree.leaves(xs)[0].shape[0]


def batch_shape(layer: Layer, x: Any, time: int) -> tuple[int, ...]:
    """The axes of an input between time and features; `time` is 1 for a sequence, 0 for a step."""
    first, features = jax.tree.leaves(x)[0], jax.tree.leaves(layer.feature_ndim)[0]
    return tuple(first.shape[time : first.ndim - features])


def step_spec(layer: Layer, x: Any) -> Any:
    """The shape and dtype of one row's step of an input."""

    def spec(features: int, a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(a.shape[len(a.shape) - features :], a.dtype)

    return jax.tree.map(spec, layer.feature_ndim, x)


def sequence_spec(layer: Layer, x: Any) -> Any:
    """The shape and dtype of one row of one step `[1, F]`, what `project` takes."""
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((1, *s.shape), s.dtype), step_spec(layer, x))
