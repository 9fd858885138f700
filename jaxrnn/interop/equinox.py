"""Cells and layers from and to Equinox, whose modules are the weights."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import GRU, LSTM, Apply, Dense, Dropout, Embed, Layer, LayerNorm, Stack, errors
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.weights import stacked

try:
    import equinox as eqx
except ModuleNotFoundError as why:
    if why.name != "equinox":
        raise
    raise errors.missing_package("equinox", "it is what is converted", "interop") from None


def from_equinox(module: Any) -> tuple[Layer, Any]:
    """The layer and params that compute what a module of Equinox computes.

    `eqx.nn.LSTMCell`, `GRUCell`, `Linear`, `Embedding`, `LayerNorm`, `Dropout` and `Lambda`; a
    `Sequential`, tuple or list of these becomes a `Stack`. Equinox's modules take one row of one
    step, layers here take all of them. The state `(h, c)` is `LSTMState(h, c)` here.

    A module without a bias gets one of zeros. Whether a `Dropout` drops is said by the key here, so
    its `inference` is not kept. An `Embed` gives NaN where the index is out of range.

    Args:
      module: the module; of gradients in its form the params are the gradients here.

    Returns:
      `(layer, params)`.

    Raises:
      TypeError: for a weight that is no floating array.
      ValueError: for another module, or an array that does not fit its sizes, by its name.

    Example:
      >>> layer, params = from_equinox(eqx.nn.GRUCell(3, 8, key=jax.random.key(0)))
      >>> unroll(layer, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """

    def weight(name: str, *need: int) -> jax.Array:
        array = getattr(module, name)
        errors.check_weight("from_equinox", f"{type(module).__name__}.{name}", array, need)
        return jnp.asarray(array)

    def bias(n: int) -> jax.Array:
        return weight("bias", n) if module.use_bias else jnp.zeros(n, module.weight.dtype)

    match module:
        case eqx.nn.LSTMCell() | eqx.nn.GRUCell():
            gru, hidden = isinstance(module, eqx.nn.GRUCell), module.hidden_size
            wide = (3 if gru else 4) * hidden
            w_x, w_h = (
                weight("weight_ih", wide, module.input_size),
                weight("weight_hh", wide, hidden),
            )
            biases = {"b": (wide, "bias")} | ({"b_n": (hidden, "bias_n")} if gru else {})
            made = {
                key: weight(name, n) if module.use_bias else jnp.zeros(n, w_x.dtype)
                for key, (n, name) in biases.items()
            }
            return (GRU if gru else LSTM)(hidden), {"w_x": w_x.T, "w_h": w_h.T} | made
        case eqx.nn.Linear(in_features=int(m), out_features=int(n)):
            return Dense(n), {"w": weight("weight", n, m).T, "b": bias(n)}
        case eqx.nn.Embedding(num_embeddings=n, embedding_size=m):
            return Embed(n, m), {"w": weight("weight", n, m)}
        case eqx.nn.LayerNorm(shape=(n,)):
            scale = weight("weight", n) if module.use_weight else jnp.ones(n)
            return LayerNorm(module.eps), {
                "scale": scale,
                "bias": weight("bias", n) if module.use_bias else jnp.zeros(n, scale.dtype),
            }
        case eqx.nn.Dropout():
            return Dropout(module.p), {}
        case eqx.nn.Lambda():
            return Apply(module.fn), {}
        case eqx.nn.Sequential(layers=modules) if modules:
            return stacked([from_equinox(one) for one in modules])
        case (_, *_):
            return stacked([from_equinox(one) for one in module])
    raise errors.not_convertible(
        "from_equinox",
        f"a {type(module).__name__}" + " of scalars" * isinstance(module, eqx.nn.Linear),
        "an eqx.nn.LSTMCell, GRUCell, Linear, Embedding, LayerNorm over one axis, Dropout or "
        "Lambda, or a tuple of these",
        "Convert its recurrent part.",
    )


def to_equinox(layer: Layer, params: Any) -> Any:
    """The module of Equinox that computes what a layer computes: the inverse of `from_equinox`.

    Args:
      layer: an `LSTM` without projection, `GRU` with the reset after, `Dense` without an
        activation, `Embed`, `LayerNorm`, `Dropout` with a mask for each step, or `Apply`; or a
        `Stack` of these.
      params: the layer's params.

    Returns:
      The module; for a `Stack` the tuple of modules, since `eqx.nn.Sequential` calls with no state.

    Raises:
      TypeError: for params that are no arrays.
      ValueError: for a layer that Equinox does not have, or params of another one.

    Example:
      >>> cell = to_equinox(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> h, c = cell(jnp.ones(3), (jnp.zeros(8), jnp.zeros(8)))
      >>> h.shape
      (8,)
    """
    p, nn = params, eqx.nn
    if isinstance(layer, Stack):
        errors.check_children(layer, layer.cells, params, tuple({} for _ in layer.cells))
        return tuple(to_equinox(*pair) for pair in zip(layer.cells, params, strict=True))
    match layer:
        case Dropout(per="step"):
            return nn.Dropout(layer.rate)
        case Apply():
            return nn.Lambda(layer.f)
        case LSTM(projection=None) | GRU(reset_after=True):
            check_converted(layer, params)
            leaves = {"weight_ih": p["w_x"].T, "weight_hh": p["w_h"].T, "bias": p["b"]}
            leaves |= {"bias_n": p["b_n"]} if "b_n" in p else {}
            kind, sizes = nn.LSTMCell if isinstance(layer, LSTM) else nn.GRUCell, p["w_x"].shape
            sizes = sizes[0], layer.hidden
        case Dense(activation="identity"):
            check_converted(layer, params)
            leaves, kind, sizes = {"weight": p["w"].T, "bias": p["b"]}, nn.Linear, p["w"].shape
        case Embed():
            check_converted(layer, params)
            leaves, kind, sizes = {"weight": p["w"]}, nn.Embedding, p["w"].shape
        case LayerNorm():
            check_converted(layer, params)
            leaves, kind = {"weight": p["scale"], "bias": p["bias"]}, nn.LayerNorm
            sizes = p["bias"].shape[0], layer.eps
        case _:
            raise errors.not_convertible(
                layer,
                "a layer that Equinox does not have",
                "an LSTM without projection, a GRU with the reset after, a Dense without an "
                "activation, an Embed, a LayerNorm, a Dropout for each step, an Apply, or a Stack "
                "of these",
                "Convert its layers one by one, activations as Apply.",
            )
    settings = {} if kind is nn.LayerNorm else {"key": jax.random.key(0)}
    empty = eqx.filter_eval_shape(kind, *sizes, **settings)
    places = lambda module: [getattr(module, name) for name in leaves]  # noqa: E731
    return eqx.tree_at(places, empty, [jnp.asarray(leaf) for leaf in leaves.values()])
