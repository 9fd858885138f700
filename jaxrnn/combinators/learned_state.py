"""A cell whose first state is learned."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.composite import Child, Composite
from jaxrnn.layer import Layer, Params, State


class LearnedState(Composite):
    """A cell that begins, and begins again at every reset, from a state among its params.

        s_0 = params["state"], the same for every row;  y = cell(x)

    Params: `cell`, the cell's own, and `state`, a state without batch axes, zero (the cell's own
    initial state) at first. State: the one-tuple of the cell's. A state passed to a verb is used
    in place of the learned one.

    Args:
      cell: any cell, composites too: then the states of all cells in it are learned.

    Raises:
      TypeError: unless `cell` is a cell.

    Example:
      >>> net = LearnedState(Stack((LSTM(8), LSTM(4))))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> params["state"][1].h.shape
      (4,)

    Forcada & Carrasco 1995.
    """

    cell: Layer

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Layer)

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.cell,)

    def split(self, params: Params) -> tuple[Params, ...]:
        return (params["cell"],)

    def init(self, key: jax.Array, x: Any) -> Params:
        params = self.cell.init(key, x)
        return {"cell": params, "state": self.cell.initial_state(params)}

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return {**params, "cell": self.cell.bind(params["cell"], memory, mask)}

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        def broadcast(learned: jax.Array, own: jax.Array) -> jax.Array:
            return jnp.broadcast_to(learned.astype(own.dtype), own.shape)

        own = self.cell.initial_state(params["cell"], batch_shape)
        return (jax.tree.map(broadcast, params["state"], own),)

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        return child(0, x)
