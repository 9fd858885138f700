"""Layers and models from and to Keras 3, whichever backend runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import keras
import numpy as np

from jaxrnn import TOKEN, Layer, Pooled, errors, features
from jaxrnn.composite import params_spec
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.keras.ours import arrays_of, config_of, params_of
from jaxrnn.interop.keras.theirs import Slot, plan


def from_keras(module: Any, *, biases: Literal["sum", "both"] = "sum") -> tuple[Any, Any]:
    """The layer and params that compute what a layer or a model of Keras computes.

    `LSTM`, `GRU` with either reset, `SimpleRNN`, their cells, `RNN` of these, `StackedRNNCells`,
    `Bidirectional`; a `Sequential` of them with `Embedding`, `Dense`, `TimeDistributed(Dense)`,
    `Dropout`, `SpatialDropout1D` and `LayerNormalization`, which becomes a `Stack`. Time is axis 0
    here, where Keras has the batch; a mask and a state are arguments of `unroll`.

    Where a recurrent layer of a `Sequential` gives its last output to those after it
    (`return_sequences=False`), the network becomes a `Pooled`. Where there are none after it, the
    layer gives all of its outputs here: take the last. A layer with `go_backwards` is a `Reversed`,
    whose outputs stay in their places: `ys[::-1]` are Keras's. Under a false mask outputs are zero,
    where Keras repeats the one before. `dropout` is a `Dropout` before the cell and
    `recurrent_dropout` a `RecurrentDropout`, whose masks all gates share.

    What trains weights is not converted: initializers, regularizers, constraints, `trainable`. A
    bias or a scale that the layer lacks begins at zero or one here, and is trained. `mask_zero` of
    an `Embedding` is `mask=tokens != 0`.

    Args:
      module: the layer or model, built; its weights are copied.
      biases: `"sum"` adds the two biases of a GRU with the reset after, except those of the
        candidate; `"both"` keeps them in a `TwoBiases`, and its training follows Keras's.

    Returns:
      `(layer, params)`; `layer` is a `Pooled` where the network answers once.

    Raises:
      ValueError: for another kind of layer, or one that is not built; for other activations of
        gates, or other settings that no layer of ours has, by their names.

    Example:
      >>> module = keras.layers.GRU(8, return_sequences=True)
      >>> module.build((None, None, 3))
      >>> layer, params = from_keras(module)
      >>> unroll(layer, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("from_keras", biases)
    made = plan("from_keras", configured("from_keras", module), None, biases)
    if not module.built:
        got = f"{module.name!r}, which is not built"
        do = "Call it on an input first, or its build((None, None, 3)) for 3 features."
        raise errors.not_convertible("from_keras", got, "a layer with weights", do)
    slots = [slot for slot in made.slots if slot.fill is None]
    names = [label(slot) for slot in slots]
    found = module.get_weights()
    names += [f"the array {i}" for i in range(len(names), len(found))]
    held = dict(zip(names, found, strict=False))
    width, do = width_of(slots, held), "Are these the weights that the layer was built with?"
    check_slots("from_keras", slots, held, width, do)
    return made.layer, assembled("from_keras", made.layer, made.slots, held, width, do)


def configured(who: str, module: Any) -> Any:
    """The configuration of a layer of Keras."""
    if not isinstance(module, keras.layers.Layer):
        got = f"a {type(module).__name__}"
        do = "Build a layer and pass it itself; a file is read by load_keras."
        raise errors.not_convertible(who, got, "a layer or a Sequential of Keras", do)
    try:
        return keras.saving.serialize_keras_object(module)
    except Exception as why:  # whatever a layer's own get_config raises
        got = f"a {type(module).__name__} without a configuration ({errors.short(str(why))})"
        do = "Convert the layers within it one by one."
        raise errors.not_convertible(who, got, "one of Keras's own layers", do) from None


def to_keras(layer: Any, params: Any) -> Any:
    """The layer or model of Keras that computes what a layer computes: the inverse of `from_keras`.

    Keras itself saves it: `to_keras(net, params).save("net.keras")`, for a `Stack`.

    Args:
      layer: an `LSTM` without projection, `GRU`, `Elman`, `TwoBiases` of a GRU with the reset
        after, in a `RecurrentDropout` or none; a `Bidirectional` of these, a `Reversed`; a `Stack`
        of them with `Embed`, `Dense`, `Dropout` and `LayerNorm`; a `Pooled` with "last".
      params: its params, as concrete arrays of one dtype.

    Returns:
      A layer of Keras, for a `Stack` and a `Pooled` a `Sequential`, which take `[B, T, F]`. Where
      the layer ends `Reversed`, Keras gives its outputs in the other order.

    Raises:
      TypeError: for params that are no arrays with known values.
      ValueError: for a layer that Keras does not have, or params of another one.

    Example:
      >>> module = to_keras(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> module(np.ones((2, 5, 3), np.float32)).shape
      (2, 5, 8)
    """
    config_of(layer, "float32")  # refuses a layer before its params
    parts = [(layer, params)]
    if isinstance(layer, Pooled):
        errors.check_pair(layer, params)
        parts = list(zip((layer.body, layer.head), params, strict=True))
    for part, p in parts:
        check_converted(part, p, known=True)
    leaves = jax.tree.leaves(params)
    dtypes = {str(leaf.dtype) for leaf in leaves}
    if len(dtypes) != 1:
        got, need = f"params of dtypes {', '.join(sorted(dtypes)) or '(none)'}", "params of one"
        do = "Cast them: jax.tree.map(lambda a: a.astype(jnp.float32), params)."
        raise errors.not_convertible(layer, got, need, do)
    config, _ = config_of(layer, dtypes.pop())
    module = keras.saving.deserialize_keras_object(config)
    arrays = [np.asarray(array) for array in arrays_of(layer, params)]
    slots = plan("to_keras", config, None, "sum").slots
    width = [
        array.shape[slot.shape.index(None)]
        for slot, array in zip(slots, arrays, strict=True)
        if None in slot.shape
    ]
    module.build((None, None, *width[:1]))
    module.set_weights(arrays)
    return module


def label(slot: Slot) -> str:
    """An array as errors name it."""
    return f"{slot.path} ({slot.name})"


def width_of(slots: Any, found: Mapping[str, Any]) -> int:
    """The number of the network's inputs, which the first array that depends on it says."""
    for slot in slots:
        array = found.get(label(slot))
        if None in slot.shape and array is not None and len(array.shape) == len(slot.shape):
            return array.shape[slot.shape.index(None)]
    return 1


def shaped(slot: Slot, width: int) -> tuple[int, ...]:
    """The shape of an array in a network with this many inputs."""
    return tuple(width if size is None else size for size in slot.shape)


def check_slots(who: str, slots: Any, held: Mapping[str, Any], width: int, do: str) -> None:
    """Arrays, or their specs, against what a layer of Keras has."""
    need = {
        label(slot): jax.ShapeDtypeStruct(shaped(slot, width), np.float32)
        for slot in slots
        if slot.fill is None
    }
    errors.check_arrays(who, held, need, do)
    dtypes: dict[str, Any] = {}
    for slot in slots:
        if slot.fill is None:
            dtype = held[label(slot)].dtype
            first = dtypes.setdefault(slot.path.rpartition("/")[0], dtype)
            if dtype != first:
                got = f"{label(slot)} {dtype}"
                raise errors.not_convertible(who, got, f"{first}, as its layer's others", do)


def assembled(
    who: str, layer: Any, slots: Any, held: Mapping[str, np.ndarray], width: int, do: str
) -> Any:
    """Our params, from arrays that were checked."""
    arrays, last = [], np.dtype(np.float32)
    for slot in slots:
        array = held.get(label(slot))
        if array is None:
            array = np.full(shaped(slot, width), slot.fill, last)
        last = array.dtype
        arrays.append(array)
    params = params_of(layer, iter(arrays))
    check_made(who, layer, params, width, do)
    return params


def check_made(who: str, layer: Any, params: Any, width: int, do: str) -> None:
    """Params against what the layer makes for inputs of this width."""
    reader = layer.body if isinstance(layer, Pooled) else layer
    spec = TOKEN if reader.takes_tokens else features(width)
    try:
        if isinstance(layer, Layer):
            like = params_spec(layer, spec)
        else:
            like = jax.eval_shape(lambda: layer.init(jax.random.key(0), spec))
    except Exception as why:  # whatever a layer says of inputs that it cannot take
        got = f"layers that do not fit together ({errors.short(str(why))})"
        raise errors.not_convertible(who, got, "each fed what it takes", do) from None
    made, need = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)}
        for t in (params, like)
    )
    errors.check_arrays(who, made, need, do)
