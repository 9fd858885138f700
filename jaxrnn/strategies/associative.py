"""Linear cells, evaluated in parallel over time."""

from __future__ import annotations

from typing import Any

from jaxrnn import errors
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.controls import Piece
from jaxrnn.strategies.linear_cell import linear
from jaxrnn.strategies.strategy import Strategy


class Associative(Strategy):
    """Any `LinearCell` by parallel prefix: O(log T) steps where there are processors for all of T.

        (a_2, b_2) after (a_1, b_1) = (a_2 a_1, a_2 b_1 + b_2)

    is associative, so chunks of time can be run side by side and put together (Blelloch 1990). The
    derivative is one such recurrence against time, never that of the tree. The chunks cost about
    three times the work of one loop; on a CPU one loop is faster, and is used there. The choice is
    made when the program is lowered, for the platform that it is lowered for.

    Args:
      radix: the steps of a chunk, and of a chunk of chunks; by default 16 on accelerators and 0,
        one loop, on a CPU.
      fallback: how cells that are not linear are run; by default they are refused.
      axis: the axis of the mesh over which time is cut, or None. The mesh is that of
        `jax.set_mesh`. Each of its n devices runs T / n steps, hears of the ends of all pieces, and
        runs its steps again from where they begin. Other axes of the mesh may cut the batch.

    What is sent for an `axis`: a device receives n states and n transitions of each row that it
    holds, whatever T is, in the forward pass and in the gradient of it: for an LRU of H complex
    numbers, B rows and n devices about 16 n B H bytes a layer in each, in float32. A loop within a
    device runs twice (its ends, then its states), and a product of transitions once: with n devices
    a layer takes about 3 / n of the time of one loop.

    Raises:
      TypeError, ValueError: for an invalid radix, an `axis` that is no name, or a `fallback` that
        is no strategy; in a verb, for a cell that is not linear, a mesh without this axis, or a T
        that its devices do not divide.

    Example:
      >>> net = Stack((LRU(8), GRU(8)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(net, params, jnp.ones((50, 3)), strategy=Associative(fallback=Scan()))
      >>> ys.shape
      (50, 8)

    With time over devices:

      >>> net = LRU(8)
      >>> params, xs = net.init(jax.random.key(0), features(3)), jnp.ones((64, 2, 3))
      >>> mesh = jax.sharding.Mesh(jax.devices(), "time")
      >>> with jax.set_mesh(mesh):
      ...     state, ys = unroll(net, params, xs, strategy=Associative(axis="time"))

    Blelloch 1990; Martin & Cundy 2018; Smith et al. 2023.
    """

    radix: int | None = None
    fallback: Strategy | None = None
    axis: str | None = None

    def __post_init__(self) -> None:
        errors.check_radix(self, self.radix)
        errors.check_axis_name(self, "axis", self.axis)
        if self.fallback is not None and not isinstance(self.fallback, Strategy):
            raise errors.wrong_strategy(self, self.fallback, "fallback")

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        if isinstance(cell, LinearCell):
            return linear(cell, params, piece, radix=self.radix, axis=self.axis)
        if self.fallback is None:
            raise errors.not_linear(self, cell)
        return self.fallback.run(cell, params, piece)
