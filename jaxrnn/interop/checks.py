"""Params are checked against their cell before a conversion, and what was converted after it."""

from typing import Any

import jax
from jax.core import Tracer

from jaxrnn import TOKEN, Layer, errors, features
from jaxrnn.composite import params_spec

# The leaves that are as long as an input has features, and their axes.
NDIM = {"w_x": 2, "w": 2, "scale": 1}


def check_converted(cell: Layer, params: Any, known: bool = False) -> None:
    """Refuse params that are not those of a cell for tokens, or for inputs as wide as its first
    weight `w_x`, or `w` or `scale`; and where values must be `known` those that are traced.
    """
    found = jax.tree_util.tree_flatten_with_path(params)[0]
    widths = [
        leaf.shape[0]
        for path, leaf in found
        if (key := getattr(path[-1] if path else None, "key", None)) in NDIM
        and len(getattr(leaf, "shape", ())) == NDIM[key]
    ]
    tokens = getattr(cell, "takes_tokens", False) is True
    spec = TOKEN if tokens else features(widths[0] if widths else 1)
    errors.check_params(cell, params, params_spec(cell, spec), spec)
    for path, leaf in found:
        if known and isinstance(leaf, Tracer):
            raise errors.not_concrete(cell, jax.tree_util.keystr(path), leaf)
