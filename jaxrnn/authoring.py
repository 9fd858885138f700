"""What the author of a cell needs besides `Cell`: the size and dtype of its inputs, the dtypes of
its state and output, and the function that an `activation` field says.

Two things need no code in a cell. Leaves of its params under a key `fixed` are never trained: the
verbs stop their gradient, and `training` leaves them where they are. And its initial state is
learned where it is wrapped: `LearnedState(cell)` has the params `{"cell": ..., "state": ...}`, the
cell's own and the state that it begins from.
"""

from collections.abc import Callable
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
      TypeError, ValueError: for tokens, or an input without a feature axis or without features.

    Example:
      >>> input_spec(GRU(8), features(3))
      (3, dtype('float32'))
    """
    errors.check_features(cell, x)
    if isinstance(x.shape[-1], int) and not x.shape[-1]:
        raise errors.no_features(cell, x)
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


def activation(f: str | Callable, cell: Any = "activation") -> Callable[[jax.Array], jax.Array]:
    """The function that an `activation` field says: one of `jax.nn` by its name, or the caller's
    own.

    Args:
      f: what `errors.check_activation` has let pass.
      cell: whose field it is; its name is in the error.

    Raises:
      TypeError, ValueError: when the function is called, for a result of another shape, or one that
        is not floating.

    Example:
      >>> activation("relu")(jnp.array([-1.0, 2.0])).tolist()
      [0.0, 2.0]
    """
    function = getattr(jax.nn, f) if isinstance(f, str) else f

    def applied(x: jax.Array) -> jax.Array:
        y = function(x)
        errors.check_activated(cell, f, x, y)
        return y

    return applied


def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic sigmoid by way of tanh, which XLA:CPU computes in four fifths of the time."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5
