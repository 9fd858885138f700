"""A cell with both of PyTorch's biases, for training that follows it step by step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import GRU, LSTM, Composite, Elman, PeepholeLSTM, errors


class TwoBiases(Composite):
    """A cell whose bias is the sum of two, each trained by itself.

        cell with b = b + b_h

    An optimizer moves the sum of two biases twice as far as one. So a run that is to repeat one of
    PyTorch's keeps both; for a run of its own the one bias of the cell is enough. A `GRU` with the
    reset after has two in its candidate already, `b` and `b_n`, so its `b_h` is that of the gates r
    and z alone.

    Params: those of the cell, and `b_h [G*H]`, for a `GRU` with the reset after `[2*H]`. State: the
    one-tuple of the cell's.

    Args:
      cell: an `LSTM`, a `PeepholeLSTM`, a `GRU` or an `Elman` cell.

    Raises:
      TypeError: for another cell.

    Example:
      >>> cell = TwoBiases(LSTM(8))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> params["b"].shape == params["b_h"].shape
      True
    """

    cell: Any

    def __post_init__(self) -> None:
        if not isinstance(self.cell, (LSTM, PeepholeLSTM, GRU, Elman)):
            raise errors.no_second_bias(self.cell)

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.cell,)

    def init(self, key: jax.Array, x: Any) -> Any:
        params = self.cell.init(key, x)
        gates = 2 * self.cell.hidden if "b_n" in params else None
        return params | {"b_h": jnp.zeros_like(params["b"][:gates])}

    def split(self, params: Any) -> tuple[Any, ...]:
        b, second = params["b"], params["b_h"]
        both = {"b": jnp.concatenate([b[: len(second)] + second, b[len(second) :]])}
        return ({name: leaf for name, leaf in params.items() if name != "b_h"} | both,)

    def compose(self, params: Any, x: Any, child: Any) -> Any:
        return child(0, x)


def with_biases(cell: Any, params: Any, biases: str) -> tuple[Any, Any]:
    """The cell for params with `b` and `b_h`: itself with their sum, or, to keep "both", in a
    `TwoBiases`.
    """
    two = TwoBiases(cell)
    return (two, params) if biases == "both" else (cell, two.split(params)[0])
