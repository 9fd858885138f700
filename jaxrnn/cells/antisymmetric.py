"""The antisymmetric recurrent network, plain and gated."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, sigmoid, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class AntisymmetricInputs(NamedTuple):
    """`x @ w_x` without its bias: the candidate's part `[..., H]`, and the gate's, or None."""

    n: jax.Array
    z: jax.Array | None


class AntisymmetricRNN(Cell):
    """The antisymmetric recurrent network: steps of Euler's method along a stable differential
    equation, whose Jacobian has eigenvalues near the imaginary axis.

        a = h @ (w_h - w_h.T) - gamma * h
        n = tanh(x @ w_x + a + b)
        z = sigmoid(x @ w_x + a + b)    gated alone, the second block
        h' = h + eps * n                or h + eps * z * n, gated
        y = h'

    `eps` is the length of a step, and `gamma` makes up for the error that finite steps make. Both
    are params under the key `fixed`, so they are never trained; to try values, change the params.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`. Params: `w_x [F, H]`, `w_h [H, H]`, `b [H]`;
    gated, `w_x [F, 2H]` and `b [2H]`, blocks in the order n, z; `fixed`: `eps []`, `gamma []`.
    `w_x` begins normal with variance 1 / F, and `w_h` with 1 / H.

    Args:
      hidden: H.
      gated: whether a gate decides how far each unit goes; it sees the state through the same
        product as the candidate.
      eps: the first value of the param, above 0.
      gamma: the first value of the param, from 0 up.
      w_x_init, w_h_init, b_init: initializers of `jax.nn.initializers`' protocol, called for each
        block by itself.

    Raises:
      TypeError, ValueError: for a size below one, a flag or a number out of its range, or an
        initializer that is none.

    Example:
      >>> cell = AntisymmetricRNN(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Chang, Chen, Haber & Chi 2019.
    """

    hidden: int
    gated: bool = False
    eps: float = 0.01
    gamma: float = 0.01
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_flag(self, "gated", self.gated)
        errors.check_positive(self, "eps", self.eps, "Pass eps=0.01, say.")
        errors.check_positive(self, "gamma", self.gamma, "Pass gamma=0.01, say.", zero=True)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        parts = 1 + self.gated
        w_x = jax.random.normal(kx, (size, parts * self.hidden), dtype) / size**0.5
        w_h = jax.random.normal(kh, (self.hidden, self.hidden), dtype) / self.hidden**0.5
        params = {"w_x": w_x, "w_h": w_h, "b": jnp.zeros(parts * self.hidden, dtype)}
        made = initializers.replaced(self, key, params, w_x=parts, b=parts)
        fixed = {"eps": jnp.asarray(self.eps, dtype), "gamma": jnp.asarray(self.gamma, dtype)}
        return {**made, "fixed": fixed}

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(
        self, params: Params, xs: jax.Array, noise: Noise | None = None
    ) -> AntisymmetricInputs:
        z = matmul(xs, params["w_x"])
        return AntisymmetricInputs(
            z[..., : self.hidden], z[..., self.hidden :] if self.gated else None
        )

    def step(self, params: Params, state: jax.Array, z: AntisymmetricInputs, dot: Dot) -> jax.Array:
        eps, gamma = (params["fixed"][name].astype(state.dtype) for name in ("eps", "gamma"))
        # The matrix is made of params alone, so a loop makes it once, before its first step.
        a = dot(state, params["w_h"] - params["w_h"].T)
        change = jnp.tanh(dot.add(z.n, "b") + a - gamma * state)
        if z.z is not None:
            change = sigmoid(dot.add(z.z, "b", self.hidden) + a - gamma * state) * change
        return state + eps * change

    def readout(self, params: Params, state: jax.Array, z: AntisymmetricInputs) -> jax.Array:
        return output(state, params["w_h"])
