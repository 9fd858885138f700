"""Nonlinear cells for `Newton`: their recurrent weights and their Jacobians are diagonal."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import matmul
from jaxrnn.cell import Cell, Noise, Params
from jaxrnn.cells.gru import GRU_KEEPS, GRUGates
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.initializers import Initializer


def weights(key: jax.Array, size: int, hidden: int, dtype: Any) -> Params:
    """The input weights of three blocks, and the diagonal recurrent ones."""
    kx, kh = jax.random.split(key)
    return {
        "w_x": initializers.glorot(kx, size, hidden, 3, dtype),
        "w_h": jax.random.normal(kh, (3 * hidden,), dtype) * 2 / (5 * hidden) ** 0.5,
    }


class DiagonalGRU(Cell):
    """A GRU whose recurrent weights are diagonal: a unit sees no other unit's past.

        r, z = sigmoid(x @ w_x + w_h * h + b)          each its own block
        n = tanh(x @ w_x + b + w_h * (r * h))          the third block
        h' = (1 - z) * n + z * h
        y = h'

    Its Jacobian is diagonal, so `Newton` solves it by the scan of a diagonal linear cell. Stack it
    with `Dense` to mix units.

    Shapes: x `[..., F]`, h `[..., H]`, y `[..., H]`. Params: `w_x [F, 3H]`, `w_h [3H]`, `b [3H]`,
    blocks in the order r, z, n. The biases of z begin evenly spaced from 0 to 1, so that
    units remember for different times.

    Args:
      hidden: H.
      w_x_init, w_h_init, b_init: initializers of `jax.nn.initializers`' protocol, called for
        each block by itself; those of `w_h` are vectors `[H]`.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none.

    Example:
      >>> cell = DiagonalGRU(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Newton())
      >>> ys.shape
      (5, 8)

    Danieli et al. 2025 (ParaRNN; their z is 1 - z here).
    """

    hidden: int
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_initializers(self)

    @property
    def elementwise(self) -> bool:
        return True

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        b = (
            jnp.zeros((3, self.hidden), dtype)
            .at[1]
            .set(jnp.linspace(0, 1, self.hidden, dtype=dtype))
        )
        params = {**weights(key, size, self.hidden, dtype), "b": b.reshape(-1)}
        return initializers.replaced(self, key, params, w_x=3, w_h=3, b=GRU_KEEPS)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        z = matmul(xs, params["w_x"])
        return z + params["b"].astype(z.dtype)

    def gates(self, params: Params, state: jax.Array, z: jax.Array, dot: Dot) -> GRUGates:
        xr, xu, xn = jnp.split(z, 3, axis=-1)
        wr, wu, wn = jnp.split(params["w_h"].astype(state.dtype), 3)
        r, u = jax.nn.sigmoid(xr + wr * state), jax.nn.sigmoid(xu + wu * state)
        return GRUGates(r, u, jnp.tanh(xn + wn * (r * state)))

    def step(self, params: Params, state: jax.Array, z: jax.Array, dot: Dot) -> jax.Array:
        _, u, n = self.gates(params, state, z, dot)
        return (1 - u) * n + u * state

    def readout(self, params: Params, state: jax.Array, z: jax.Array) -> jax.Array:
        return output(state, params["w_h"])


class DiagonalGates(NamedTuple):
    """The gates of one step, each `[..., H]`, activated: forget, candidate, output."""

    f: jax.Array
    g: jax.Array
    o: jax.Array


class DiagonalLSTM(Cell):
    """An LSTM with diagonal recurrent weights, peepholes, and one minus the forget gate as its
    input gate.

        f = sigmoid(x @ w_x + w_h * h + p * c + b)
        g = tanh(x @ w_x + w_h * h + b)
        c' = f * c + (1 - f) * g
        o = sigmoid(x @ w_x + w_h * h + p * c' + b)
        h' = o * tanh(c')
        y = h'

    Each of f, g and o has its own block of the weights.

    Its Jacobian has a 2 x 2 block for each unit, which is what `Newton` scans. Stack it with
    `Dense` to mix units.

    Shapes: x `[..., F]`, state `LSTMState(h, c)` of `[..., H]`, y `[..., H]`. Params: `w_x [F,
    3H]`, `w_h [3H]`, `b [3H]` (blocks f, g, o), `p [2H]` (blocks f, o). The biases of f begin
    evenly spaced from 0 to -1, as in the paper.

    Args:
      hidden: H.
      w_x_init, w_h_init, b_init, p_init: initializers of `jax.nn.initializers`' protocol, called
        for each block by itself; those of `w_h` and `p` are vectors `[H]`.

    Raises:
      TypeError, ValueError: for a size below one, or an initializer that is none.

    Example:
      >>> cell = DiagonalLSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Newton())
      >>> ys.shape
      (5, 8)

    Danieli et al. 2025 (ParaRNN).
    """

    hidden: int
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_h_init: Initializer | None = None
    b_init: Initializer | None = None
    p_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_initializers(self)

    @property
    def elementwise(self) -> bool:
        return True

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kw, kp = jax.random.split(key)
        b = (
            jnp.zeros((3, self.hidden), dtype)
            .at[0]
            .set(-jnp.linspace(0, 1, self.hidden, dtype=dtype))
        )
        p = jax.random.normal(kp, (2 * self.hidden,), dtype) * 2 / (5 * self.hidden) ** 0.5
        params = {**weights(kw, size, self.hidden, dtype), "b": b.reshape(-1), "p": p}
        keeps = (1, 0, 0)  # f keeps, and what writes is 1 - f itself
        return initializers.replaced(self, key, params, w_x=3, w_h=3, b=keeps, p=2)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zero = jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))
        return LSTMState(zero, zero)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> jax.Array:
        z = matmul(xs, params["w_x"])
        return z + params["b"].astype(z.dtype)

    def gates(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> DiagonalGates:
        h, c = state
        f, g, o = jnp.split(
            z + params["w_h"].astype(h.dtype) * jnp.concatenate([h, h, h], axis=-1), 3, axis=-1
        )
        pf, po = jnp.split(params["p"].astype(h.dtype), 2)
        f, g = jax.nn.sigmoid(f + pf * c), jnp.tanh(g)
        return DiagonalGates(f, g, jax.nn.sigmoid(o + po * (f * c + (1 - f) * g)))

    def step(self, params: Params, state: LSTMState, z: jax.Array, dot: Dot) -> LSTMState:
        f, g, o = self.gates(params, state, z, dot)
        c = f * state.c + (1 - f) * g
        return LSTMState(o * jnp.tanh(c), c)

    def readout(self, params: Params, state: LSTMState, z: jax.Array) -> jax.Array:
        return output(state.h, params["w_h"])
