"""Recurrent cores from and to Haiku, whose weights are a dict of dicts by names of modules.

Haiku's modules exist within a transformed function alone, so none is taken or made here, and Haiku
itself need not be installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrnn import (
    GRU,
    LSTM,
    Apply,
    Dense,
    Dropout,
    Elman,
    Embed,
    Layer,
    Stack,
    TransformedWeights,
    errors,
)
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
from jaxrnn.interop.two_biases import with_biases
from jaxrnn.interop.weights import blocks, recurrent, reset_before, second_bias, stacked

# Either way: i, g, f, o there and i, f, g, o here; z, r, a there and r, z, n here.
LSTM_ORDER, GRU_ORDER = (0, 2, 1, 3), (1, 0, 2)


def forget_one(params: Any) -> Any:
    """An LSTM's params with one more in the forget gate's bias, as `hk.LSTM` has it in each step:
    the transform of a `TransformedWeights`.
    """
    return params | {"b": forget(params["b"], 1.0)}


def from_haiku(
    weights: Mapping[str, Mapping[str, Any]],
    names: str | Sequence[str],
    *,
    biases: Literal["sum", "both"] = "sum",
) -> tuple[Layer, Any]:
    """The layer and params that compute what a module of Haiku computes, or several in a row.

    `hk.LSTM`, `hk.GRU`, `hk.VanillaRNN`, `hk.Linear` and `hk.Embed`. The kind of a module is seen
    in its weights: an LSTM named "lstm" has `lstm/linear/w` and `b`, a VanillaRNN `linear` and
    `linear_1`, a GRU `w_i`, `w_h` and `b`. A module within a module of one's own has its path for
    a name, "model/~/lstm". `hk.LSTMState(hidden, cell)` is `LSTMState(h, c)` here.

        hk.LSTM: f = sigmoid(x @ w + h @ w + b + 1)    one is added to b here, or in a transform
        hk.GRU:  h' = (1 - z) * h + z * a              z is the share of the new state: 1 - z here,
                                                       so its weights change their sign
        hk.VanillaRNN: a relu's

    Args:
      weights: the result of the transformed `init`, or what training made of it.
      names: the name of a module, or those of several, as `hk.DeepRNN([...])` has them, which
        become a `Stack`. Functions between them, such as a relu, have no weights: stack by hand
        then.
      biases: `"sum"` adds what Haiku adds in a step: the one to an LSTM's forget bias, and the two
        biases of a VanillaRNN. `"both"` keeps them apart: an LSTM becomes
        `TransformedWeights(LSTM(h), forget_one)`, whose params hold Haiku's own `b`, and a
        VanillaRNN a `TwoBiases`. Then the way back is bit for bit, and training follows Haiku's
        step by step, also where weights decay.

    Returns:
      `(layer, params)`.

    Raises:
      TypeError: for weights that are no dict of dicts of floating arrays, or names that are none.
      ValueError: for a name without a module that can be converted; for an array that does not fit,
        by its name; for other `biases`.

    Example:
      >>> weights = to_haiku(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> layer, params = from_haiku(weights, "lstm")
      >>> unroll(layer, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("from_haiku", biases)
    if not isinstance(weights, Mapping):
        raise errors.no_mapping("from_haiku", weights)
    if isinstance(names, str):
        return module(weights, names, biases)
    errors.check_module_names("from_haiku", names)
    return stacked([module(weights, name, biases) for name in names])


def module(weights: Any, name: str, biases: str) -> tuple[Layer, Any]:
    """One module's layer and params."""

    def leaf(path: str, *need: Any) -> jax.Array:
        within, _, key = path.rpartition("/")
        array = weights[within].get(key)
        errors.check_weight(who, path, array, need)
        return jnp.asarray(array)

    who = f"from_haiku of {name!r}"
    own, one, two = (weights.get(path) for path in (name, f"{name}/linear", f"{name}/linear_1"))
    for part in (own, one, two):
        if part is not None and not isinstance(part, Mapping):
            raise errors.no_mapping("from_haiku", part)
    match sorted(own or ()):
        case ["b", "w_h", "w_i"]:
            hidden = leaf(f"{name}/w_h", None, None).shape[0]
            wide = 3 * hidden
            params = {
                "w_x": of_gru(leaf(f"{name}/w_i", None, wide)),
                "w_h": of_gru(leaf(f"{name}/w_h", hidden, wide)),
                "b": of_gru(leaf(f"{name}/b", wide)),
            }
            return GRU(hidden, reset_after=False), reset_before(params)
        case ["b", "w"] | ["w"]:
            w = leaf(f"{name}/w", None, None)
            b = leaf(f"{name}/b", w.shape[1]) if "b" in own else jnp.zeros(w.shape[1], w.dtype)
            return Dense(w.shape[1]), {"w": w, "b": b}
        case ["embeddings"]:
            w = leaf(f"{name}/embeddings", None, None)
            return Embed(*w.shape), {"w": w}
    who += f" as an hk.{'VanillaRNN' if two else 'LSTM'}"
    if one and two:
        first, second = f"{name}/linear", f"{name}/linear_1"
        hidden = leaf(f"{second}/w", None, None).shape[0]
        params = {
            "w_x": leaf(f"{first}/w", None, hidden),
            "w_h": leaf(f"{second}/w", hidden, hidden),
            "b": leaf(f"{first}/b", hidden),
        }
        cell = Elman(hidden, "relu")
        if "b" not in two:  # double_bias=False
            return cell, params
        return with_biases(cell, params | {"b_h": leaf(f"{second}/b", hidden)}, biases)
    if one:
        path = f"{name}/linear"
        rows, columns = leaf(f"{path}/w", None, None).shape
        hidden = columns // 4
        w = leaf(f"{path}/w", None if rows > hidden else f"F + {hidden}", 4 * hidden)
        w, b = (blocks(a, LSTM_ORDER) for a in (w, leaf(f"{path}/b", 4 * hidden)))
        params = {"w_x": w[:-hidden], "w_h": w[-hidden:], "b": b}
        layer = TransformedWeights(LSTM(hidden), forget_one)
        return (layer, params) if biases == "both" else (layer.cell, layer.transformed(params))
    got = "which is no module's" if own is None else f"which has {', '.join(own) or 'nothing'}"
    raise errors.no_such_module("from_haiku", name, got, weights)


def to_haiku(
    layer: Layer, params: Any, names: str | Sequence[str] | None = None
) -> dict[str, dict[str, jax.Array]]:
    """The weights with which modules of Haiku compute what a layer computes: the inverse of
    `from_haiku`.

    Args:
      layer: an `LSTM` without projection, also in a `TransformedWeights` with `forget_one`; a `GRU`
        with the reset before; an `Elman` with a relu, also in a `TwoBiases`; a `Dense` without an
        activation; an `Embed`; or a `Stack` of these. `Dropout` and `Apply` in it have no weights:
        in Haiku they are functions.
      params: the layer's params.
      names: the module's name, or one for each layer with weights. By default those that Haiku
        gives to modules without a name: "lstm", "gru", "vanilla_rnn", "linear" and "embed", then
        "lstm_1" and so on.

    Returns:
      The weights by names, for `apply`. A bare LSTM's forget bias is less by one, which is exact
      where it is 0.5 or more, and elsewhere to half a unit of rounding; a VanillaRNN has both
      biases.

    Raises:
      TypeError: for params that are no arrays, or names that are no strings.
      ValueError: for a layer that Haiku does not have, params of another one, or another number of
        names.

    Example:
      >>> net = Stack((LSTM(8), Dense(4)))
      >>> weights = to_haiku(net, net.init(jax.random.key(0), features(3)))
      >>> jax.tree.map(jnp.shape, weights)["lstm/linear"]
      {'b': (32,), 'w': (11, 32)}
    """
    if isinstance(layer, Stack):
        errors.check_children(layer, layer.cells, params, tuple({} for _ in layer.cells))
        pairs = list(zip(layer.cells, params, strict=True))
        pairs = [pair for pair in pairs if not isinstance(pair[0], Dropout | Apply)]
    else:
        pairs = [(layer, params)]
    kinds = [kind(one) for one, _ in pairs]
    if names is None:
        seen = [kinds[:k].count(name) for k, name in enumerate(kinds)]
        names = [name + f"_{n}" * (n > 0) for name, n in zip(kinds, seen, strict=True)]
    names = [names] if isinstance(names, str) else names
    errors.check_module_names("to_haiku", names, len(kinds))
    made: dict[str, dict[str, jax.Array]] = {}
    for (one, part), name in zip(pairs, names, strict=True):
        check_converted(one, part)
        made |= modules(one, jax.tree.map(jnp.asarray, part), name)
    return made


def modules(layer: Layer, p: Any, name: str) -> dict[str, dict[str, jax.Array]]:
    """One layer's weights by names of modules."""
    match layer:
        case GRU():
            leaves = {"w_i": p["w_x"], "w_h": recurrent(p), "b": p["b"]}
            return {name: {key: to_gru(array) for key, array in leaves.items()}}
        case Dense():
            return {name: {"w": p["w"], "b": p["b"]}}
        case Embed():
            return {name: {"embeddings": p["w"]}}
        case LSTM() | TransformedWeights():
            b = forget(p["b"], -1.0) if isinstance(layer, LSTM) else p["b"]
            leaves = {"w": jnp.concatenate([p["w_x"], p["w_h"]]), "b": b}
            return {f"{name}/linear": {k: blocks(a, LSTM_ORDER) for k, a in leaves.items()}}
    return {
        f"{name}/linear": {"w": p["w_x"], "b": p["b"]},
        f"{name}/linear_1": {"w": p["w_h"], "b": second_bias(p)},
    }


def kind(layer: Layer) -> str:
    """The name that Haiku gives to the module of a layer, which must have one."""
    match layer:
        case TransformedWeights(cell=LSTM()) if layer.transform is forget_one:
            return kind(layer.cell)
        case LSTM(projection=None):
            return "lstm"
        case GRU(reset_after=False):
            return "gru"
        case Elman(activation="relu") | TwoBiases(cell=Elman(activation="relu")):
            return "vanilla_rnn"
        case Dense(activation="identity"):
            return "linear"
        case Embed():
            return "embed"
    raise errors.not_convertible(
        layer,
        "a layer that Haiku does not have",
        "an LSTM without projection, a GRU with the reset before, an Elman with a relu, a Dense "
        "without an activation, an Embed, or a Stack of these",
        "Convert its layers one by one.",
    )


def forget(b: jax.Array, one: float) -> jax.Array:
    """An LSTM's bias with this much more in its second block."""
    i, f, g, o = jnp.split(b, 4)
    return jnp.concatenate([i, f + one, g, o])


def of_gru(array: jax.Array) -> jax.Array:
    """Blocks z, r, a as r, z, n, the sign of z turned: sigmoid(-u) = 1 - sigmoid(u)."""
    r, z, n = jnp.split(blocks(array, GRU_ORDER), 3, -1)
    return jnp.concatenate([r, -z, n], -1)


def to_gru(array: jax.Array) -> jax.Array:
    """The inverse of `of_gru`."""
    r, z, n = jnp.split(array, 3, -1)
    return blocks(jnp.concatenate([r, -z, n], -1), GRU_ORDER)
