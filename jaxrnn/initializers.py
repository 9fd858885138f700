"""Initial weights: each initializer is a function of a key and shapes to a float array.

`Identity`, `SpectralRadius`, `Rotations` and `Chrono` are for the `..._init` fields of cells. They
are values, so cells made with equal ones are equal and are traced once. For orthogonal and for
small weights JAX has its own: `jax.nn.initializers.orthogonal(scale)` and `normal(0.01)`.
"""

import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import draws, errors
from jaxrnn.fields import frozen

__all__ = ["Chrono", "Identity", "Rotations", "SpectralRadius"]

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


def replaced(cell: Any, key: jax.Array, params: dict[str, Any], **gates: Any) -> dict[str, Any]:
    """The params, those made anew for which the cell is given an initializer: `w_x` by its field
    `w_x_init`, whose key depends on this key and the param's name alone.

    Gates lie side by side in the last axis. An initializer draws each gate's block by itself, with
    a key of its own, so that its fans and its orthogonality are those of a block. `gates` says how
    many blocks a param has, or of the bias of gates that keep a state, what `Chrono` makes of each.
    """
    made = dict(params)
    for field, init in errors.given_initializers(cell).items():
        errors.check_param(cell, field, params)
        name = field.removesuffix("_init")
        own, signs = jax.random.fold_in(key, zlib.crc32(name.encode())), gates.get(name, 1)
        count = signs if isinstance(signs, int) else len(signs)
        shape = (*params[name].shape[:-1], params[name].shape[-1] // count)
        like = jax.ShapeDtypeStruct(shape, params[name].dtype)
        if isinstance(init, Chrono):
            errors.check_keeps(cell, field, init, signs)
            blocks = init.blocks(own, signs, shape, like.dtype)
        else:
            blocks = [block(cell, field, init, key, like) for key in split(own, count)]
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


@frozen
class Identity:
    """`scale` times the identity, for a square weight or each square block of one.

    With relu units and a scale of 1 a state is kept until something is added to it; a scale below 1
    lets it fade.

    Args:
      scale: any finite number.

    Raises:
      TypeError, ValueError: for a scale that is no finite number; in `init`, for a block that is
        not square.

    Example:
      >>> rnn.Elman(2, "relu", w_h_init=Identity(0.5)).init(jax.random.key(0), 3)["w_h"].tolist()
      [[0.5, 0.0], [0.0, 0.5]]

    Le, Jaitly & Hinton 2015.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        errors.check_range(self, "scale", self.scale)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        errors.check_square(self, shape)
        return self.scale * jnp.eye(shape[0], dtype=dtype)


@frozen
class SpectralRadius:
    """Random numbers, scaled so that the largest eigenvalue of a square weight, or of each square
    block of one, has this modulus.

    Args:
      radius: above 0; below 1 the past fades where the activation's slope is at most 1.
      init: what is scaled, an initializer of `jax.nn.initializers`' protocol; by default normal
        numbers.

    Raises:
      TypeError, ValueError: for a radius that is not above 0, or an initializer that is none; in
        `init`, for a block that is not square.

    Example:
      >>> w = SpectralRadius(0.9)(jax.random.key(0), (50, 50))
      >>> round(float(jnp.abs(jnp.linalg.eigvals(w)).max()), 3)
      0.9

    Jaeger 2001.
    """

    radius: float = 0.9
    init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_positive(self, "radius", self.radius)
        if self.init is not None:
            errors.check_initializer(type(self).__name__, "init", self.init)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        errors.check_square(self, shape)
        scaled = jax.jit(spectral_radius)  # compiled once for all gates
        return scaled((self.init or normal)(key, shape, dtype), self.radius)


@frozen
class Rotations:
    """Antisymmetric blocks `[[0, a], [-a, 0]]` along the diagonal of a square weight, each `a`
    uniform between `-angle` and `angle`.

    The exponential of such a weight, which `Orthogonal` takes, turns each pair of units by its own
    angle. Of an odd number of units the last stays as it is.

    Args:
      angle: the largest angle, in radians, up to pi.

    Raises:
      TypeError, ValueError: for an angle out of its range; in `init`, for a block that is not
        square.

    Example:
      >>> w = Rotations()(jax.random.key(0), (4, 4))
      >>> bool((w == -w.T).all()), int((w != 0).sum())
      (True, 4)

    Henaff, Szlam & LeCun 2016; for the exponential: Lezcano-Casado & Martinez-Rubio 2019.
    """

    angle: float = math.pi

    def __post_init__(self) -> None:
        errors.check_range(self, "angle", self.angle, 0.0, math.pi)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        errors.check_square(self, shape)
        first = 2 * jnp.arange(shape[0] // 2)
        a = jax.random.uniform(key, first.shape, dtype, -self.angle, self.angle)
        upper = jnp.zeros(shape, dtype).at[first, first + 1].set(a)
        return upper - upper.T


@frozen
class Chrono:
    """Biases of gates with which units remember for times up to `t_max`: for `b_init`.

        u = log(U),  U uniform between 1 and t_max - 1
        b = u for a gate that keeps the state, -u for one that lets new content in, else 0

    A unit whose gate f keeps its state forgets by 1 - f a step: its time constant is 1 / (1 - f)
    steps. With no input, f = sigmoid(b) and 1 / (1 - f) = 1 + exp(b) = 1 + U, so times are uniform
    between 2 and `t_max`. An LSTM's input gate begins with -u of the same unit, so that i = 1 - f.

    Cells with such a gate: `LSTM`, `PeepholeLSTM`, `LayerNormLSTM`, `GRU`, `LayerNormGRU`,
    `DiagonalLSTM`, `DiagonalGRU`, `MinLSTM`, `MinGRU`. In a cell of your own, call it for the bias
    of the gate that keeps, with `(key, shape, dtype)`.

    Args:
      t_max: the longest time to be remembered, in steps, above 2.

    Raises:
      TypeError, ValueError: for a `t_max` that is not above 2; in a cell's `init`, for a param that
        is no bias of gates that keep a state.

    Example:
      >>> cell = rnn.LSTM(3, b_init=Chrono(100.0))
      >>> i, f, g, o = jnp.split(cell.init(jax.random.key(0), 2)["b"], 4)
      >>> bool((i == -f).all() and (f > 0).all()), g.tolist()
      (True, [0.0, 0.0, 0.0])

    Tallec & Ollivier 2018.
    """

    t_max: float

    def __post_init__(self) -> None:
        errors.check_longest_time(self, self.t_max)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, self.t_max - 1))

    def blocks(self, key: jax.Array, signs: Any, shape: tuple[int, ...], dtype: Any) -> list:
        """The biases of all gates, of one draw: 1 is the sign of a gate that keeps the state as it
        opens, -1 of one that writes, 0 of all others.
        """
        keeps = self(key, shape, dtype)
        return [sign * keeps for sign in signs]
