"""A layer that reads backward, as other libraries have it as a setting of the layer."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import Composite, Layer, errors


class Reversed(Composite):
    """A layer that runs from the last step to the first; outputs stay in their places.

        unroll(Reversed(layer), params, xs) = unroll(layer, params, xs, reverse=True)

    It begins at each row's last valid step. In jaxrnn the direction is an argument of `unroll`; a
    layer of it is needed where a reversed one stands among others in a `Stack`.

    Params: those of the layer. State: the one-tuple of the layer's.

    Args:
      layer: any layer.

    Raises:
      TypeError: for anything but a layer.

    Example:
      >>> net = Reversed(LSTM(8))
      >>> state, ys = unroll(net, net.init(jax.random.key(0), features(3)), jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)
    """

    layer: Layer

    def __post_init__(self) -> None:
        errors.check_child(self, self.layer, Layer)

    @property
    def causal(self) -> bool:
        return False

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.layer,)

    def init(self, key: jax.Array, x: Any) -> Any:
        return self.layer.init(key, x)

    def split(self, params: Any) -> tuple[Any, ...]:
        return (params,)

    def compose(self, params: Any, x: Any, child: Any) -> Any:
        return child(0, x, reverse=True)
