"""A cell whose input is added to its output."""

from typing import Any

from jaxrnn import errors
from jaxrnn.composite import Child, Composite
from jaxrnn.layer import Layer, Params


class Residual(Composite):
    """A cell with a path around it.

        y = x + cell(x)

    Shapes: x and y `[..., F]`; the cell must keep the width F. Params and state: the one-tuples of
    the cell's.

    Args:
      cell: any cell, composites too.

    Raises:
      TypeError: unless `cell` is a cell.
      ValueError: while tracing, where the cell does not keep the width.

    Example:
      >>> net = Stack((LSTM(8), Residual(LSTM(8)), Dense(4)))
      >>> params = net.init(jax.random.key(0), features(3))

    He et al. 2016.
    """

    cell: Layer

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Layer)

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.cell,)

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        y = child(0, x)
        errors.check_array(self, "its cell's output", y)
        if x.shape != y.shape:
            raise errors.residual_width(self, self.cell, x, y)
        return x.astype(y.dtype) + y
