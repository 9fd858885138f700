"""Layers side by side, a chunk of time apart."""

from typing import Any

from jaxrnn import errors
from jaxrnn.cell import Cell
from jaxrnn.controls import Piece
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Strategy


class Wavefront(Strategy):
    """Equal cells of a `Stack` side by side: the first layer runs a chunk of time, while the second
    runs the chunk before it, and so on.

        stage s:   layer l runs chunk s - l        l = 0 ... L-1,   s = 0 ... T / size + L - 2

    On a GPU or a TPU the layers of a stage are one loop of batched products. So L layers take
    `(T + (L - 1) size)` steps of one layer, where `Scan` takes `L T`: compiled for an H100, a step
    of such a loop launches what one layer's does. A CPU runs one layer after the other. Compiled
    and counted, not timed.

    In a row are cells that are equal and have a loop under `Scan`, with layers that have no state
    (`Dropout`, norms, `Dense`) between. Other layers, a `LinearCell` among them, and T below
    `2 size`, are run as `Scan` runs them. Weights of the first layer's input may be of another
    size.

    Args:
      size: the steps of a chunk. Small ones waste few stages, large ones few launches.
      inner: the scan of a chunk.

    Raises:
      TypeError, ValueError: for a size that is no positive integer, and an `inner` that is no
        `Scan`.

    Example:
      >>> net = Stack((GRU(8), Dropout(0.1), GRU(8), Dense(2)))
      >>> params = net.init(jax.random.key(0), 3)
      >>> state, ys = unroll(net, params, jnp.ones((50, 3)), strategy=Wavefront(10))

    Appleyard, Kocisky & Blunsom 2016.
    """

    size: int = 32
    inner: Scan = Scan()

    def __post_init__(self) -> None:
        errors.check_size(self, "size", self.size, "A quarter of T or less, say 32.")
        if not isinstance(self.inner, Scan):
            raise errors.wrong_strategy(self, self.inner, "inner")

    def loops(self, cell: Any) -> bool:
        return self.inner.loops(cell)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        return self.inner.run(cell, params, piece)
