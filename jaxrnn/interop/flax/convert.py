"""Recurrent cells from and to Flax, linen and nnx."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxrnn import GRU, LSTM, Cell, Elman, errors
from jaxrnn.interop.checks import check_converted

LINEN = (linen.LSTMCell, linen.OptimizedLSTMCell, linen.GRUCell, linen.SimpleCell)


def from_linen(module: linen.RNNCellBase, variables: Any) -> tuple[Cell, Any]:
    """The cell and params that compute what a linen cell computes.

    `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`. Flax's carry `(c, h)` is
    `LSTMState(h, c)` here.

    Args:
      module: the linen cell.
      variables: the result of its `init`, with or without the key "params".

    Returns:
      `(cell, params)`.

    Raises:
      ValueError: for another module, other activations, or variables that are not the module's.

    Example:
      >>> module = linen.GRUCell(8)
      >>> variables = module.init(jax.random.key(0), jnp.zeros(8), jnp.ones(3))
      >>> cell, params = from_linen(module, variables)
      >>> unroll(cell, params, jnp.ones((5, 3)))[1].shape
      (5, 8)
    """
    if not isinstance(module, LINEN):
        raise unknown(module)
    p = variables.get("params", variables) if hasattr(variables, "keys") else variables

    def leaf(*path: str) -> jax.Array:
        found = p
        for key in path:
            if not hasattr(found, "keys") or key not in found:
                raise errors.missing_leaf(module, path, p)
            found = found[key]
        return found

    def side(letter: str, gates: str, name: str = "kernel") -> jax.Array:
        """The blocks of all gates for the inputs ("i") or the state ("h"), side by side."""
        return jnp.concatenate([leaf(letter + gate, name) for gate in gates], axis=-1)

    cell: Cell
    if isinstance(module, linen.SimpleCell):
        cell = simple(module, module.features)
        params = {"w_x": leaf("i", "kernel"), "w_h": leaf("h", "kernel"), "b": leaf("i", "bias")}
    else:
        gated(module)
        gru = isinstance(module, linen.GRUCell)
        cell, gates = (GRU(module.features), "rzn") if gru else (LSTM(module.features), "ifgo")
        params = {"w_x": side("i", gates), "w_h": side("h", gates)}
        params["b"] = side("i" if gru else "h", gates, "bias")
        if gru:
            params["b_n"] = leaf("hn", "bias")
    check_converted(cell, params)
    return cell, params


def to_linen(cell: Cell, params: Any) -> tuple[linen.RNNCellBase, Any]:
    """The linen cell and variables that compute what a cell computes: the inverse of `from_linen`.

    Args:
      cell: an `LSTM` without projection, `GRU` with the reset after, or `Elman`.
      params: the cell's params.

    Returns:
      `(module, {"params": ...})`.

    Raises:
      TypeError: for params that are no arrays.
      ValueError: for a cell that Flax does not have, or params of another one.

    Example:
      >>> module, variables = to_linen(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> module.apply(variables, (jnp.zeros(8), jnp.zeros(8)), jnp.ones(3))[1].shape
      (8,)
    """
    check_own(cell, params)
    dtype = params["b"].dtype
    match cell:
        case LSTM(projection=None):
            module = linen.OptimizedLSTMCell(cell.hidden, param_dtype=dtype)
            p = (
                spread(params["w_x"], "i", "ifgo", "kernel"),
                spread(params["w_h"], "h", "ifgo", "kernel"),
                spread(params["b"], "h", "ifgo", "bias"),
            )
        case GRU(reset_after=True):
            module = linen.GRUCell(cell.hidden, param_dtype=dtype)
            p = (
                spread(params["w_x"], "i", "rzn", "kernel"),
                spread(params["w_h"], "h", "rzn", "kernel"),
                spread(params["b"], "i", "rzn", "bias"),
            )
            p = (*p, {"hn": {"bias": params["b_n"]}})
        case Elman():
            module = linen.SimpleCell(
                cell.hidden, activation_fn=activation_of(cell), param_dtype=dtype
            )
            p = (
                {
                    "i": {"kernel": params["w_x"], "bias": params["b"]},
                    "h": {"kernel": params["w_h"]},
                },
            )
        case _:
            raise unknown(cell)
    merged: dict[str, Any] = {}
    for part in p:
        for name, leaves in part.items():
            merged[name] = merged.get(name, {}) | leaves
    return module, {"params": merged}


def from_nnx(module: nnx.RNNCellBase) -> tuple[Cell, Any]:
    """The cell and params that compute what an nnx cell computes.

    `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`. nnx's GRU has no recurrent bias in
    its candidate: `b_n` is zero.

    Args:
      module: the nnx cell.

    Returns:
      `(cell, params)`.

    Raises:
      ValueError: for another module, or other activations.

    Example:
      >>> cell, params = from_nnx(nnx.LSTMCell(3, 8, rngs=nnx.Rngs(0)))
      >>> unroll(cell, params, jnp.ones((5, 3)))[1].shape
      (5, 8)
    """
    if not isinstance(module, (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)):
        raise unknown(module)
    p = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    if isinstance(module, nnx.LSTMCell):
        gated(module)
        p["if"] = p.pop("if_")
        join = lambda letter, leaf: jnp.concatenate(  # noqa: E731
            [p[letter + gate][leaf] for gate in "ifgo"], axis=-1
        )
        return LSTM(module.hidden_features), {
            "w_x": join("i", "kernel"),
            "w_h": join("h", "kernel"),
            "b": join("h", "bias"),
        }
    params = {
        "w_x": p["dense_i"]["kernel"],
        "w_h": p["dense_h"]["kernel"],
        "b": (p["dense_i"] | p["dense_h"])["bias"],
    }
    if isinstance(module, nnx.SimpleCell):
        return simple(module, module.hidden_features), params
    gated(module)
    if isinstance(module, nnx.OptimizedLSTMCell):
        return LSTM(module.hidden_features), params
    return GRU(module.hidden_features), params | {
        "b_n": jnp.zeros(module.hidden_features, params["b"].dtype)
    }


def to_nnx(cell: Cell, params: Any) -> nnx.RNNCellBase:
    """The nnx cell that computes what a cell computes: the inverse of `from_nnx`.

    Args:
      cell: an `LSTM` without projection, `GRU` with the reset after, or `Elman`.
      params: the cell's params, as concrete arrays; a GRU's `b_n` must be zero, since nnx has
        none.

    Returns:
      An `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`.

    Raises:
      TypeError: for params that are no arrays with known values.
      ValueError: for a cell that nnx does not have, params of another one, or a `b_n` that is not
        zero.

    Example:
      >>> module = to_nnx(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> module((jnp.zeros(8), jnp.zeros(8)), jnp.ones(3))[1].shape
      (8,)
    """
    check_own(cell, params, known=True)
    size, dtype, rngs = params["w_x"].shape[0], params["b"].dtype, nnx.Rngs(0)
    match cell:
        case LSTM(projection=None):
            module, biased = (
                nnx.OptimizedLSTMCell(size, cell.hidden, param_dtype=dtype, rngs=rngs),
                "dense_h",
            )
        case GRU(reset_after=True):
            if bool((params["b_n"] != 0).any()):
                raise errors.not_convertible(
                    cell,
                    "a b_n that is not zero",
                    "b_n = 0, since nnx.GRUCell has no such bias",
                    "Use to_linen.",
                )
            module, biased = nnx.GRUCell(size, cell.hidden, param_dtype=dtype, rngs=rngs), "dense_i"
        case Elman():
            activation = activation_of(cell)
            module, biased = (
                nnx.SimpleCell(
                    size, cell.hidden, activation_fn=activation, param_dtype=dtype, rngs=rngs
                ),
                "dense_i",
            )
        case _:
            raise unknown(cell)
    p: dict[str, dict[str, Any]] = {
        "dense_i": {"kernel": params["w_x"]},
        "dense_h": {"kernel": params["w_h"]},
    }
    p[biased]["bias"] = params["b"]
    nnx.update(module, p)
    return module


def check_own(cell: Cell, params: Any, known: bool = False) -> None:
    """Refuse a cell that Flax does not have, and params that are not the cell's."""
    if not isinstance(cell, (LSTM, GRU, Elman)):
        raise unknown(cell)
    check_converted(cell, params, known)


def spread(block: jax.Array, letter: str, gates: str, leaf: str) -> dict[str, dict[str, jax.Array]]:
    """One block of weights cut into the leaves of its gates."""
    return {
        letter + gate: {leaf: part}
        for gate, part in zip(gates, jnp.split(block, len(gates), axis=-1), strict=True)
    }


def gated(module: Any) -> None:
    """Refuse a gated module whose activations are not sigmoid and tanh."""
    if module.gate_fn is not jax.nn.sigmoid or module.activation_fn is not jnp.tanh:
        raise errors.not_convertible(
            module,
            "other activations",
            "gate_fn=sigmoid and activation_fn=tanh",
            "Write a cell of your own.",
        )


def activation_of(cell: Elman) -> Any:
    """The function of an `Elman` cell's activation."""
    name = cell.activation
    if name == "modrelu":
        got, do = "modReLU, whose bias is no sum's", "Write the cell in Flax, and copy its params."
        raise errors.not_convertible(cell, got, "a function of jax.nn", do)
    return getattr(jax.nn, name) if isinstance(name, str) else name


def simple(module: Any, hidden: int) -> Elman:
    """The `Elman` cell with the activation of a `SimpleCell`."""
    names = [
        name
        for name in ("tanh", "relu", "sigmoid", "gelu", "silu", "softplus")
        if getattr(jax.nn, name) is module.activation_fn
    ]
    if not names or module.residual:
        raise errors.not_convertible(
            module,
            "a residual cell, or an unknown activation",
            "a function of jax.nn",
            "Write a cell of your own.",
        )
    return Elman(hidden, activation=names[0])


def unknown(module: Any) -> Exception:
    """The error for a module or a cell without a counterpart."""
    return errors.not_convertible(
        module,
        f"a {type(module).__name__}",
        "an LSTM without projection, a GRU with the reset after, or an Elman cell, "
        "or their Flax counterparts",
        "Convert its recurrent part.",
    )
