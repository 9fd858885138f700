"""Rules for all params: they fit their cell, and leaves under a key `fixed` are never trained."""

from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.composite import Composite, params_spec, step_spec
from jaxrnn.layer import Layer, Params


def checked(cell: Layer, params: Params, x: Any) -> Params:
    """Params that fit the cell and inputs like `x`, their fixed leaves frozen."""
    first: Layer = cell
    while isinstance(first, Composite):
        first = first.children[0]
    errors.check_input(first, x)
    spec = step_spec(cell, x)
    need = params_spec(cell, spec)
    if cell.takes_memory or not errors.like(params, need):
        errors.check_params(cell, params, need, spec)
    return freeze(params)


def freeze(params: Params) -> Params:
    """Stop the gradient of every leaf under a key `fixed`."""

    def stop(path: tuple, leaf: Any) -> Any:
        return jax.lax.stop_gradient(leaf) if is_fixed(path) else leaf

    return jax.tree_util.tree_map_with_path(stop, params)


def is_fixed(path: tuple) -> bool:
    """Whether a path leads through a key `fixed`."""
    return any(getattr(entry, "key", None) == "fixed" for entry in path)


def trainable(params: Params) -> Any:
    """A pytree like `params` of booleans, false for every leaf under a key `fixed` (a reservoir).

    Pass it to `optax.masked`: weight decay would otherwise move leaves that have no gradient.

    Example:
      >>> trainable({"fixed": {"w": 1.0}, "b": 2.0})
      {'b': True, 'fixed': {'w': False}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: not is_fixed(path), params)
