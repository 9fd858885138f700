"""`Dot`: the products that a step computes with its params."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.products import matmul

Path = tuple
Feed = Callable[[jax.Array, Path], jax.Array]  # a change of a product's input


class Dot:
    """Products and biases of one step.

        dot(x, "w_h")            x @ params["w_h"], cast and accumulated as in `matmul`
        dot(x, "w_h", 4, 8)      that product, cut before its columns 4 and 8
        dot(x, abs(w))           with a matrix that the step makes of its params
        dot["cell"](x, "w_h")    x @ params["cell"]["w_h"], for a cell wrapped in another
        dot.add(z, "b")          z + params["b"]
        dot.add(z, "b", 4)       z + as many columns of it as z has, from the fourth on

    Params are indexed as they are: a tuple by numbers, a dict by keys. The gradient of a param that
    the step only multiplies by or adds is computed after the loop, for all steps at once. Inside a
    loop or a branch of the step's own, where that is impossible, a product is a plain `@`.

    `place` is where a `vmap` puts its axis among the rows, as in `matmul`.
    """

    def __init__(self, params: Any, feed: Feed | None = None, path: Path = (), place: int = 1):
        self.params, self.feed, self.path, self.place = params, feed, path, place

    def __call__(self, x: jax.Array, name: Any, *cuts: int) -> Any:
        w = self.leaf(name)
        errors.check_product(self.path, name, x, w, cuts)
        if self.feed is not None:
            x = self.feed(x, (*self.path, _label(name)))
        y = matmul(x, w, self.place)
        if not cuts:
            return y
        ends = (0, *cuts, y.shape[-1])
        sizes = tuple(b - a for a, b in pairwise(ends))
        return tuple(jax.lax.split(y, sizes, y.ndim - 1))

    def add(self, z: jax.Array, name: Any, start: int = 0) -> jax.Array:
        b = self.leaf(name)
        errors.check_bias(self.path, name, z, b, start)
        if start or b.shape[-1] != z.shape[-1]:
            b = b[..., start : start + z.shape[-1]]
        return z + jnp.broadcast_to(b.astype(z.dtype), z.shape)

    def __getitem__(self, key: Any) -> Dot:
        return Dot(self.leaf(key), self.feed, (*self.path, key), self.place)

    def leaf(self, name: Any) -> Any:
        """The param of this name; an array stands for itself."""
        if hasattr(name, "ndim"):
            return name
        try:
            return self.params[name]
        except (KeyError, IndexError, TypeError) as error:
            raise errors.no_param(self.path, name, self.params) from error

    def fed(self, feed: Feed) -> Dot:
        """These products with `feed(x, path)` in the place of their inputs x; paths begin here."""
        outer, prefix = self.feed, self.path
        if outer is None:
            return Dot(self.params, feed, (), self.place)
        return Dot(
            self.params, lambda x, path: outer(feed(x, path), (*prefix, *path)), (), self.place
        )


def _label(name: Any) -> Any:
    """A matrix that has no name is known by its shape."""
    return name.shape if hasattr(name, "ndim") else name
