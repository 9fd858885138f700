"""A function of features as a layer."""

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.authoring import input_spec
from jaxrnn.layer import Feedforward, Noise, Params


class Apply(Feedforward):
    """A function of one step's features, the same for every step and every row.

        y = f(x)

    It sees one vector `[F]` at a time (`jax.vmap` takes it over time and batch), so it cannot mix
    steps or rows. What it closes over is constant: weights to be trained belong in a `Feedforward`
    of your own.

    It is static, as every field of a layer is. A function of a module equals itself at each call,
    so it is traced once, and it pickles. A lambda is a new function wherever it is made again: it
    is traced anew, and does not pickle. Nor do functions that JAX has compiled, `jax.nn.relu` for
    instance: name them in a `Dense`, or call them in a function of your own.

    Shapes: x `[..., F]`, y `[..., G]`. Params: none.

    Args:
      f: a function that hashes, of an array `[F]` to an array `[G]`; one of `[..., F]` to
        `[..., G]` is such a function.

    Raises:
      TypeError: for what is no function or does not hash.
      TypeError, ValueError: in `init` and while tracing, for a result that is not one array `[G]`.

    Example:
      >>> net = Stack((LSTM(8), Apply(jax.nn.relu), Dense(4)))
      >>> state, ys = unroll(net, net.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 4)

    Called `Lambda` in Keras. In PyTorch and Flax the function itself stands in the network.
    """

    f: Callable[[jax.Array], jax.Array]

    def __post_init__(self) -> None:
        errors.check_static_function(self, "f", self.f)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, _ = input_spec(self, x)
        jax.eval_shape(self._row, jax.ShapeDtypeStruct((size,), x.dtype))
        return {}

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        f = self._row
        for _ in range(xs.ndim - 1):
            f = jax.vmap(f)
        return f(xs)

    def _row(self, x: jax.Array) -> jax.Array:
        y = self.f(x)
        errors.check_applied(self, x, y)
        return y
