"""The simple recurrent network."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import activation, input_spec, output, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class Elman(Cell):
    """The simple recurrent network.

        h' = activation(x @ w_x + h @ w_h + b)
        h' = sign(u) * relu(abs(u) + b),  u = x @ w_x + h @ w_h      with "modrelu"
        y = h'

    modReLU moves every number towards zero, or away from it, by as much: it is for weights that
    keep lengths, such as `Orthogonal`'s.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`.
    Params: `w_x [F, H]`, `w_h [H, H]`, `b [H]`.

    Args:
      hidden: H.
      activation: the name of an elementwise function in `jax.nn`, "tanh" or "relu" as a rule,
        "modrelu", or a function of your own that keeps shapes.
      identity: begin with the identity as `w_h` and a small `w_x`; with "relu" this is the IRNN.
      w_x_init, w_h_init, b_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for a size below one, an unknown activation, or an initializer that is
        none; for `identity` beside `w_h_init`.

    Example:
      >>> cell = Elman(8, activation="relu", identity=True)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Called `nn.RNN` in PyTorch, `SimpleCell` in Flax, `SimpleRNN` in Keras.

    Elman 1990; identity: Le, Jaitly & Hinton 2015; modReLU: Arjovsky, Shah & Bengio 2016.
    """

    hidden: int
    activation: str | Callable[[jax.Array], jax.Array] = "tanh"
    identity: bool = False
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_activation(self, self.activation, ("modrelu",))
        errors.check_flag(self, "identity", self.identity)
        errors.check_initializers(self)
        errors.check_unused(self, "identity", "w_h_init")

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        if self.identity:
            w_x, w_h = (
                1e-3 * jax.random.normal(kx, (size, self.hidden), dtype),
                initializers.Identity()(kh, (self.hidden, self.hidden), dtype),
            )
        else:
            w_x, w_h = (
                initializers.glorot(kx, size, self.hidden, 1, dtype),
                initializers.orthogonal(kh, self.hidden, self.hidden, 1, dtype),
            )
        params = {"w_x": w_x, "w_h": w_h, "b": jnp.zeros(self.hidden, dtype)}
        return initializers.replaced(self, key, params)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return matmul(xs, params["w_x"])

    def step(self, params: Params, state: jax.Array, z: jax.Array, dot: Dot) -> jax.Array:
        if self.activation == "modrelu":
            u = z + dot(state, "w_h")
            return jnp.sign(u) * jax.nn.relu(jnp.abs(u) + params["b"].astype(u.dtype))
        return activation(self.activation, self)(dot.add(z, "b") + dot(state, "w_h"))

    def readout(self, params: Params, state: jax.Array, z: jax.Array) -> jax.Array:
        return output(state, params["w_h"])
