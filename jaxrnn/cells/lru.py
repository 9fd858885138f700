"""Complex diagonal linear cells: the linear recurrent unit and S5."""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, state_dtype
from jaxrnn.autodiff.constant import constant
from jaxrnn.autodiff.products import matmul
from jaxrnn.autodiff.transitions import Complex, multiply_all_steps
from jaxrnn.cell import LinearCell, Noise, Params
from jaxrnn.initializers import Initializer

LEAST = 1e-6  # how near |a|^2 comes to 0 and 1, and the phase to 0


class DiagonalInputs(NamedTuple):
    """The inputs as the loop reads them: what is added to the state, and what skips the state on
    its way to the output, `[..., F]`.
    """

    drive: Complex
    skip: jax.Array


class ComplexDiagonal(LinearCell):
    """`h' = a h + gain (x @ w_x)`, `y = (Re h, Im h) @ w_y + d x`, with a complex diagonal `a`; an
    author writes `init` and `transition`.

    Complex numbers are pairs of real arrays: `w_x [F, 2N]` has real parts before imaginary ones,
    and so do the rows of `w_y [2N, F]`.
    """

    hidden: int
    _: KW_ONLY
    w_x_init: Initializer | None = None
    w_y_init: Initializer | None = None
    d_init: Initializer | None = None

    @abc.abstractmethod
    def transition(self, params: Params) -> tuple[Complex, Complex]:
        """`a` and `gain`, each `[N]`."""

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Complex:
        zero = jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_x"]))
        return Complex(zero, zero)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> DiagonalInputs:
        z = matmul(xs, params["w_x"])
        drive = multiply_all_steps(
            self.transition(params)[1], Complex(z[..., : self.hidden], z[..., self.hidden :])
        )
        return DiagonalInputs(drive, xs.astype(z.dtype) * params["d"].astype(z.dtype))

    def coefficients(self, params: Params, z: DiagonalInputs) -> tuple[Complex, Complex]:
        return self.transition(params)[0], z.drive

    def readout(self, params: Params, state: Complex, z: DiagonalInputs) -> jax.Array:
        y = matmul(jnp.concatenate([state.re, state.im], axis=-1), params["w_y"]) + z.skip
        return y.astype(params["w_y"].dtype)


def wide(params: Params, *names: str) -> list[jax.Array]:
    """The named params in the state's dtype."""
    dtype = state_dtype(params["w_x"])
    return [params[name].astype(dtype) for name in names]


def exponential(log: Complex) -> Complex:
    """`exp` of a complex number, in real arrays."""
    size = jnp.exp(log.re)
    return Complex(size * jnp.cos(log.im), size * jnp.sin(log.im))


class LRU(ComplexDiagonal):
    """The linear recurrent unit: a complex diagonal recurrence, its eigenvalues drawn on a ring.

        a = exp(-exp(nu) + i exp(theta))
        h' = a h + exp(gamma) (x @ W_x)
        y = Re(h @ W_y) + d x

    It begins with |a|^2 uniform between `r_min`^2 and `r_max`^2, the phase uniform up to
    `max_phase`, and `exp(gamma) = sqrt(1 - |a|^2)`: with white noise as input, the state then has
    the same variance at every |a|. For long memory set `r_min` near 1.

    Shapes: x `[..., F]`, state `Complex` of two `[..., N]`, y `[..., F]`.
    Params: `w_x [F, 2N]` (real parts, imaginary parts), `w_y [2N, F]`, `d [F]`, `nu`, `theta`,
    `gamma [N]`.

    Args:
      hidden: N, the number of complex states.
      r_min, r_max: the ring, 0 <= r_min < r_max <= 1.
      max_phase: the largest phase, in radians, up to 2 pi.
      w_x_init, w_y_init, d_init: initializers of `jax.nn.initializers`' protocol for the maps in
        and out, that of `w_x` called for real and imaginary parts apart. The eigenvalues keep their
        own draw, by the ring and the phase.

    Raises:
      TypeError, ValueError: for a size below one, an empty ring, a phase out of its range, or an
        initializer that is none.

    Example:
      >>> cell = LRU(8, r_min=0.9, r_max=0.999)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 3)

    Orvieto et al. 2023.
    """

    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 2 * math.pi

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_ring(self, self.r_min, self.r_max)
        errors.check_range(self, "max_phase", self.max_phase, LEAST, 2 * math.pi)
        errors.check_initializers(self)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kr, kp, kx, ky, kd = jax.random.split(key, 5)
        # Away from 0 and 1, where the logarithms are infinite.
        square = jax.random.uniform(
            kr, (self.hidden,), dtype, self.r_min**2 + LEAST, self.r_max**2 - LEAST
        )
        phase = jax.random.uniform(kp, (self.hidden,), dtype, LEAST, self.max_phase)
        params = {
            "w_x": jax.random.normal(kx, (size, 2 * self.hidden), dtype) / math.sqrt(2 * size),
            "w_y": jax.random.normal(ky, (2 * self.hidden, size), dtype) / math.sqrt(self.hidden),
            "d": jax.random.normal(kd, (size,), dtype),
            "nu": jnp.log(-0.5 * jnp.log(square)),
            "theta": jnp.log(phase),
            "gamma": 0.5 * jnp.log1p(-square),
        }
        return initializers.replaced(self, key, params, w_x=2)

    def transition(self, params: Params) -> tuple[Complex, Complex]:
        nu, theta, gamma = wide(params, "nu", "theta", "gamma")
        return exponential(Complex(-jnp.exp(nu), jnp.exp(theta))), Complex(
            jnp.exp(gamma), jnp.zeros_like(gamma)
        )


class S5(ComplexDiagonal):
    """The simplified structured state-space layer: a diagonal continuous-time system, sampled with
    a learned step.

        a = exp(l D)
        gain = (a - 1) / l              the input stays constant between samples
        h' = a h + gain (x @ W_x)
        y = Re(h @ W_y) + d x

    `l` are the eigenvalues of the normal part of the HiPPO-LegS matrix, one of each conjugate pair
    (for the other, `W_y` counts twice). `W_x` and `W_y` begin as random matrices in its eigenbasis,
    and the steps D are log-uniform between `step_min` and `step_max`.

    Shapes: x `[..., F]`, state `Complex` of two `[..., N]`, y `[..., F]`.
    Params: `w_x [F, 2N]` (real parts, imaginary parts), `w_y [2N, F]`, `d [F]`, `l_re`, `l_im`,
    `log_step [N]`.

    Args:
      hidden: N, the number of complex states, a multiple of `blocks`; they stand for 2N real ones.
      blocks: how many HiPPO matrices, each of size 2N / blocks, the system begins with.
      step_min, step_max: the range of the first D, in units of a time step.
      w_x_init, w_y_init, d_init: initializers of `jax.nn.initializers`' protocol for the maps in
        and out, that of `w_x` called for real and imaginary parts apart. The eigenvalues keep their
        own draw, by HiPPO and the steps.

    Raises:
      TypeError, ValueError: for a size below one, `hidden` no multiple of `blocks`, steps that are
        not positive and finite, or an initializer that is none.

    Example:
      >>> cell = S5(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), strategy=Associative())
      >>> ys.shape
      (5, 3)

    Smith et al. 2023; Gu et al. 2020 (HiPPO), 2022 (its diagonal part).
    """

    blocks: int = 1
    step_min: float = 1e-3
    step_max: float = 1e-1

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        errors.check_size(self, "blocks", self.blocks)
        if self.hidden % self.blocks:
            raise errors.error(
                ValueError,
                self,
                f"hidden={self.hidden}",
                f"a multiple of blocks={self.blocks}",
                "Change one of them.",
            )
        errors.check_number(self, "step_min", self.step_min, "Pass step_min=1e-3, say.")
        errors.check_range(self, "step_max", self.step_max, 0.0)
        errors.check_initializers(self)
        if not 0 < self.step_min <= self.step_max:
            got = f"step_min={self.step_min!r}, step_max={self.step_max!r}"
            raise errors.error(
                ValueError,
                self,
                got,
                "0 < step_min <= step_max",
                "Leave them as they are, or divide them by the length.",
            )

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        kx, ky, kd, ks = jax.random.split(key, 4)
        own, n = (self.hidden, self.blocks), self.hidden
        w_x = jax.random.normal(kx, (size, 2 * self.hidden), dtype) / math.sqrt(size)
        w_y = jax.random.normal(ky, (2, 2 * self.hidden, size), dtype) / math.sqrt(2 * self.hidden)
        # x @ W conj(V); and (C V) h for the complex C = w_y[0] + i w_y[1]; its real part meets (Re
        # h, Im h) as the rows (Re CV, -Im CV).
        re, im = (constant(eigenbasis, (*own, i), (n, 2 * n), dtype) for i in range(2))
        l_re, l_im = (constant(eigenvalues, (*own, i), (n,), dtype) for i in range(2))
        params = {
            "w_x": w_x @ jnp.concatenate([re.T, -im.T], axis=-1),
            "w_y": jnp.concatenate([re @ w_y[0] - im @ w_y[1], -(re @ w_y[1] + im @ w_y[0])])
            * 2
            / math.sqrt(2),
            "d": jax.random.normal(kd, (size,), dtype),
            "l_re": l_re,
            "l_im": l_im,
            "log_step": jax.random.uniform(
                ks, (self.hidden,), dtype, math.log(self.step_min), math.log(self.step_max)
            ),
        }
        return initializers.replaced(self, key, params, w_x=2)

    def transition(self, params: Params) -> tuple[Complex, Complex]:
        re, im, log_step = wide(params, "l_re", "l_im", "log_step")
        step = jnp.exp(log_step)
        a = exponential(Complex(re * step, im * step))
        # (a - 1) / l, by the conjugate of l
        size = re * re + im * im
        return a, Complex(
            ((a.re - 1) * re + a.im * im) / size, (a.im * re - (a.re - 1) * im) / size
        )


def eigenbasis(hidden: int, blocks: int, part: int) -> np.ndarray:
    """The real or imaginary part of the eigenvectors of all blocks, transposed: `[N, 2N]`."""
    basis = np.kron(np.eye(blocks), hippo(2 * hidden // blocks)[1])  # [2N, N]
    return np.ascontiguousarray((basis.real, basis.imag)[part].T)


def eigenvalues(hidden: int, blocks: int, part: int) -> np.ndarray:
    """The real or imaginary part of the eigenvalues of all blocks, `[N]`."""
    values = np.tile(hippo(2 * hidden // blocks)[0], blocks)
    return (np.real(values), np.imag(values))[part]


@functools.lru_cache(1)  # asked for four times by one `init`
def hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues with a positive imaginary part, and their eigenvectors `[size, size / 2]`, of the
    normal part of HiPPO-LegS.
    """
    n = np.arange(size)
    p, q = np.sqrt(1 + 2 * n), np.sqrt(n + 0.5)
    normal = -(np.tril(np.outer(p, p)) - np.diag(n)) + np.outer(q, q)
    # Its diagonal is -1/2 and the rest is skew-symmetric: i times a Hermitian matrix.
    values, vectors = np.linalg.eigh(-1j * (normal + 0.5 * np.eye(size)))
    return -0.5 + 1j * values[size // 2 :], vectors[:, size // 2 :]
