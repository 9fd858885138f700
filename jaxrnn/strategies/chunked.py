"""Time cut into chunks, each rematerialised in the backward pass."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff._jax import at_least, fixed
from jaxrnn.cell import Cell
from jaxrnn.controls import Piece
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Block, Strategy


class Chunked(Strategy):
    """Chunks of `size` steps, one after another; only states pass from chunk to chunk.

    With `remat` the backward pass keeps one state a chunk and computes the chunk again (Chen et al.
    2016). That takes memory for T / size states and one chunk's activations, least near size =
    sqrt(T), and the time of one more forward pass. A whole causal network is cut at once, layer by
    layer within a chunk, with its projections and, in `fold`, its loss; a network that looks ahead
    is cut direction by direction. T need not be a multiple of `size`. A symbolic T of `jax.export`
    must be, as in `symbolic_shape("64*k")`, or it is run at once.

    Args:
      size: the steps of a chunk; all of them at once where T is smaller.
      remat: compute a chunk again in the backward pass; without it chunks only bound the memory of
        the forward pass.
      inner: how the steps of a chunk are evaluated; another `Chunked` cuts it again.

    Raises:
      TypeError, ValueError: for a size that is no positive integer, a `remat` that is no bool, or
        an `inner` that is no strategy.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Chunked(7))
      >>> ys.shape
      (50, 8)
    """

    size: int
    remat: bool = True
    inner: Strategy = Scan()

    def __post_init__(self) -> None:
        errors.check_size(self, "size", self.size, "Near sqrt(T) takes the least memory.")
        errors.check_flag(self, "remat", self.remat)
        if not isinstance(self.inner, Strategy):
            raise errors.wrong_strategy(self, self.inner, "inner")

    def cut(self, block: Block, carry: Any, length: Any, reverse: bool) -> tuple[Any, Any]:
        size = self.size
        count, rest = divmod(length, size)
        if not at_least(length, size + 1) or not fixed(rest):
            return block(carry, 0, length)

        def piece(carry: Any, start: Any, size: Any) -> tuple[Any, Any]:
            def inner(carry: Any, start: Any) -> tuple[Any, Any]:
                # The block slices its inputs itself, inside the checkpoint, so that no slice is
                # kept for the backward pass.
                def at(carry: Any, begin: Any, size: Any) -> tuple[Any, Any]:
                    return block(carry, start + begin, size)

                return self.inner.cut(at, carry, size, reverse)

            return (jax.checkpoint(inner, prevent_cse=False) if self.remat else inner)(carry, start)

        def body(carry: Any, i: Any) -> tuple[Any, Any]:
            return piece(carry, i * size, size)

        last = None
        if rest and reverse:
            carry, last = piece(carry, count * size, rest)
        carry, outs = jax.lax.scan(body, carry, jnp.arange(count), reverse=reverse)
        if rest and not reverse:
            carry, last = piece(carry, count * size, rest)
        outs = jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), outs)
        if rest:
            outs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, last)
        return carry, outs

    def loops(self, cell: Any) -> bool:
        return self.inner.loops(cell)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        return self.inner.run(cell, params, piece)
