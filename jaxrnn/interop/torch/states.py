"""The module of PyTorch whose state dict this is: what kind it is, the shapes of its arrays say.

    weight_ih_l0 [G*H, F], weight_hh_l0 [G*H, H or P], weight_hr_l0 [P, H]

G is 4 for an LSTM, 3 for a GRU, 1 for an RNN. What shapes do not show (an RNN's nonlinearity, the
dropout between layers) is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import nn

from jaxrnn import errors

KINDS = {4: nn.LSTM, 3: nn.GRU, 1: nn.RNN}
CELLS: dict[int, Any] = {4: nn.LSTMCell, 3: nn.GRUCell, 1: nn.RNNCell}
FIRST = ("weight_ih_l0", "weight_ih")


def specs_of(
    who: str, held: Mapping[str, Any], prefix: str
) -> dict[str, jax.ShapeDtypeStruct | None]:
    """The shapes and dtypes of tensors, which must be plain ones; None for those of other names."""
    found: dict[str, jax.ShapeDtypeStruct | None] = dict.fromkeys(held)
    for name, tensor in held.items():
        if not name.startswith(prefix):
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        plain = tensor.layout is torch.strided and hasattr(jnp, dtype) and not tensor.is_quantized
        if not plain or tensor.device.type == "meta":
            got = f"{name}, a tensor {dtype} with the layout {tensor.layout}, on {tensor.device}"
            raise errors.not_convertible(who, got, "a plain tensor that holds numbers", DO)
        found[name] = jax.ShapeDtypeStruct(tuple(tensor.shape), jnp.dtype(dtype))
    return found


DO = "Are these the arrays of one recurrent module, under this prefix?"


def module_of(
    who: str,
    specs: Mapping[str, jax.ShapeDtypeStruct | None],
    prefix: str,
    nonlinearity: str | None,
    dropout: float | None,
) -> nn.Module:
    """The module without its numbers, which have these shapes and dtypes: the first array that does
    not fit is named.
    """
    within = {name: spec for name, spec in specs.items() if spec and name.startswith(prefix)}
    names = {name.removeprefix(prefix): spec for name, spec in within.items()}
    first = next((name for name in FIRST if name in names), None)
    if first is None:
        raise errors.no_module(who, prefix, list(specs), FIRST)
    suffix = first.removeprefix("weight_ih")

    def shape(name: str) -> tuple[int, int]:
        spec = names.get(name + suffix)
        if spec is None or len(spec.shape) != 2 or min(spec.shape) < 1:
            got = "nothing" if spec is None else errors.describe(spec)
            got = f"{got} as {prefix}{name}{suffix}"
            raise errors.not_convertible(who, got, "a matrix", DO)
        return spec.shape

    (rows, inputs), (_, hidden), projected = shape("weight_ih"), shape("weight_hh"), None
    if "weight_hr_l0" in names:
        projected, hidden = shape("weight_hr")
    gates = rows // hidden
    if rows % hidden or gates not in ((4,) if projected else KINDS):
        got = f"{prefix}{first} {errors.describe(names[first])} for {hidden} units"
        need = f"{4 * hidden} rows for an LSTM, {3 * hidden} for a GRU or {hidden} for an RNN"
        raise errors.not_convertible(who, got, need, DO)
    if gates != 1 and nonlinearity is not None:
        got = f"nonlinearity={nonlinearity!r} for the arrays of a {KINDS[gates].__name__}"
        raise errors.not_convertible(who, got, "none", "Leave it out: it is for an RNN.")
    settings: dict[str, Any] = {"bias": f"bias_ih{suffix}" in names, "device": "meta"}
    if gates == 1:
        settings["nonlinearity"] = nonlinearity or "tanh"
    if suffix:
        layers = 1
        while f"weight_ih_l{layers}" in names:
            layers += 1
        settings["num_layers"] = layers
        settings["bidirectional"] = "weight_ih_l0_reverse" in names
        settings["dropout"] = dropout or 0.0 if layers > 1 else 0.0
        if projected:
            settings["proj_size"] = projected
    module = (KINDS if suffix else CELLS)[gates](inputs, hidden, **settings)
    need = {
        f"{prefix}{name}": jax.ShapeDtypeStruct(tuple(t.shape), jnp.float32)
        for name, t in module.state_dict().items()
    }
    errors.check_arrays(who, within, need, DO)
    for name, spec in within.items():
        if spec.dtype != names[first].dtype:
            got, like = f"{name} {errors.describe(spec)}", names[first].dtype
            raise errors.not_convertible(who, got, f"{like}, as {prefix}{first}", DO)
    return module


def filled(module: nn.Module, held: Mapping[str, torch.Tensor], prefix: str) -> nn.Module:
    """The module with these numbers, which fit it."""
    module.load_state_dict({name: held[prefix + name] for name in module.state_dict()}, assign=True)
    return module


def check_options(who: str, biases: Any, prefix: Any, nonlinearity: Any, dropout: Any) -> None:
    """Refuse options of a wrong kind."""
    if biases not in ("sum", "both"):
        raise errors.unknown_biases(who, biases)
    if not isinstance(prefix, str):
        raise errors.no_prefix(who, prefix)
    if nonlinearity is not None:
        errors.check_choice(who, "nonlinearity", nonlinearity, ("tanh", "relu"))
    if dropout is not None:
        errors.check_rate(who, "dropout", dropout)
