"""Recurrent modules from and to PyTorch."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from jaxrnn import GRU, LSTM, Elman, Layer, errors
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.torch.states import check_options, filled, module_of, specs_of
from jaxrnn.interop.two_biases import with_biases
from jaxrnn.interop.weights import joined, parted, parts_of, second_bias


def from_torch(
    module: nn.Module | Mapping[str, torch.Tensor],
    *,
    biases: Literal["sum", "both"] = "sum",
    prefix: str = "",
    nonlinearity: Literal["tanh", "relu"] | None = None,
    dropout: float | None = None,
) -> tuple[Layer, Any]:
    """The cell and params that compute what a torch module computes, or the one whose state dict
    this is.

    `nn.LSTM` (projections too), `nn.GRU`, `nn.RNN`, `nn.LSTMCell`, `nn.GRUCell` and `nn.RNNCell`.
    Several layers become a `Stack`, both directions a `Bidirectional`, dropout between layers a
    `Dropout` between them. Time is axis 0 here, whatever `batch_first` says.

    The shapes in a state dict say which of them it is of. They say neither what an `nn.RNN` applies
    nor the rate of dropout.

    Args:
      module: the module, or its state dict, or one that has it under a prefix; weights are copied.
      biases: `"sum"` adds the two biases of a layer, except those of the GRU's candidate, which
        become `b` and `b_n`. The outputs are the same, but an optimizer moves one bias half as far
        as the sum of two. `"both"` keeps them: each cell is a `TwoBiases`, and its training follows
        PyTorch's step by step.
      prefix: what stands before the names of the module's arrays in a state dict, with its dot:
        "encoder.".
      nonlinearity: "tanh" or "relu", of an `nn.RNN` of which there is the state dict alone; by
        default tanh.
      dropout: the rate between layers, where there is the state dict alone; by default 0.

    Returns:
      `(cell, params)`.

    Raises:
      TypeError: for a prefix that is no string.
      ValueError: for another kind of module, or other `biases`; for a state dict with an array that
        is missing, too many or of another shape or dtype, by its name.

    Example:
      >>> cell, params = from_torch(nn.LSTM(3, 8))
      >>> unroll(cell, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """
    check_options("from_torch", biases, prefix, nonlinearity, dropout)
    if isinstance(module, Mapping):
        held = {str(k): t for k, t in module.items() if isinstance(t, torch.Tensor)}
        specs = specs_of("from_torch", held, prefix)
        made = module_of("from_torch", specs, prefix, nonlinearity, dropout)
        return from_torch(filled(made, held, prefix), biases=biases)
    if (prefix, nonlinearity, dropout) != ("", None, None):
        raise errors.for_state_dicts("from_torch", module)
    if isinstance(module, nn.RNNCellBase):
        return layer(module, "", biases)
    if not isinstance(module, nn.RNNBase):
        raise errors.not_convertible(
            module,
            f"a {type(module).__name__}",
            "an nn.LSTM, nn.GRU or nn.RNN, one of their cells, or a state dict",
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
      the GRU's `b_n` and the second ones of `TwoBiases` in `bias_hh`. Its `state_dict()` is what
      `torch.save` and safetensors write.

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
    return jnp.array(tensor.numpy())


def to_tensor(array: jax.Array) -> torch.Tensor:
    """A JAX array as a torch tensor of the same dtype."""
    if array.dtype == jnp.bfloat16:
        return torch.tensor(np.asarray(array.astype(jnp.float32))).bfloat16()
    return torch.tensor(np.asarray(array))
