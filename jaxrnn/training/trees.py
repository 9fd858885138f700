"""What a checkpoint knows of a tree: arrays without keys, shapes, and some numbers of each leaf."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors import describe


def is_key(x: Any) -> bool:
    """Whether an array holds typed PRNG keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(tree: Any) -> Any:
    """PRNG keys as the integers they are made of."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def keyed(tree: Any, template: Any) -> Any:
    """The keys again, each of the template's kind."""
    return jax.tree.map(
        lambda x, like: (
            jax.random.wrap_key_data(x, impl=jax.random.key_impl(like)) if is_key(like) else x
        ),
        tree,
        template,
    )


def spec(tree: Any) -> dict[str, str]:
    """The dtype and shape of every leaf, by its path."""
    return {
        jax.tree_util.keystr(path): describe(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def samples(tree: Any, count: int = 8) -> dict[str, list[float]]:
    """Some numbers of every leaf, by its path: enough to tell one initial state from another."""
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(plain(tree))[0]:
        flat: Any = np.asarray(leaf).ravel()
        flat = flat[:: max(1, flat.size // count)][:count]
        if np.iscomplexobj(flat):
            flat = np.concatenate([flat.real, flat.imag])
        exact = np.issubdtype(flat.dtype, np.integer)
        found[jax.tree_util.keystr(path)] = (flat if exact else flat.astype(np.float64)).tolist()
    return found
