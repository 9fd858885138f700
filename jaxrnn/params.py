"""Rules for all params: they fit their cell, and leaves under a key `fixed` are never trained."""

from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.axes import step_spec
from jaxrnn.composite import Composite, params_spec
from jaxrnn.layer import Layer, Params


def checked(cell: Layer, params: Params, x: Any) -> Params:
    """Params that fit the cell and inputs like `x`, their fixed leaves frozen."""
    spec = step_spec(cell, x)
    need = params_spec(cell, spec)
    if cell.takes_memory or not errors.like(params, need):
        errors.check_params(cell, params, need, spec, fits_other_inputs(cell, params, need, spec))
    return freeze(params)


def fits_other_inputs(cell: Layer, params: Params, need: Params, spec: Any) -> bool:
    """Whether params that do not fit would, were the inputs of another size."""
    if not isinstance(spec, jax.ShapeDtypeStruct) or not spec.shape:
        return False
    size = tuple(n + 1 for n in spec.shape)
    try:
        wider = params_spec(cell, jax.ShapeDtypeStruct(size, spec.dtype))
    except (TypeError, ValueError):  # a layer that takes this size alone
        return False
    return errors.fits_other_inputs(params, need, wider)


def check_kind(cell: Layer, x: Any) -> None:
    """Refuse tokens for features and features for tokens, by the name of the layer they reach."""
    while isinstance(cell, Composite):
        cell = cell.children[0]
    errors.check_input(cell, x)


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
