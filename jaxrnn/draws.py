"""`jax.random`'s numbers drawn by NumPy, where compiling their program would take far longer.

A first `jax.random.normal` compiles for a quarter of a second, and so does one of every other
shape; an initialisation draws several. A key whose value is known is therefore drawn from on the
host: the same bits, the same numbers up to the rounding of their last step.

Threefry: Salmon et al. 2011.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

LARGEST = 2**20  # numbers from which drawing here takes longer than compiling
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def on_host(key: Any, size: int, dtype: Any) -> bool:
    """Whether `size` numbers are to be drawn here: from one threefry key that is no tracer."""
    if not isinstance(key, jax.Array) or isinstance(key, Tracer):
        return False
    return (
        size <= LARGEST
        and jax.dtypes.canonicalize_dtype(dtype) == dtype
        and np.dtype(dtype) in (np.float32, np.float64)
        and getattr(jax.config, "jax_threefry_partitionable", True)
        and jax.random.key_impl(key) == "threefry2x32"
        and key.is_fully_addressable
        and jax.random.key_data(key).shape == (2,)
    )


def words(key: jax.Array) -> np.ndarray:
    """The two words of a threefry key, on the host."""
    with jax.ensure_compile_time_eval():  # a key from outside a traced function has its value there
        return np.asarray(jax.random.key_data(key))


def placed(x: np.ndarray, key: jax.Array) -> jax.Array:
    """An array on the device that `jax.random` would have drawn it on."""
    return jax.device_put(x, key.sharding) if key.committed else jnp.asarray(x)


def threefry(keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two words `[*lead, count]` for each of `count` counters under keys `[*lead, 2]`."""
    first, second = keys[..., :1], keys[..., 1:]
    schedule = (first, second, first ^ second ^ np.uint32(PARITY))
    shape = (*keys.shape[:-1], count)
    x, y = np.broadcast_to(first, shape).copy(), np.arange(count, dtype=np.uint32) + second
    for i in range(5):
        for turn in ROTATIONS[i % 2]:
            x += y
            y = (y << np.uint32(turn) | y >> np.uint32(32 - turn)) ^ x
        x += schedule[(i + 1) % 3]
        y += schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def split(keys: np.ndarray, count: int) -> np.ndarray:
    """`jax.random.split`: keys `[*lead, count, 2]`."""
    return np.stack(threefry(keys, count), -1)


def uniform(
    keys: np.ndarray, shape: tuple[int, ...], dtype: Any, low: Any, high: Any
) -> np.ndarray:
    """`jax.random.uniform` for each key: `[*lead, *shape]`."""
    x, y = threefry(keys, int(np.prod(shape)))
    dtype = np.dtype(dtype).type
    if dtype is np.float32:  # the mantissa at random, the exponent that of 1
        unit = (((x ^ y) >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - dtype(1)
    else:
        bits = x.astype(np.uint64) << np.uint64(32) | y
        unit = (bits >> np.uint64(12) | np.uint64(0x3FF << 52)).view(np.float64) - dtype(1)
    low, high = dtype(low), dtype(high)
    return np.maximum(low, unit * (high - low) + low).reshape(*keys.shape[:-1], *shape)


def normal(keys: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`jax.random.normal` for each key: `[*lead, *shape]`."""
    dtype = np.dtype(dtype).type
    low = np.nextafter(dtype(-1), dtype(0))
    from scipy.special import erfinv  # a tenth of a second, spent where it is used

    return dtype(np.sqrt(2)) * erfinv(uniform(keys, shape, dtype, low, 1))


def orthonormal(rows: np.ndarray) -> np.ndarray:
    """Each matrix's rows made orthonormal in turn, `[..., N, M]` with N <= M: the Q, transposed, of
    a QR decomposition with a positive diagonal.

    Gram-Schmidt, twice, which is as exact as reflections (Giraud et al. 2005). The threads of
    LAPACK take seconds for this where another process holds a core.
    """
    q = rows.copy()
    for i in range(q.shape[-2]):
        row = q[..., i : i + 1, :]
        for _ in range(2):
            row = row - (row @ q[..., :i, :].mT) @ q[..., :i, :]
        q[..., i : i + 1, :] = row / np.sqrt((row * row).sum(-1, keepdims=True))
    return q
