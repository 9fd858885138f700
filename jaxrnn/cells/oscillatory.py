"""The coupled oscillatory recurrent network."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.initializers import Initializer


class CoRNNState(NamedTuple):
    """The oscillators' positions `y [..., H]` and velocities `z [..., H]`."""

    y: jax.Array
    z: jax.Array


jax.export.register_namedtuple_serialization(CoRNNState, serialized_name="jaxrnn.CoRNNState")


class CoRNN(Cell):
    """The coupled oscillatory recurrent network: damped oscillators that inputs and one another
    drive.

        z' = z + dt * (tanh(x @ w_x + y @ w_y + z @ w_z + b) - gamma * y - epsilon * z)
        y' = y + dt * z'
        the output is y'

    These are steps of length dt along `y'' = tanh(...) - gamma y - epsilon y'`, with the damping
    taken at the old velocity, as in the authors' code. `dt`, `gamma` and `epsilon` are params under
    the key `fixed`, so they are never trained; to try values, change the params.

    Shapes: x `[..., F]`, state `CoRNNState(y, z)` of `[..., H]`, outputs `[..., H]`.
    Params: `w_x [F, H]`, `w_y [H, H]`, `w_z [H, H]`, `b [H]`; `fixed`: `dt []`, `gamma []`,
    `epsilon []`. Weights and biases begin uniform up to 1 / sqrt(F + 2H), as in the authors' code.

    Args:
      hidden: H.
      dt: the first value of the length of a step, above 0.
      gamma: the first value of the oscillators' frequency, squared, above 0.
      epsilon: the first value of the damping, above 0.
      w_x_init, w_y_init, w_z_init, b_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError, ValueError: for a size below one, a number that is not above 0, or an initializer
        that is none.

    Example:
      >>> cell = CoRNN(8)
      >>> state, ys = unroll(cell, cell.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape, state.z.shape
      ((5, 8), (8,))

    Rusch & Mishra 2021.
    """

    hidden: int
    dt: float = 0.05
    gamma: float = 1.0
    epsilon: float = 1.0
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_y_init: Initializer | None = None
    w_z_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        for name in ("dt", "gamma", "epsilon"):
            errors.check_positive(self, name, getattr(self, name))
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        square, limit = (self.hidden, self.hidden), (size + 2 * self.hidden) ** -0.5
        shapes = {"w_x": (size, self.hidden), "w_y": square, "w_z": square, "b": square[:1]}
        keys = jax.random.split(key, len(shapes))
        params = {
            name: jax.random.uniform(k, shape, dtype, -limit, limit)
            for (name, shape), k in zip(shapes.items(), keys, strict=True)
        }
        names = ("dt", "gamma", "epsilon")
        fixed = {name: jnp.asarray(getattr(self, name), dtype) for name in names}
        return {**initializers.replaced(self, key, params), "fixed": fixed}

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> CoRNNState:
        zero = jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_x"]))
        return CoRNNState(zero, zero)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        return matmul(xs, params["w_x"])

    def step(self, params: Params, state: CoRNNState, z: jax.Array, dot: Dot) -> CoRNNState:
        names, dtype = ("dt", "gamma", "epsilon"), state.y.dtype
        dt, gamma, epsilon = (params["fixed"][name].astype(dtype) for name in names)
        force = jnp.tanh(dot.add(z, "b") + dot(state.y, "w_y") + dot(state.z, "w_z"))
        velocity = state.z + dt * (force - gamma * state.y - epsilon * state.z)
        return CoRNNState(state.y + dt * velocity, velocity)

    def readout(self, params: Params, state: CoRNNState, z: jax.Array) -> jax.Array:
        return output(state.y, params["w_x"])
