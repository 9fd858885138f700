"""A fixed random reservoir, and its readout in closed form."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul, wide
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class EchoState(Cell):
    """A reservoir of leaky integrators with fixed random weights.

        h' = (1 - leak) * h + leak * tanh(x @ w_x + h @ w_h + b)
        y = h'

    All params lie under the key `fixed`: no gradient reaches them, though it passes through the
    reservoir to inputs and states; `trainable` keeps an optimizer's weight decay away from them.
    Fit a linear readout with `ridge`.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`.
    Params: `fixed`: `w_x [F, H]`, `w_h [H, H]`, `b [H]`, `leak []`.

    Args:
      hidden: H.
      spectral_radius: the largest modulus among the eigenvalues of `w_h`; below 1 the past fades.
      leak: the first value of the param `leak`, in (0, 1]; to try values, change the param.
      input_scale: `w_x` and `b` are uniform in [-input_scale, input_scale].
      density: the share of `w_h` that is not zero, in (0, 1].
      w_x_init, w_h_init, b_init: initializers of `jax.nn.initializers`' protocol. What `w_h_init`
        draws, normal numbers by default, is thinned to the density and scaled to the radius.

    Raises:
      TypeError, ValueError: for a size below one, a number outside its range, or an initializer
        that is none; for an input scale beside both `w_x_init` and `b_init`.

    Example:
      >>> cell = EchoState(100)
      >>> params = cell.init(jax.random.key(0), features(1))
      >>> xs = jnp.sin(jnp.arange(500.0))[:, None]
      >>> _, states = unroll(cell, params, xs[:-1])
      >>> readout = ridge(states, xs[1:], 1e-4)
      >>> bool(jnp.abs(states @ readout["w"] + readout["b"] - xs[1:])[100:].max() < 0.01)
      True

    Jaeger 2001; leak: Jaeger et al. 2007; practice: Lukosevicius 2012.
    """

    hidden: int
    spectral_radius: float = 0.9
    leak: float = 1.0
    input_scale: float = 1.0
    density: float = 1.0
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_range(self, "leak", self.leak, 0.0, 1.0)
        errors.check_range(self, "density", self.density, 0.0, 1.0)
        errors.check_range(self, "spectral_radius", self.spectral_radius, 0.0)
        errors.check_range(self, "input_scale", self.input_scale, 0.0)
        errors.check_initializers(self)
        if self.w_x_init is not None:
            errors.check_unused(self, "input_scale", "b_init")

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, kh, kd, kb = jax.random.split(key, 4)
        square = (self.hidden, self.hidden)
        low, high = -self.input_scale, self.input_scale
        drawn = {
            "w_x": jax.random.uniform(kx, (size, self.hidden), dtype, low, high),
            "w_h": jax.random.normal(kh, square, dtype),
            "b": jax.random.uniform(kb, (self.hidden,), dtype, low, high),
        }
        params = initializers.replaced(self, key, drawn)
        kept = jax.random.bernoulli(kd, self.density, square)
        w_h = jnp.where(kept, params["w_h"], jnp.zeros(square, dtype))
        w_h = initializers.spectral_radius(w_h, self.spectral_radius)
        return {"fixed": {**params, "w_h": w_h, "leak": jnp.asarray(self.leak, dtype)}}

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["fixed"]["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return matmul(xs, params["fixed"]["w_x"])

    def step(self, params: Params, state: jax.Array, z: jax.Array, dot: Dot) -> jax.Array:
        leak = params["fixed"]["leak"].astype(state.dtype)
        dot = dot["fixed"]
        return (1 - leak) * state + leak * jnp.tanh(dot.add(z, "b") + dot(state, "w_h"))

    def readout(self, params: Params, state: jax.Array, z: jax.Array) -> jax.Array:
        return output(state, params["fixed"]["w_h"])


def ridge(
    xs: jax.Array, targets: jax.Array, penalty: float | jax.Array, mask: jax.Array | None = None
) -> dict[str, jax.Array]:
    """The linear readout with the least squared error plus a penalty, in closed form.

        w, b = argmin sum over steps of |x @ w + b - target|^2 + penalty * |w|^2

    The bias is not penalised. Works under `jit`, `vmap` and `grad`, in float32 or, for float64
    features, in float64.

    Shapes: xs `[T, ..., F]`, targets `[T, ..., G]`, mask `[T, ...]`.

    Args:
      xs: features, such as the outputs of a reservoir.
      targets: what the readout should give.
      penalty: a number from 0 up; larger means smaller weights.
      mask: booleans, true where the step is valid. The others do not count, whatever they hold:
        padding, or the first steps, until the reservoir has forgotten its initial state.

    Returns:
      Params of `Dense(G)`: `w [F, G]`, `b [G]`.

    Raises:
      TypeError, ValueError: for a mask that is not boolean, leading axes that differ, or a penalty
        that is no such number.

    Example:
      >>> xs = jnp.arange(4.0)[:, None]
      >>> ridge(xs, 2 * xs + 1, 1e-6)["w"].round(2).tolist()
      [[2.0]]

    Hoerl & Kennard 1970; for reservoirs: Lukosevicius 2012.
    """
    errors.check_ridge(xs, targets)
    errors.check_penalty(penalty)
    dtype = wide(xs.dtype)
    x, y = (
        xs.astype(dtype).reshape(-1, xs.shape[-1]),
        targets.astype(dtype).reshape(-1, targets.shape[-1]),
    )
    counts = jnp.ones((x.shape[0], 1), bool)
    if mask is not None:
        errors.check_flags("ridge", "mask", mask, xs.shape[:-1])
        counts = mask.reshape(-1, 1)

    def centre(a: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = jnp.where(counts, a, 0).sum(axis=0) / jnp.maximum(counts.sum(), 1).astype(dtype)
        return mean, jnp.where(counts, a - mean, 0)

    (x_mean, x), (y_mean, y) = centre(x), centre(y)
    # The penalty is F more rows, and QR solves the whole: the normal equations would square the
    # condition number, and float32 has no digits to spare.
    size = x.shape[-1]
    rows = jnp.concatenate([x, jnp.sqrt(jnp.asarray(penalty, dtype)) * jnp.eye(size, dtype=dtype)])
    with jax.default_matmul_precision("highest"):
        q, r = jnp.linalg.qr(rows)
        w = jax.scipy.linalg.solve_triangular(r, q[: x.shape[0]].T @ y)
        return {"w": w, "b": y_mean - x_mean @ w}
