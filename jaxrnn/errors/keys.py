"""What every function that draws refuses as a key."""

from typing import Any

import jax
import jax.numpy as jnp

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
