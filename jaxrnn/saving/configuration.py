"""Layers as JSON, and back. A file names classes and functions of a closed table, and nothing else:
no name in it is imported, and no string in it is run.

    a layer, a strategy, ...    {"class": "LSTM", "fields": {"hidden": 8, ...}}
    a function                  {"function": "jax.nn.softmax"}
    a tuple                     a list
    a number, a string, None    itself
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax

import jaxrnn
from jaxrnn import errors, initializers
from jaxrnn.layer import Layer

DEPTH = 100
"""How deep values may be nested."""

NONE: Mapping[str, Any] = types.MappingProxyType({})

MODELS = ("EncoderDecoder", "Pooled")
"""Their room is imported when one is asked for."""

FUNCTIONS: dict[str, Callable] = {
    **{f"jax.nn.{name}": getattr(jax.nn, name) for name in (*errors.ACTIVATIONS, "softmax")},
    "jax.nn.initializers.zeros": jax.nn.initializers.zeros,
    "jax.nn.initializers.ones": jax.nn.initializers.ones,
}


@functools.cache
def classes() -> dict[str, type]:
    """What of jaxrnn's own a configuration may name, models apart."""
    return {
        name: thing
        for room in (jaxrnn, initializers)
        for name, thing in vars(room).items()
        if name not in MODELS and dataclasses.is_dataclass(thing) and not inspect.isabstract(thing)
    }  # type: ignore[return-value]


def own(name: str) -> Any:
    """Jaxrnn's class of this name, or None."""
    return getattr(jaxrnn, name) if name in MODELS else classes().get(name)


def to_json(layer: Any, custom: Mapping[str, Any] = NONE) -> dict[str, Any]:
    """A network's configuration as JSON holds it: what it is made of, no params.

    Args:
      layer: a layer, `Pooled` or `EncoderDecoder`.
      custom: names for what is not jaxrnn's own in it, classes and functions:
        `{"MyCell": MyCell}`.

    Raises:
      TypeError: for what is no network, and for a class or a function without a name.
      ValueError: for a layer that its fields do not make again.

    Example:
      >>> to_json(rnn.Dropout(0.5))
      {'class': 'Dropout', 'fields': {'rate': 0.5, 'per': 'step'}}
    """
    return described("to_json", layer, custom)


def from_json(config: Any, custom: Mapping[str, Any] = NONE) -> Any:
    """The network of a configuration that `to_json` made.

    Raises:
      ValueError: for anything else. It names the place, and what the constructor says.

    Example:
      >>> from_json(to_json(rnn.Dropout(0.5)))
      Dropout(rate=0.5, per='step')
    """
    errors.check_custom("from_json", custom, own)
    return network("from_json", config, custom, math.inf)


def check_network(who: str, layer: Any, kind: type[Exception] = TypeError) -> None:
    """A layer, or a model made of layers."""
    model = type(layer).__name__ in MODELS and type(layer) is own(type(layer).__name__)
    if not (isinstance(layer, Layer) or model):
        raise errors.no_network(kind, who, layer)


def network(who: str, config: Any, custom: Mapping[str, Any], largest: float) -> Any:
    """The network of a configuration; no size in it is above `largest`."""
    layer = decode(who, config, custom, "the network", largest, DEPTH)
    check_network(who, layer, ValueError)
    return layer


def described(who: str, layer: Any, custom: Mapping[str, Any]) -> dict[str, Any]:
    """A network's configuration, of which an equal network is made."""
    errors.check_custom(who, custom, own)
    check_network(who, layer)
    config = encode(who, layer, custom, type(layer).__name__)
    again = network(who, config, custom, math.inf)
    if again != layer:
        raise errors.not_made_again(who, layer, again)
    return config


def encode(who: str, value: Any, custom: Mapping[str, Any], where: str) -> Any:
    """A field's value as JSON; `where` leads to it in messages."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise errors.no_json(who, where, value)
        return value
    if type(value) is tuple:
        return [encode(who, item, custom, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, type):
        for name, known in (FUNCTIONS | dict(custom)).items():
            if known is value:
                return {"function": name}
    kind = type(value)
    name = next((name for name, known in custom.items() if known is kind), None)
    if name is None:
        if own(kind.__name__) is not kind:
            raise errors.no_json(who, where, value)
        name = kind.__name__
    fields = {
        f.name: encode(who, getattr(value, f.name), custom, f"{where}.{f.name}")
        for f in dataclasses.fields(value)
        if f.init
    }
    return {"class": name, "fields": fields}


def decode(
    who: str, value: Any, custom: Mapping[str, Any], where: str, largest: float, depth: int
) -> Any:
    """The value that `encode` made this JSON of."""
    if not depth:
        raise errors.bad_configuration(who, where, f"values nested more than {DEPTH} deep")

    def inner(item: Any, place: str, largest: float) -> Any:
        return decode(who, item, custom, f"{where}{place}", largest, depth - 1)

    if isinstance(value, list):
        return tuple(inner(item, f"[{i}]", largest) for i, item in enumerate(value))
    if not isinstance(value, dict):
        if type(value) is int and abs(value) > largest:
            raise errors.larger_than_file(who, where, value)
        return value
    if value.keys() == {"function"}:
        name = value["function"]
        made = (FUNCTIONS | dict(custom)).get(name) if isinstance(name, str) else None
        if made is None or isinstance(made, type):
            raise errors.unknown_name(who, where, "function", name)
        return made
    if value.keys() != {"class", "fields"} or not isinstance(value["fields"], dict):
        raise errors.bad_configuration(who, where, f"the keys {', '.join(value)}")
    name = value["class"]
    kind = custom.get(name, own(name)) if isinstance(name, str) else None
    if not isinstance(kind, type):
        raise errors.unknown_name(who, where, "class", name)
    # Sizes of jaxrnn's own layers are axes of arrays; what a user's integers are, nobody knows.
    sizes = largest if issubclass(kind, Layer) and name not in custom else math.inf
    fields = {f: inner(item, f".{f}", sizes) for f, item in value["fields"].items()}
    try:
        return kind(**fields)
    except Exception as why:  # whatever a user's constructor raises
        raise errors.bad_configuration(who, where, f"fields that {name} refuses ({why})") from None
