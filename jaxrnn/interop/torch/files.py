"""PyTorch's files, read without trust: an archive of `torch.save`, or a file of safetensors."""

from __future__ import annotations

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import torch

from jaxrnn import Layer, errors
from jaxrnn.interop.torch.modules import from_torch, to_tensor
from jaxrnn.interop.torch.states import check_options, filled, module_of, specs_of
from jaxrnn.saving import tensors

DEPTH = 8
"""How deep dicts of a checkpoint may be nested."""
MOST = 2**16
"""How many arrays a file may have."""


def load_torch(
    path: Any,
    *,
    prefix: str = "",
    nonlinearity: Literal["tanh", "relu"] | None = None,
    dropout: float | None = None,
    biases: Literal["sum", "both"] = "sum",
) -> tuple[Layer, Any]:
    """The cell and params of a recurrent module whose state dict is in a file.

    A `.pt` of `torch.save`, or a `.safetensors`. A file need not be trusted: a `.pt` is read by
    `torch.load(weights_only=True)`, which runs no code, after its archive is held to its checksums,
    and arrays are made when names, shapes and dtypes fit the module and lie in the file. A file of
    safetensors from another library has no checksum: there a changed number is not seen.
    Doubles become float32 unless JAX's x64 is on.

    Names of nested dicts are joined: a checkpoint `{"model": state_dict}` whose LSTM is called
    encoder has the prefix "model.encoder.".

    Args:
      path: the file.
      prefix: what stands before the names of the module's arrays, with its dot.
      nonlinearity: as in `from_torch`.
      dropout: as in `from_torch`.
      biases: as in `from_torch`.

    Returns:
      `(cell, params)`.

    Raises:
      FileNotFoundError, OSError: where there is no file, or it cannot be read.
      ValueError: for a file of another kind or a damaged one; for a state dict that `from_torch`
        refuses, by the name of the first array that does not fit.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.pt"
      >>> torch.save(torch.nn.LSTM(3, 8).state_dict(prefix="encoder."), path)
      >>> load_torch(path, prefix="encoder.")[0]
      LSTM(hidden=8, projection=None, forget_bias=1.0)
    """
    check_options("load_torch", biases, prefix, nonlinearity, dropout)
    errors.check_path("load", path)
    path = pathlib.Path(path).expanduser()
    with tensors.opened(path) as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(8)
        if start[:4] == b"PK\x03\x04":
            check_archive(path, file, size)
            held = saved(path)
            specs = specs_of(str(path), held, prefix)
            module = module_of(str(path), specs, prefix, nonlinearity, dropout)
            for name in module.state_dict():
                one = held[prefix + name]
                if one.numel() * one.element_size() > one.untyped_storage().nbytes():
                    got = f"{prefix}{name} {errors.describe(specs[prefix + name])}"
                    raise errors.bad_file(path, f"{got}, of fewer bytes", "all of its numbers")
        else:
            file.seek(0)
            specs, begins = tensors.read_places(path, file)
            module = module_of(str(path), specs, prefix, nonlinearity, dropout)
            held = {
                prefix + name: to_tensor(
                    jnp.asarray(
                        tensors.read_place(
                            path, file, prefix + name, specs[prefix + name], begins[prefix + name]
                        )
                    )
                )
                for name in module.state_dict()
            }
    return from_torch(filled(module, held, prefix), biases=biases)


def check_archive(path: pathlib.Path, file: Any, size: int) -> None:
    """An archive whose members lie in it as they are, and are what was written."""
    need = "an archive as torch.save writes it"
    try:
        held = zipfile.ZipFile(file)
        members = held.infolist()
    except Exception as why:  # of zipfile's own, struct's, the system's
        got = f"a damaged archive ({errors.short(str(why))})"
        raise errors.bad_file(path, got, need) from None
    if not any(one.filename.endswith("/data.pkl") for one in members):
        names = errors.short(", ".join(one.filename for one in members[:9]))
        raise errors.bad_file(path, f"an archive of {names or 'nothing'}", need)
    for one in members:
        if one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1 or one.file_size > size:
            got = f"{errors.short(one.filename)} of {one.file_size} bytes in a file of {size}"
            raise errors.bad_file(path, f"{got}, compressed or encrypted", need)
    try:
        damaged = held.testzip()
    except Exception as why:
        damaged = errors.short(str(why))
    if damaged:
        raise errors.bad_file(path, f"{damaged}, which is not what was written", need)


def saved(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of `torch.save` by their names. They are views of the file: nothing
    that it declares takes memory.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as why:  # whatever the unpickler meets
        got = f"what torch.load(weights_only=True) refuses ({errors.short(str(why))})"
        raise errors.bad_file(path, got, "a state dict, or dicts of them") from None
    flat: dict[str, torch.Tensor] = {}
    todo = [("", found, 0)]
    while todo:
        above, one, depth = todo.pop()
        if not isinstance(one, Mapping) or depth > DEPTH or len(flat) > MOST:
            got = f"a {type(one).__name__} where names should be, {depth} deep"
            raise errors.bad_file(path, got, "a state dict, or dicts of them")
        for name, value in one.items():
            if isinstance(value, Mapping):
                todo.append((f"{above}{name}.", value, depth + 1))
            elif isinstance(value, torch.Tensor):
                flat[f"{above}{name}"] = value
    return flat
