"""A layer of ours as Keras's configuration, and its params as Keras's arrays and back.

Keras has our blocks i, f, g, o of an LSTM, and z, r, n of a GRU where we have r, z, n. Its GRU with
the reset after has two biases, `[2, 3H]`; all else has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Elman,
    Embed,
    LayerNorm,
    Pooled,
    RecurrentDropout,
    Stack,
    errors,
)
from jaxrnn.interop.keras.settings import ACTIVATIONS, OF_DENSE
from jaxrnn.interop.keras.theirs import MERGES
from jaxrnn.interop.reversed import Reversed
from jaxrnn.interop.two_biases import TwoBiases, with_biases
from jaxrnn.interop.weights import blocks

ORDER = (1, 0, 2)
"""Keras's blocks of a GRU among ours, and ours among Keras's."""


def config_of(layer: Any, dtype: str, turned: bool = False) -> tuple[dict[str, Any], bool]:
    """The configuration of the layer of Keras that computes what ours does; and whether its
    outputs run against time, where its inputs run so if `turned`.
    """
    match layer:
        case Reversed():
            config, turned = config_of(layer.layer, dtype, not turned)
            return config, not turned
        case Stack() if not is_dropped(layer):
            configs = []
            for part in layer.cells:
                config, turned = config_of(part, dtype, turned)
                configs.append(config)
            return described("Sequential", name=None, layers=configs), turned
        case Pooled(pool="last"):
            halves = [parts_of(layer.body), parts_of(layer.head)]
            config, turned = config_of(Stack((*halves[0], *halves[1])), dtype, turned)
            ending = config["config"]["layers"][len(halves[0]) - 1]["config"]
            ends = [ending[name] for name in ("layer", "backward_layer") if name in ending]
            for fields in [end["config"] for end in ends] or [ending]:
                if "return_sequences" not in fields:
                    raise unknown(layer)
                fields["return_sequences"] = False
            return config, turned
        case Bidirectional():
            both = [
                recurrent(part, layer, dtype, go_backwards=turned ^ bool(i))
                for i, part in enumerate(layer.children)
            ]
            merge = {ours: theirs for theirs, ours in MERGES.items()}[layer.merge]
            config = described(
                "Bidirectional",
                dtype=dtype,
                layer=both[0],
                backward_layer=both[1],
                merge_mode=merge,
            )
            return config, False
        case Embed():
            fields = {"input_dim": layer.vocabulary, "output_dim": layer.width}
            return described("Embedding", dtype=dtype, **fields), turned
        case Dense():
            fields = {"units": layer.width, "activation": activation_of(layer, OF_DENSE)}
            return described("Dense", dtype=dtype, **fields), turned
        case Dropout():
            kind = "Dropout" if layer.per == "step" else "SpatialDropout1D"
            return described(kind, dtype=dtype, rate=layer.rate), turned
        case LayerNorm():
            return described("LayerNormalization", dtype=dtype, epsilon=layer.eps), turned
    return recurrent(layer, layer, dtype, go_backwards=turned), False


def recurrent(layer: Any, whole: Any, dtype: str, go_backwards: bool) -> dict[str, Any]:
    """The configuration of a recurrent layer."""
    run = {"return_sequences": True, "go_backwards": go_backwards, "dtype": dtype}
    if isinstance(layer, Stack) and not is_dropped(layer):
        cells = [cell_config(part, whole, dtype) for part in layer.cells]
        stacked = described("StackedRNNCells", dtype=dtype, cells=cells)
        return described("RNN", cell=stacked, **run)
    config = cell_config(layer, whole, dtype)
    return described(config["class_name"].removesuffix("Cell"), **(config["config"] | run))


def cell_config(layer: Any, whole: Any, dtype: str) -> dict[str, Any]:
    """The configuration of a cell."""
    more: dict[str, Any] = {}
    cell = layer
    if is_dropped(cell):
        more["dropout"], cell = cell.cells[0].rate, cell.cells[1]
    if isinstance(cell, RecurrentDropout) and cell.per == "sequence":
        more["recurrent_dropout"], cell = cell.rate, cell.cell
    if isinstance(cell, TwoBiases) and getattr(cell.cell, "reset_after", False):
        cell = cell.cell
    match cell:
        case LSTM(projection=None):
            kind, fields = "LSTMCell", {}
        case GRU():
            kind, fields = "GRUCell", {"reset_after": cell.reset_after}
        case Elman():
            kind, fields = "SimpleRNNCell", {"activation": activation_of(cell, ACTIVATIONS)}
        case _:
            raise unknown(whole)
    if dtype.endswith("16"):  # Keras cannot draw its default, an orthogonal matrix, in 16 bits
        more["recurrent_initializer"] = "glorot_uniform"
    return described(kind, units=cell.hidden, dtype=dtype, **fields, **more)


def described(kind: str, **fields: Any) -> dict[str, Any]:
    """A configuration in Keras's form."""
    module = "keras" if kind == "Sequential" else "keras.layers"
    return {"module": module, "class_name": kind, "config": fields, "registered_name": None}


def is_dropped(layer: Any) -> bool:
    """Whether a layer is a cell whose inputs are dropped, as Keras's `dropout` drops them."""
    match layer:
        case Stack(cells=(Dropout(per="sequence"), cell)):
            return isinstance(cell, (LSTM, GRU, Elman, RecurrentDropout, TwoBiases))
    return False


def parts_of(layer: Any) -> tuple[Any, ...]:
    """The layers in a row that a layer is."""
    return layer.cells if isinstance(layer, Stack) and not is_dropped(layer) else (layer,)


def activation_of(layer: Any, table: dict[str, Any]) -> str:
    """Keras's name of an activation."""
    ours = "silu" if layer.activation == "swish" else layer.activation
    ours = "hard_silu" if ours == "hard_swish" else ours
    for theirs, one in table.items():
        if one == ours:
            return theirs
    got = f"activation={layer.activation!r}"
    do = "Write the layer in Keras, and copy its arrays."
    if layer.activation in ("gelu", "leaky_relu"):
        do = f"Keras's {layer.activation} is another function: see interop.keras.settings."
    raise errors.not_convertible(layer, got, f"one of {', '.join(map(str, table.values()))}", do)


def unknown(layer: Any) -> Exception:
    """The error for a layer without a counterpart."""
    return errors.not_convertible(
        layer,
        f"a {type(layer).__name__ if not isinstance(layer, type) else 'class'} that Keras lacks",
        "an LSTM without projection, GRU or Elman, Bidirectional or Reversed, in a Stack with "
        "Embed, Dense, Dropout and LayerNorm, or in a Pooled with 'last' whose body ends in one",
        "Convert its layers one by one.",
    )


def arrays_of(layer: Any, params: Any) -> list[Any]:
    """Keras's arrays, in the order in which it lists them."""
    match layer:
        case Stack() | Bidirectional() | Pooled():
            pairs = zip(children(layer), params, strict=True)
            return [array for child, part in pairs for array in arrays_of(child, part)]
        case Reversed():
            return arrays_of(layer.layer, params)
        case RecurrentDropout() | TwoBiases():
            return arrays_of(layer.cell, params)
        case Embed():
            return [params["w"]]
        case Dense():
            return [params["w"], params["b"]]
        case LayerNorm():
            return [params["scale"], params["bias"]]
        case Dropout():
            return []
    w_x, w_h, b = (np.asarray(params[name]) for name in ("w_x", "w_h", "b"))
    if isinstance(layer, GRU):
        w_h = w_h if layer.reset_after else np.concatenate([w_h, np.asarray(params["w_n"])], -1)
        w_x, w_h, b = (blocks(array, ORDER) for array in (w_x, w_h, b))
        if layer.reset_after:
            gates = params.get("b_h", jnp.zeros(2 * layer.hidden, b.dtype))
            second = np.concatenate([np.asarray(gates), np.asarray(params["b_n"])])
            b = np.stack([b, blocks(second, ORDER)])
    return [w_x, w_h, b]


def params_of(layer: Any, arrays: Iterator[Any]) -> Any:
    """Our params, from as many arrays of Keras as the layer has."""
    match layer:
        case Stack() | Bidirectional() | Pooled():
            return tuple(params_of(child, arrays) for child in children(layer))
        case Reversed():
            return params_of(layer.layer, arrays)
        case RecurrentDropout():
            return params_of(layer.cell, arrays)
        case Embed():
            return {"w": jnp.array(next(arrays))}
        case Dense():
            return {name: jnp.array(next(arrays)) for name in ("w", "b")}
        case LayerNorm():
            return {name: jnp.array(next(arrays)) for name in ("scale", "bias")}
        case Dropout():
            return {}
    two = isinstance(layer, TwoBiases)
    cell = layer.cell if two else layer
    w_x, w_h, b = (next(arrays) for _ in range(3))
    params = {"w_x": w_x, "w_h": w_h, "b": b}
    if isinstance(cell, GRU):
        params = {name: blocks(array, ORDER) for name, array in params.items()}
        gates = 2 * cell.hidden
        if cell.reset_after:
            b, second = params["b"]
            params |= {"b": b, "b_h": second[:gates], "b_n": second[gates:]}
            return with_biases(cell, as_jax(params), "both" if two else "sum")[1]
        params |= {"w_h": params["w_h"][:, :gates], "w_n": params["w_h"][:, gates:]}
    return as_jax(params)


def as_jax(params: dict[str, Any]) -> dict[str, Any]:
    """Copies of NumPy's arrays: a backend of Keras may write into its own."""
    return {name: jnp.array(array) for name, array in params.items()}


def children(layer: Any) -> tuple[Any, ...]:
    """The layers that a layer is made of."""
    return (layer.body, layer.head) if isinstance(layer, Pooled) else layer.children
