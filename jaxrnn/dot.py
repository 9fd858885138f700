"""The recurrent matmul that a step is handed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.products import matmul

Path = tuple


def lookup(params: Any, path: Path) -> jax.Array:
    for key in path:
        params = params[key]
    return params


def blocks(y: jax.Array, cuts: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """y cut into blocks of columns."""
    return tuple(jnp.split(y, cuts, -1)) if cuts else (y,)


Product = Callable[[jax.Array, Path, tuple[int, ...]], tuple[jax.Array, ...]]
Plus = Callable[[jax.Array, Path, int], jax.Array]


class Dot:
    """The recurrent matmul a step is handed: `dot(x, "w_h")` is `x @ params["w_h"]`, and `dot["cell"](x, "w_h")` is
    `x @ params["cell"]["w_h"]`, for a cell wrapped in another. `dot(x, "w_h", 4, 8)` is that product cut before its columns 4 and 8, which costs
    less than to cut it afterwards where one block is added to z and another is not. `dot.add(z, "b")` is `z + params["b"]`, and `dot.add(z, "b", 4)`
    adds as many columns as z has, from the fourth on.

    The gradients of these params are taken after the loop, for all steps at once. Call it in the step itself, not in a loop inside it.
    """

    def __init__(self, product: Product, plus: Plus, path: Path = ()):
        self.product, self.plus, self.path = product, plus, path

    def __call__(self, x: jax.Array, name: Any, *cuts: int) -> Any:
        made = self.product(x, (*self.path, name), cuts)
        return made if cuts else made[0]

    def add(self, z: jax.Array, name: Any, start: int = 0) -> jax.Array:
        return self.plus(z, (*self.path, name), start)

    def __getitem__(self, key: Any) -> Dot:
        return Dot(self.product, self.plus, (*self.path, key))

    @classmethod
    def plain(cls, params: Any) -> Dot:
        """Products alone, for a step outside the loop."""
        return cls(_product(params), _plus(params))


def columns(params: Any, path: Path, start: int, like: jax.Array) -> jax.Array:
    """As many columns of a bias as `like` has, from `start` on, in its dtype."""
    b = lookup(params, path)
    whole = start == 0 and b.shape[-1] == like.shape[-1]
    return (b if whole else b[..., start : start + like.shape[-1]]).astype(like.dtype)


def _product(params: Any) -> Product:
    return lambda x, path, cuts: blocks(matmul(x, lookup(params, path)), cuts)


def _plus(params: Any) -> Plus:
    return lambda z, path, start: z + columns(params, path, start, z)
