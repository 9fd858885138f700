"""What the author of a cell needs besides `Cell`: the size and dtype of its inputs, and the dtypes
of its state and output.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.layer import Layer


def input_spec(cell: Layer, x: Any) -> tuple[int, Any]:
    """The feature size F of a step's input, and the dtype of new params: float64 for float64
    inputs, else float32.

    Args:
      cell: the cell whose `init` asks; its name is in the error.
      x: the input, or its spec, that `init` received; of several, the one that is asked about.

    Raises:
      TypeError, ValueError: for tokens, or an input without a feature axis.

    Example:
      >>> input_spec(GRU(8), features(3))
      (3, dtype('float32'))
    """
    errors.check_features(cell, x)
    return x.shape[-1], wide(x.dtype)


def state_dtype(weight: jax.Array) -> Any:
    """The dtype of a state: float32 or wider, whatever the dtype of the params is.

    Example:
      >>> state_dtype(jnp.zeros(2, jnp.bfloat16))
      dtype('float32')
    """
    return wide(weight.dtype)


def output(h: jax.Array, weight: jax.Array) -> jax.Array:
    """A state as an output, which has the params' dtype.

    Example:
      >>> output(jnp.zeros(2), jnp.zeros(2, jnp.bfloat16)).dtype
      dtype(bfloat16)
    """
    return h.astype(weight.dtype)


def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic sigmoid by way of tanh, which XLA:CPU computes in four fifths of the time."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5
