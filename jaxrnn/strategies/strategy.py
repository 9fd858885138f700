"""The base of every strategy: how it cuts time, and how it runs one cell within a piece."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, dataclass_transform

import jax

from jaxrnn.cell import Cell
from jaxrnn.controls import Piece
from jaxrnn.fields import frozen

# block(carry, inputs [size, ...], size) -> (carry, outputs [size, ...])
Block = Callable[[Any, Any, Any], tuple[Any, Any]]


@dataclass_transform(frozen_default=True)
@frozen
class Strategy(abc.ABC):
    """How a sequence is evaluated, as a frozen value: it hashes, and is static under jit."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        frozen(cls)
        jax.tree_util.register_static(cls)

    def cut(
        self, block: Block, carry: Any, inputs: Any, length: Any, reverse: bool
    ) -> tuple[Any, Any]:
        """Run a causal network over all T steps, by default all at once.

        `block` runs it over a piece of `size` steps, with that part of `inputs`, a pytree of
        arrays `[T, ...]`. Pieces follow one another in time or, reversed, from the last to the
        first.
        """
        return block(carry, inputs, length)

    def loops(self, cell: Any) -> bool:
        """Whether this cell's steps are run one after another, so that its time may be cut where
        nothing is differentiated.
        """
        return False

    @abc.abstractmethod
    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        """One cell's recurrence over a piece: the last state and all states `[T, ...]`."""
