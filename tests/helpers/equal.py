"""Whether two trees are the same, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np


def same(a, b):
    """Bit for bit, structure and dtypes too."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = (
            jax.random.key_data(v)
            if hasattr(v, "dtype") and jnp.issubdtype(v.dtype, jax.dtypes.prng_key)
            else np.asarray(v)
            for v in (x, y)
        )
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(
            np.asarray(x).view(np.uint8) if x.ndim else x,
            np.asarray(y).view(np.uint8) if y.ndim else y,
        )
