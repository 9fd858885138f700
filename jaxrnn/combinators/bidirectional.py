"""One cell along time and one against it."""

from typing import Any, Literal, get_args

import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.composite import Child, Composite
from jaxrnn.layer import Layer, Params

Merge = Literal["concat", "sum", "mean", "product", "none"]


class Bidirectional(Composite):
    """A cell that reads forward and one that reads backward over the same inputs, merged step by
    step.

        y_t = merge(forward(x_0 .. x_t), backward(x_t .. x_{T-1}))

    The backward cell begins at each row's last valid step, so padding needs no reordering. Its
    output at t depends on what comes after t, so `advance` and `fold` refuse it. Where it is run
    in reverse, both directions turn around. On a GPU or a TPU two equal cells are one loop under
    `Scan`, whose products are batched.

    Shapes: x `[T, ..., F]`, y `[T, ..., P + Q]` with concat, `[T, ..., P]` with sum, mean and
    product, and the pair `([T, ..., P], [T, ..., Q])` with none. Params and state: the pairs
    (forward's, backward's).

    Args:
      forward: any cell.
      backward: the cell that runs against time; by default one like `forward`, with params of its
        own.
      merge: "concat" (forward first), "sum", "mean", "product", or "none" for the pair of outputs.

    Raises:
      TypeError: unless both are cells.
      ValueError: for an unknown merge; while tracing, for a sum, mean or product of different
        widths.

    Example:
      >>> net = Bidirectional(LSTM(8))
      >>> state, ys = unroll(net, net.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 16)

    Called `bidirectional=True` in PyTorch, `nn.Bidirectional` in Flax, `Bidirectional` in Keras.

    Schuster & Paliwal 1997.
    """

    forward: Layer
    backward: Layer | None = None
    merge: Merge = "concat"

    def __post_init__(self) -> None:
        for cell in self.children:
            errors.check_child(self, cell, Layer)
        errors.check_choice(self, "merge", self.merge, get_args(Merge))

    @property
    def causal(self) -> bool:
        return False

    @property
    def directions(self) -> tuple[bool, ...]:
        return (False, True)

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.forward, self.forward if self.backward is None else self.backward)

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        ys = child(0, x), child(1, x, reverse=True)
        if self.merge == "none":
            return ys
        for y in ys:
            errors.check_array(self, "a child's output", y)
        if self.merge == "concat":
            return jnp.concatenate(ys, axis=-1)
        if ys[0].shape != ys[1].shape:
            raise errors.unequal_widths(self, self.merge, *ys)
        if self.merge == "product":
            return ys[0] * ys[1]
        total = ys[0] + ys[1]
        return total / 2 if self.merge == "mean" else total
