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


def spectral_radius(w: jax.Array, radius: float) -> jax.Array:
    """A square matrix scaled so that its largest eigenvalue has this modulus."""
    largest = jnp.max(jnp.abs(jnp.linalg.eigvals(w)))
    return w * (radius / largest).astype(w.dtype)
