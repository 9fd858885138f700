"""The selective state-space cell of Mamba."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, state_dtype
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import LinearCell, Noise, Params
from jaxrnn.initializers import Initializer


class S6Inputs(NamedTuple):
    """The inputs as the loop reads them: the time step and the input `[..., F]`, the weights of
    writing and of reading `[..., N]`.
    """

    step: jax.Array
    x: jax.Array
    write: jax.Array
    read: jax.Array


class S6(LinearCell):
    """A selective state-space cell: N real decays for each feature, whose time step, input and
    output weights depend on the input.

        low, B, C = x @ w_x             blocks of R, N, N
        D = softplus(low @ w_step + b)
        h' = exp(-D exp(log_a)) h + (D x) B
        y = sum over n of h' C + d x

    An input with a small D is passed over; one with a large D replaces the state. It begins with
    decays 1 ... N and D log-uniform between 0.001 and 0.1. The state has N numbers for each
    feature: cut long sequences with `Chunked`.

    Shapes: x `[..., F]`, h `[..., F, N]`, y `[..., F]`. Params: `w_x [F, R + 2N]`, `w_step [R, F]`,
    `b [F]`, `log_a [F, N]`, `d [F]`.

    Args:
      states: N.
      rank: R; by default F / 16, rounded up.
      w_x_init, w_step_init, d_init: initializers of `jax.nn.initializers`' protocol, each called
        for its whole param. The decays and the bias of the time step keep their own values.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none.

    Example:
      >>> cell = S6(4)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 3)

    Gu & Dao 2023 (Mamba, its state-space layer S6 without the block around it).
    """

    states: int = 16
    rank: int | None = None
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_step_init: Initializer | None = None
    d_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "states", self.states)
        if self.rank is not None:
            errors.check_size(self, "rank", self.rank)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        rank = self.rank or -(-size // 16)
        kx, kw, ks = jax.random.split(key, 3)
        step = jnp.exp(jax.random.uniform(ks, (size,), dtype, math.log(1e-3), math.log(1e-1)))
        params = {
            "w_x": initializers.uniform_fan_in(kx, (size, rank + 2 * self.states), dtype),
            "w_step": jax.random.uniform(kw, (rank, size), dtype, -(rank**-0.5), rank**-0.5),
            "b": step + jnp.log(-jnp.expm1(-step)),  # what softplus takes to the step
            "log_a": jnp.broadcast_to(
                jnp.log(jnp.arange(1, self.states + 1, dtype=dtype)), (size, self.states)
            ),
            "d": jnp.ones(size, dtype),
        }
        return initializers.replaced(self, key, params)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, *params["log_a"].shape), state_dtype(params["w_x"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> S6Inputs:
        z = matmul(xs, params["w_x"])
        rank = params["w_step"].shape[0]
        low, write, read = jnp.split(z, [rank, rank + self.states], axis=-1)
        step = jax.nn.softplus(matmul(low, params["w_step"]) + params["b"].astype(z.dtype))
        return S6Inputs(step, xs.astype(z.dtype), write, read)

    def coefficients(self, params: Params, z: S6Inputs) -> tuple[jax.Array, jax.Array]:
        decay = jnp.exp(params["log_a"].astype(z.step.dtype))
        return jnp.exp(-z.step[..., None] * decay), (z.step * z.x)[..., None] * z.write[
            ..., None, :
        ]

    def readout(self, params: Params, state: jax.Array, z: S6Inputs) -> jax.Array:
        y = jnp.sum(state * z.read[..., None, :], axis=-1) + z.x * params["d"].astype(z.x.dtype)
        return y.astype(params["w_x"].dtype)
