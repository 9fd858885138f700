"""Functions of params to params that `TransformedWeights` applies, and one that also takes a key.

Each acts on every leaf whose last key is among its `names`, however deep the cell it belongs to.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.cell import Params
from jaxrnn.fields import frozen
from jaxrnn.layers.noise import drop

Names = tuple[str, ...]
RECURRENT: Names = ("w_h",)


@frozen
class Dale:
    """Dale's law: a unit excites all that it reaches, or inhibits all.

        w = abs(raw) * sign[:, None],  sign = 1 for the first round(excitatory * H) units, else -1

    A row of `w_h [H, G*H]` is what one unit sends, to every gate. A unit does what its sign says
    only where its output is not negative: with `Elman(H, "relu")`, say. A raw weight of exactly
    zero has no gradient.

    Args:
      excitatory: the share of units that excite, from 0 to 1.
      names: the keys of the weights, matrices `[H, ...]` each.

    Raises:
      TypeError, ValueError: for a share outside [0, 1] or names that are no tuple of strings; when
        it is applied, where no leaf has such a name or one is no matrix.

    Example:
      >>> cell = TransformedWeights(Elman(5, "relu"), Dale(0.8))
      >>> w = cell.transformed(cell.init(jax.random.key(0), features(3)))["w_h"]
      >>> bool((w[:4] >= 0).all() and (w[4:] <= 0).all())
      True

    Dale 1935; in recurrent networks that are trained: Song, Yang & Wang 2016.
    """

    excitatory: float = 0.8
    names: Names = RECURRENT

    def __post_init__(self) -> None:
        errors.check_share(self, "excitatory", self.excitatory)
        errors.check_names(self, self.names)

    def __call__(self, params: Params) -> Params:
        def signed(w: jax.Array, i: int) -> jax.Array:
            errors.check_matrix(self, w)
            excites = jnp.arange(w.shape[0]) < round(self.excitatory * w.shape[0])
            return jnp.where(excites[:, None], jnp.abs(w), -jnp.abs(w))

        return at(self, params, signed)


@frozen
class Masked:
    """Only some connections exist.

        w = raw where mask(raw.shape), else 0

    Args:
      mask: a function of a leaf's shape, `[H, G*H]` for `w_h`, to booleans of that shape or one
        that broadcasts to it. It is static: define it once, since a new function is traced anew.
        For a constant mask, write a function that returns it.
      names: the keys of the weights.

    Raises:
      TypeError, ValueError: for a mask that cannot be called or hashed, or names that are no tuple
        of strings; when it is applied, where no leaf has such a name, or the mask has another
        shape.

    Example:
      >>> def ring(shape):  # each unit hears itself and the one before it, in every gate
      ...     sends, hears = jnp.indices(shape)
      ...     return (hears - sends) % shape[0] < 2
      >>> cell = TransformedWeights(GRU(8), Masked(ring))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> int((cell.transformed(params)["w_h"] != 0).sum())
      48

    As part of a model of cortex: Song, Yang & Wang 2016.
    """

    mask: Callable[[tuple[int, ...]], Any]
    names: Names = RECURRENT

    def __post_init__(self) -> None:
        errors.check_static_function(self, "mask", self.mask)
        errors.check_names(self, self.names)

    def __call__(self, params: Params) -> Params:
        def cut(w: jax.Array, i: int) -> jax.Array:
            mask = jnp.asarray(self.mask(w.shape)).astype(bool)
            errors.check_connections(self, mask, w)
            return jnp.where(mask, w, 0)

        return at(self, params, cut)


@frozen
class SpectralNorm:
    """Weights with a fixed spectral norm, the most by which they lengthen a vector.

        w = bound * raw / ||raw||_2,  the largest singular value, computed exactly

    The norm is that of a whole leaf, the blocks of all gates side by side; a weight of zeros stays
    as it is. A singular value decomposition takes O(H^3) once a sequence. Second derivatives need
    singular values that differ. Those of an orthogonal weight, which many cells begin with, do not,
    so the first step must not use second derivatives.

    Args:
      bound: the norm, above 0.
      names: the keys of the weights, matrices each.

    Raises:
      TypeError, ValueError: for a bound that is not above 0 or names that are no tuple of strings;
        when it is applied, where no leaf has such a name or one is no matrix.

    Example:
      >>> cell = TransformedWeights(Elman(8), SpectralNorm(0.9))
      >>> w = cell.transformed(cell.init(jax.random.key(0), features(3)))["w_h"]
      >>> round(float(jnp.linalg.norm(w, 2)), 3)
      0.9

    Called `nn.utils.parametrizations.spectral_norm` in PyTorch, `nn.SpectralNorm` in Flax,
    `SpectralNormalization` in Keras; all three estimate the norm by power iteration.

    Miyato et al. 2018, who follow the norm by one step of a power iteration an update.
    """

    bound: float = 1.0
    names: Names = RECURRENT

    def __post_init__(self) -> None:
        errors.check_positive(self, "bound", self.bound)
        errors.check_names(self, self.names)

    def __call__(self, params: Params) -> Params:
        def normalised(w: jax.Array, i: int) -> jax.Array:
            errors.check_matrix(self, w)
            # There is no decomposition in bfloat16.
            raw = w.astype(wide(w.dtype))
            norm = jnp.linalg.norm(raw, 2)
            return (raw * (self.bound / jnp.where(norm > 0, norm, 1))).astype(w.dtype)

        return at(self, params, normalised)


@frozen
class Orthogonal:
    """Orthogonal weights, each gate's block by itself: they keep the length of every vector.

        w = expm((raw - raw.T) / 2)

    The exponential of an antisymmetric matrix is a rotation, and every rotation is one: orthogonal
    matrices of determinant 1. So training needs no constraint, and raw weights that are
    antisymmetric, as `initializers.Rotations` draws them, say by which angles planes are turned. It
    takes O(H^3) once a sequence; a product of H Householder reflections takes as much, in H steps
    that wait for one another. Rounding errors grow with the largest angle: in float32 the weight is
    orthogonal to 1e-5 at some hundreds of radians.

    Args:
      names: the keys of the weights, `[H, G*H]` each.

    Raises:
      TypeError, ValueError: for names that are no tuple of strings; when it is applied, where no
        leaf has such a name or one is not made of square blocks.

    Example:
      >>> cell = TransformedWeights(Elman(8, "modrelu"), Orthogonal())
      >>> w = cell.transformed(cell.init(jax.random.key(0), features(3)))["w_h"]
      >>> bool(jnp.allclose(w.T @ w, jnp.eye(8), atol=1e-5))
      True

    Called `nn.utils.parametrizations.orthogonal` in PyTorch.

    Lezcano-Casado & Martinez-Rubio 2019 (expRNN). Householder reflections: Mhammedi et al. 2017.
    """

    names: Names = RECURRENT

    def __post_init__(self) -> None:
        errors.check_names(self, self.names)

    def __call__(self, params: Params) -> Params:
        def rotation(w: jax.Array, i: int) -> jax.Array:
            errors.check_blocks(self, w)
            size = w.shape[0]
            raw = w.astype(wide(w.dtype)).reshape(size, -1, size).swapaxes(0, 1)
            # A product in bfloat16, as accelerators take them, would lose the orthogonality.
            with jax.default_matmul_precision("highest"):
                blocks = jax.scipy.linalg.expm((raw - raw.mT) / 2)
            return blocks.swapaxes(0, 1).reshape(w.shape).astype(w.dtype)

        return at(self, params, rotation)


@frozen
class WeightDrop:
    """Weights of which some are dropped, the same ones at every step and for every row.

        w = m * raw / (1 - rate),  each entry of m one with probability 1 - rate, else zero

    It is a function of params and a key. Call it before the verb, once for each sequence, and leave
    it out in evaluation. `TransformedWeights` cannot apply it: the key of a verb reaches a cell in
    `project`, whose result has a time axis. A mask of a weight `[H, G*H]` for each of T steps would
    be T times the size of the weight.

    Args:
      rate: the probability of dropping, in [0, 1).
      names: the keys of the weights.

    Raises:
      TypeError, ValueError: for a rate outside [0, 1) or names that are no tuple of strings; when
        it is applied, where no leaf has such a name.

    Example:
      >>> cell, dropped = LSTM(8), WeightDrop(0.5)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> def loss(params, xs, key):
      ...     return jnp.mean(unroll(cell, dropped(params, key), xs, strategy=Chunked(4))[1] ** 2)
      >>> grads = jax.grad(loss)(params, jnp.ones((9, 3)), jax.random.key(1))
      >>> grads["w_h"].shape
      (8, 32)

    Merity, Keskar & Socher 2017; on other networks: Wan et al. 2013.
    """

    rate: float
    names: Names = RECURRENT

    def __post_init__(self) -> None:
        errors.check_rate(self, "rate", self.rate)
        errors.check_names(self, self.names)

    def __call__(self, params: Params, key: jax.Array) -> Params:
        def dropped(w: jax.Array, i: int) -> jax.Array:
            keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - float(self.rate), w.shape)
            return drop(w, keep, self.rate)

        return at(self, params, dropped)


def at(transform: Any, params: Params, f: Callable[[jax.Array, int], jax.Array]) -> Params:
    """`f(leaf, i)` in place of every leaf whose last key the transform names, the i-th of them."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    made = []
    count = 0
    for path, w in leaves:
        if path and getattr(path[-1], "key", None) in transform.names:
            w = f(w, count)
            count += 1
        made.append(w)
    if not count:
        raise errors.no_such_weights(transform, params)
    return jax.tree.unflatten(tree, made)
