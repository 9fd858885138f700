"""What conversions do to weights, whatever the library: blocks of gates, second biases, layers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn import Bidirectional, Dropout, Layer, Stack
from jaxrnn.interop.two_biases import TwoBiases


def blocks(array: Any, order: tuple[int, ...]) -> Any:
    """The last axis's blocks in another order: the new k-th is the old `order[k]`-th."""
    size = array.shape[-1] // len(order)
    return array[..., np.concatenate([np.arange(size) + size * k for k in order])]


def recurrent(params: Any) -> Any:
    """The recurrent weights of all gates side by side; a `GRU` with the reset before has two."""
    if "w_n" not in params:
        return params["w_h"]
    return joined_arrays([params["w_h"], params["w_n"]])


def reset_before(params: Any) -> Any:
    """The params of a `GRU` with the reset before, of those with `w_h` for all gates: the inverse
    of `recurrent`.
    """
    w_h, gates = params["w_h"], 2 * params["w_h"].shape[0]
    return params | {"w_h": w_h[:, :gates], "w_n": w_h[:, gates:]}


def second_bias(params: Any) -> Any:
    """The bias that other libraries have beside `b`, of its shape and zero where we have none:
    `b_h` of a `TwoBiases`, and `b_n` of a `GRU`.
    """
    b, last = params["b"], params.get("b_n", params["b"][:0])
    h = params.get("b_h", np.zeros(b.shape[0] - last.shape[0], b.dtype))
    return joined_arrays([h, last])


def joined_arrays(arrays: list[Any]) -> Any:
    """Arrays along their last axis, by NumPy where all are its own: JAX would narrow doubles."""
    if all(isinstance(array, np.ndarray) for array in arrays):
        return np.concatenate(arrays, -1)
    return jnp.concatenate(arrays, -1)


def stacked(made: list[tuple[Layer, Any]]) -> tuple[Layer, Any]:
    """The `Stack` of layers and the params of each."""
    return Stack(tuple(layer for layer, _ in made)), tuple(params for _, params in made)


def joined(made: list[tuple[Layer, Any]], both: bool, dropout: float = 0.0) -> tuple[Layer, Any]:
    """The layers that a recurrent module of other libraries holds as one: of each layer one cell,
    or with `both` directions two, forward first, and dropout between layers.
    """
    if both:
        pairs = zip(made[::2], made[1::2], strict=True)
        made = [(Bidirectional(cell), (forward, back)) for (cell, forward), (_, back) in pairs]
    if len(made) == 1:
        return made[0]
    if dropout:
        made = [one for part in made for one in ((Dropout(dropout), {}), part)][1:]
    return stacked(made)


def parted(layer: Layer) -> tuple[Any, int, bool, float] | None:
    """What `joined` has joined: the cell, without a `TwoBiases` around it, the number of layers,
    whether both directions are there, and the dropout between; None where layers differ.
    """
    layers = layer.cells if isinstance(layer, Stack) else (layer,)
    gaps = [one for one in layers if isinstance(one, Dropout)]
    if gaps and tuple(gaps) != layers[1::2]:
        return None
    layers = layers[:: 2 if gaps else 1]
    outer = held = layers[0]
    if isinstance(outer, Bidirectional):
        held = outer.forward
        if outer.children != (held, held) or outer.merge != "concat":
            return None
    if any(one != outer for one in layers) or any(gap != Dropout(gaps[0].rate) for gap in gaps):
        return None
    if gaps and len(gaps) != len(layers) - 1:
        return None
    cell = held.cell if isinstance(held, TwoBiases) else held
    return cell, len(layers), outer is not held, gaps[0].rate if gaps else 0.0


def parts_of(layer: Layer, params: Any) -> list[Any]:
    """The params of each cell of such a layer, layer by layer, forward first."""
    if isinstance(layer, Stack):
        pairs = zip(layer.cells, params, strict=True)
        return [
            part for one, p in pairs if not isinstance(one, Dropout) for part in parts_of(one, p)
        ]
    return list(params) if isinstance(layer, Bidirectional) else [params]
