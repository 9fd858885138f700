"""How weights begin. Each is a function of a key and shapes that returns a float array."""

import jax
import jax.numpy as jnp

uniform_fan_in = jax.nn.initializers.lecun_uniform()


def glorot(key: jax.Array, rows: int, columns: int, gates: int = 1, dtype=jnp.float32) -> jax.Array:
    """`[rows, gates*columns]`, each gate's block uniform with variance 2 / (rows + columns) (Glorot & Bengio 2010)."""
    blocks = jax.vmap(lambda k: jax.nn.initializers.glorot_uniform()(k, (rows, columns), dtype))(jax.random.split(key, gates))
    return jnp.concatenate(list(blocks), axis=-1)


def orthogonal(key: jax.Array, rows: int, columns: int, gates: int = 1, dtype=jnp.float32) -> jax.Array:
    """`[rows, gates*columns]`, each gate's block orthogonal by itself (Saxe et al. 2014)."""
    blocks = jax.vmap(lambda k: jax.nn.initializers.orthogonal()(k, (rows, columns), dtype))(jax.random.split(key, gates))
    return jnp.concatenate(list(blocks), axis=-1)


def gate_bias(hidden: int, biases: tuple[float, ...], dtype=jnp.float32) -> jax.Array:
    """`[G*hidden]`, one constant a gate."""
    return jnp.repeat(jnp.asarray(biases, dtype), hidden, total_repeat_length=hidden * len(biases))


def identity(size: int, dtype=jnp.float32) -> jax.Array:
    """`[size, size]`: with relu units, a state that is kept until something is added to it (Le et al. 2015)."""
    return jnp.eye(size, dtype=dtype)


def spectral_radius(w: jax.Array, radius: float) -> jax.Array:
    """A square matrix scaled so that its largest eigenvalue has this modulus; one whose eigenvalues are all zero stays as it is.

    The modulus is `|w^k|^(1/k)` for k = 2^20 (Gelfand 1941), by repeated squaring: unlike a power iteration it does not mind complex pairs,
    and unlike an eigenvalue solver it runs on every device and under `vmap`.
    """

    def square(_: int, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        power, log, share = carry  # w^k = power * exp(log / share), share = 1 / k
        size = jnp.linalg.norm(power)
        power = power / jnp.where(size > 0, size, 1)
        return jnp.matmul(power, power, precision="highest"), log + share * jnp.log(size), share / 2

    one = jnp.ones((), w.dtype)
    power, log, share = jax.lax.fori_loop(0, 20, square, (w, 0 * one, one))
    largest = jnp.exp(log + share * jnp.log(jnp.linalg.norm(power)))
    return w * jnp.where(largest > 0, radius / largest, 1).astype(w.dtype)
