"""What every cell needs: the size and dtype it is made for, and the dtypes of state and output."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.layer import Layer


def input_spec(cell: Layer, x: Any) -> tuple[int, Any]:
    """The feature size F, and the dtype of new params: float64 for float64 inputs, else float32."""
    errors.check_array(cell, "the example x of init", x)
    errors.check_rank(cell, x, 0)
    errors.check_input(cell, x)
    return x.shape[-1], wide(x.dtype)


def state_dtype(weight: jax.Array) -> Any:
    """States are float32 or wider, whatever the params are."""
    return wide(weight.dtype)


def output(h: jax.Array, weight: jax.Array) -> jax.Array:
    """Outputs have the params' dtype."""
    return h.astype(weight.dtype)


def sigmoid(x: jax.Array) -> jax.Array:
    """By tanh, which takes XLA:CPU about four fifths of the time."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5
