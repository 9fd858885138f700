"""Recurrent modules from and to PyTorch."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import GRU, LSTM, Elman, Layer, errors
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.two_biases import TwoBiases as TwoBiases
from jaxrnn.interop.two_biases import with_biases
from jaxrnn.interop.weights import joined, parted, parts_of, second_bias

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    raise errors.missing_package("torch", "it is what is converted", "interop") from None

__all__ = ["TwoBiases", "from_torch", "to_torch"]


def from_torch(module: nn.Module, *, biases: Literal["sum", "both"] = "sum") -> tuple[Layer, Any]:
    """The cell and params that compute what a torch module computes.

    `nn.LSTM` (projections too), `nn.GRU`, `nn.RNN`, `nn.LSTMCell`, `nn.GRUCell` and `nn.RNNCell`.
    Several layers become a `Stack`, both directions a `Bidirectional`, dropout between layers a
    `Dropout` between them. Time is axis 0 here, whatever `batch_first` says.

    Args:
      module: the module; its weights are copied.
      biases: `"sum"` adds the two biases of a layer, except those of the GRU's candidate, which
        become `b` and `b_n`. The outputs are the same, but an optimizer moves one bias half as far
        as the sum of two. `"both"` keeps them: each cell is a `TwoBiases`, and its training follows
        PyTorch's step by step.

    Returns:
      `(cell, params)`.

    Raises:
      ValueError: for another kind of module, or other `biases`.

    Example:
      >>> cell, params = from_torch(nn.LSTM(3, 8))
      >>> unroll(cell, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("from_torch", biases)
    if isinstance(module, nn.RNNCellBase):
        return layer(module, "", biases)
    if not isinstance(module, nn.RNNBase):
        raise errors.not_convertible(
            module,
            f"a {type(module).__name__}",
            "an nn.LSTM, nn.GRU or nn.RNN, or one of their cells",
            "Convert its recurrent part.",
        )
    suffixes = [
        f"_l{i}{end}"
        for i in range(module.num_layers)
        for end in (("", "_reverse") if module.bidirectional else ("",))
    ]
    made = [layer(module, suffix, biases) for suffix in suffixes]
    return joined(made, module.bidirectional, module.dropout)


def layer(module: Any, suffix: str, biases: str) -> tuple[Layer, Any]:
    """One direction of one layer."""

    def array(name: str) -> jax.Array:
        return to_array(getattr(module, name + suffix))

    w_x, w_h = array("weight_ih"), array("weight_hh")
    zero = jnp.zeros(w_x.shape[0], w_x.dtype)
    b_x, b_h = (array("bias_ih"), array("bias_hh")) if module.bias else (zero, zero)
    hidden, params = module.hidden_size, {"w_x": w_x.T, "w_h": w_h.T}
    cell: Layer
    match module:
        case nn.LSTM() | nn.LSTMCell():
            projection: Any = getattr(module, "proj_size", 0) or None
            cell = LSTM(hidden, projection=projection)
            if projection:
                params["w_p"] = array("weight_hr").T
        case nn.GRU() | nn.GRUCell():
            cell, b_h, params["b_n"] = GRU(hidden), b_h[: 2 * hidden], b_h[2 * hidden :]
        case _:
            cell = Elman(hidden, activation=module.nonlinearity)
    return with_biases(cell, params | {"b": b_x, "b_h": b_h}, biases)


def to_torch(cell: Layer, params: Any) -> nn.RNNBase:
    """The torch module that computes what a cell computes: the inverse of `from_torch`.

    Args:
      cell: an `LSTM`, `GRU` with the reset after, or `Elman` with tanh or relu, each also in a
        `TwoBiases`; a `Bidirectional` of one, merged by concat; or a `Stack` of equal ones, with
        equal `Dropout` between them or none.
      params: the cell's params.

    Returns:
      An `nn.LSTM`, `nn.GRU` or `nn.RNN` whose sequences are time first. Biases are in `bias_ih`,
      the GRU's `b_n` and the second ones of `TwoBiases` in `bias_hh`.

    Raises:
      TypeError: for params that are no arrays.
      ValueError: for a cell that torch does not have, or params of another one.

    Example:
      >>> to_torch(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      LSTM(3, 8)
    """
    first, count, both, dropout = parted(cell) or (None, 0, False, 0.0)
    sizes: tuple[int, ...] = ()
    parts: list[Any] = []
    if isinstance(first, (LSTM, GRU, Elman)):
        check_converted(cell, params, known=True)
        parts = parts_of(cell, params)
        sizes = parts[0]["w_x"].shape[0], first.hidden
    settings: dict[str, Any] = {"num_layers": count, "bidirectional": both, "dropout": dropout}
    match first:
        case LSTM():
            module = nn.LSTM(*sizes, proj_size=first.projection or 0, **settings)
        case GRU(reset_after=True):
            module = nn.GRU(*sizes, **settings)
        case Elman(activation="tanh" | "relu"):
            module = nn.RNN(*sizes, nonlinearity=first.activation, **settings)
        case _:
            raise errors.not_convertible(
                cell,
                "a cell that torch does not have",
                "equal layers of LSTM, GRU with the reset after, or Elman with "
                "tanh or relu, alone or Bidirectional with concat",
                "Convert its layers one by one.",
            )
    module = module.to(to_tensor(parts[0]["w_x"]).dtype)
    with torch.no_grad():
        for i, part in enumerate(parts):
            suffix = f"_l{i // 2}_reverse" if both and i % 2 else f"_l{i // 2 if both else i}"
            names = {"weight_ih": part["w_x"].T, "weight_hh": part["w_h"].T}
            names |= {"bias_ih": part["b"], "bias_hh": second_bias(part)}
            names |= {"weight_hr": part["w_p"].T} if "w_p" in part else {}
            for name, value in names.items():
                getattr(module, name + suffix).copy_(to_tensor(value))
    return module


def to_array(tensor: torch.Tensor) -> jax.Array:
    """A torch tensor as a JAX array of the same dtype."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # NumPy has none
        return jnp.asarray(tensor.float().numpy()).astype(jnp.bfloat16)
    return jnp.asarray(tensor.numpy())


def to_tensor(array: jax.Array) -> torch.Tensor:
    """A JAX array as a torch tensor of the same dtype."""
    if array.dtype == jnp.bfloat16:
        return torch.tensor(np.asarray(array.astype(jnp.float32))).bfloat16()
    return torch.tensor(np.asarray(array))
