"""Cells one on top of another."""

from typing import Any

from jaxrnn import errors
from jaxrnn.composite import Child, Composite
from jaxrnn.layer import Layer, Params


class Stack(Composite):
    """Cells in a row, each fed the output of the one before; widths may differ by layer.

        y = cells[n-1](... cells[1](cells[0](x)))

    Params and state are the tuples of the cells' own.

    Args:
      cells: a tuple of cells, at least one; recurrent or not, composites too.

    Raises:
      TypeError: unless `cells` is a tuple of cells.

    Example:
      >>> net = Stack((Embed(256, 16), LSTM(32), Dense(256)))
      >>> params = net.init(jax.random.key(0), TOKEN)

    Called `nn.Sequential` in PyTorch and Flax, `Sequential` in Keras; for equal layers,
    `num_layers` in PyTorch.
    """

    cells: tuple[Layer, ...]

    def __post_init__(self) -> None:
        errors.check_cells(self, self.cells, Layer)

    @property
    def children(self) -> tuple[Layer, ...]:
        return self.cells

    @property
    def chain(self) -> bool:
        return True

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        for i in range(len(self.cells)):
            x = child(i, x)
        return x
