"""The strategy that chooses a strategy."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jaxrnn.autodiff._jax import fixed
from jaxrnn.axes import steps
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.composite import Composite
from jaxrnn.controls import Piece
from jaxrnn.layer import Layer
from jaxrnn.strategies.associative import Associative
from jaxrnn.strategies.chunked import Chunked
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Block, Strategy

LONG = 32_768  # steps from which memory matters more than the fifth of the time that chunks cost


class Choice(NamedTuple):
    """The strategy that `Auto` chooses for a cell, and why."""

    cell: Cell
    strategy: Strategy
    reason: str


class Auto(Strategy):
    """Chooses from the cell and the shapes; `select` shows what and why.

    It runs a `LinearCell` by `Associative` and any other cell by `Scan`. From 32,768 steps on, it
    cuts time by `Chunked` into chunks of about sqrt(T). It never chooses `Newton`, whose
    convergence depends on the params.

    Example:
      >>> net = Stack((GRU(8), LRU(8)))
      >>> for choice in Auto().select(net, jnp.ones((50, 3))):
      ...     print(type(choice.cell).__name__, choice.strategy)
      GRU Scan(unroll=1)
      LRU Associative(radix=None, fallback=None, axis=None)
    """

    def select(self, cell: Layer, xs: Any) -> tuple[Choice, ...]:
        """The choice for each cell with a loop, over inputs `[T, ...]`, in the network's order."""
        if isinstance(cell, Composite):
            return tuple(choice for child in cell.children for choice in self.select(child, xs))
        if not isinstance(cell, Cell):
            return ()
        strategy, reason = inner(cell)
        chunks = chunked(steps(xs))
        if chunks is None:
            return (Choice(cell, strategy, reason),)
        why = f"{reason}; in chunks of {chunks.size}, since {steps(xs):,} steps at once take memory"
        why += ", and these a fifth more time"
        return (Choice(cell, Chunked(chunks.size, inner=strategy), why),)

    def cut(
        self, block: Block, carry: Any, inputs: Any, length: Any, reverse: bool
    ) -> tuple[Any, Any]:
        return (chunked(length) or Scan()).cut(block, carry, inputs, length, reverse)

    def loops(self, cell: Any) -> bool:
        return inner(cell)[0].loops(cell)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        return inner(cell)[0].run(cell, params, piece)


def inner(cell: Cell) -> tuple[Strategy, str]:
    """The strategy for one cell, and the reason."""
    if isinstance(cell, LinearCell):
        how = "one loop on a CPU, chunks of time side by side elsewhere"
        return Associative(), f"it is linear: {how}, with a derivative of its own"
    return Scan(), "it is not linear, and whether Newton converges depends on its params"


def chunked(length: Any) -> Chunked | None:
    """Chunks of about sqrt(T) steps for a long sequence, None for a short one and for a symbol."""
    long = fixed(length) and length >= LONG
    return Chunked(2 ** round(math.log2(length) / 2)) if long else None
