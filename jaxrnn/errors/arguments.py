"""Arguments that functions of several rooms take: whole numbers and keys."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.message import describe, error


def check_random_key(who: Any, key: Any) -> None:
    """One key of `jax.random`, typed or as two words."""
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.ndim == 1
    need, do = "one key of jax.random", "Pass jax.random.key(0)."
    if not typed and not words:
        got = repr(key) if isinstance(key, (int, str, type(None))) else describe(key)
        raise error(TypeError, who, f"key={got}", need, do)
    if typed and key.ndim:
        do = "Pass one of them, keys[0], or map over them with jax.vmap."
        raise error(ValueError, who, f"keys of shape {key.shape}", need, do)


def check_count(who: Any, name: str, value: Any, least: int = 1) -> int:
    """A known whole number, Python's or NumPy's, as an `int`."""
    need = {0: "an integer, zero or more", 1: "a positive integer"}[least]
    do = f"Pass {name}=8, say."
    try:
        number = operator.index(value) if not isinstance(value, (bool, np.bool_)) else None
    except TypeError:  # JAX's error for a traced number is one
        number = None
    if number is None:
        got = describe(value) if hasattr(value, "shape") else repr(value)
        raise error(TypeError, who, f"{name}={got}", need, do)
    if number < least:
        raise error(ValueError, who, f"{name}={number}", need, do)
    return number
