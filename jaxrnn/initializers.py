"""Initial weights: each initializer is a function of a key and shapes to a float array."""

import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import draws, errors

Initializer = Callable[[jax.Array, tuple[int, ...], Any], Any]
"""The protocol of `jax.nn.initializers`: from a key, a shape and a dtype to an array."""

uniform_fan_in = jax.nn.initializers.lecun_uniform()
blockwise = partial(jax.jit, static_argnames=("rows", "columns", "gates", "dtype"))


def split(key: jax.Array, count: int) -> list[jax.Array]:
    """`jax.random.split`, on the host where the host draws from the keys."""
    if not draws.on_host(key, 2 * count, jnp.float32):
        return list(jax.random.split(key, count))
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    data = (draws.placed(words, key) for words in draws.split(draws.words(key), count))
    return [jax.random.wrap_key_data(words) if typed else words for words in data]


def normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Normal numbers of variance 1."""
    if draws.on_host(key, math.prod(shape), dtype):
        return draws.placed(draws.normal(draws.words(key), shape, dtype), key)
    return jax.random.normal(key, shape, dtype)


def glorot(
    key: jax.Array, rows: int, columns: int, gates: int = 1, dtype: Any = jnp.float32
) -> jax.Array:
    """`[rows, gates*columns]`, each gate's block uniform with variance 2 / (rows + columns)
    (Glorot & Bengio 2010).
    """
    if not draws.on_host(key, rows * columns * gates, dtype):
        return _glorot(key, rows, columns, gates, dtype)
    keys, limit = draws.split(draws.words(key), gates), math.sqrt(6 / (rows + columns))
    return draws.placed(joined(draws.uniform(keys, (rows, columns), dtype, -limit, limit)), key)


@blockwise
def _glorot(key: jax.Array, rows: int, columns: int, gates: int, dtype: Any) -> jax.Array:
    draw = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, gates)
    return joined(jax.vmap(lambda k: draw(k, (rows, columns), dtype))(keys))


def orthogonal(
    key: jax.Array, rows: int, columns: int, gates: int = 1, dtype: Any = jnp.float32
) -> jax.Array:
    """`[rows, gates*columns]`, each gate's block orthogonal by itself (Saxe et al. 2014)."""
    if not draws.on_host(key, rows * columns * gates, dtype):
        return _orthogonal(key, rows, columns, gates, dtype)
    keys, tall = draws.split(draws.words(key), gates), rows >= columns
    shape = (rows, columns) if tall else (columns, rows)
    blocks = draws.orthonormal(draws.normal(keys, shape, dtype).mT)
    return draws.placed(joined(blocks.mT if tall else blocks), key)


@blockwise
def _orthogonal(key: jax.Array, rows: int, columns: int, gates: int, dtype: Any) -> jax.Array:
    draw = jax.nn.initializers.orthogonal()
    keys = jax.random.split(key, gates)
    return joined(jax.vmap(lambda k: draw(k, (rows, columns), dtype))(keys))


def joined(blocks: Any) -> Any:
    """Blocks `[G, rows, columns]` side by side, `[rows, G*columns]`."""
    return blocks.transpose(1, 0, 2).reshape(blocks.shape[1], -1)


def gate_bias(hidden: int, biases: tuple[float, ...], dtype: Any = jnp.float32) -> jax.Array:
    """`[G*hidden]`, one constant a gate."""
    return jnp.asarray(np.repeat(np.asarray(biases, dtype), hidden))


def identity(size: int, dtype: Any = jnp.float32) -> jax.Array:
    """`[size, size]`: with relu units, a state that is kept until something is added to
    it (Le et al. 2015).
    """
    return jnp.eye(size, dtype=dtype)


def replaced(cell: Any, key: jax.Array, params: dict[str, Any], **gates: int) -> dict[str, Any]:
    """The params, those made anew for which the cell is given an initializer: `w_x` by its field
    `w_x_init`, whose key depends on this key and the param's name alone.

    Gates lie side by side in the last axis. An initializer draws each gate's block by itself, with
    a key of its own, so that its fans and its orthogonality are those of a block.
    """
    made = dict(params)
    for field, init in errors.given_initializers(cell).items():
        errors.check_param(cell, field, params)
        name = field.removesuffix("_init")
        keys = split(jax.random.fold_in(key, zlib.crc32(name.encode())), gates.get(name, 1))
        shape = (*params[name].shape[:-1], params[name].shape[-1] // len(keys))
        like = jax.ShapeDtypeStruct(shape, params[name].dtype)
        blocks = [block(cell, field, init, key, like) for key in keys]
        made[name] = jnp.concatenate(blocks, axis=-1)
    return made


def block(cell: Any, field: str, init: Initializer, key: jax.Array, like: Any) -> jax.Array:
    """One block of a param by a user's initializer."""
    try:
        made = init(key, like.shape, like.dtype)
    except (TypeError, ValueError, AttributeError) as why:
        raise errors.initializer_failed(cell, field, init, like, why) from why
    errors.check_made(cell, field, init, made, like)
    return jnp.asarray(made)


def spectral_radius(w: jax.Array, radius: float) -> jax.Array:
    """A square matrix scaled so that its largest eigenvalue has this modulus; one whose eigenvalues
    are all zero stays as it is.

    The modulus is `|w^k|^(1/k)` for k = 2^20 (Gelfand 1941), by repeated squaring: unlike a power
    iteration it does not mind complex pairs, and unlike an eigenvalue solver it runs on every
    device and under `vmap`.
    """

    def square(
        _: int, carry: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        power, log, share = carry  # w^k = power * exp(log / share), share = 1 / k
        size = jnp.linalg.norm(power)
        power = power / jnp.where(size > 0, size, 1)
        return jnp.matmul(power, power, precision="highest"), log + share * jnp.log(size), share / 2

    one = jnp.ones((), w.dtype)
    power, log, share = jax.lax.fori_loop(0, 20, square, (w, 0 * one, one))
    largest = jnp.exp(log + share * jnp.log(jnp.linalg.norm(power)))
    return w * jnp.where(largest > 0, radius / largest, 1).astype(w.dtype)
