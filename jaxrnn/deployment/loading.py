"""Read what `export` wrote."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.export
import numpy as np

from jaxrnn import errors
from jaxrnn.deployment.exported import Exported, arguments, cast
from jaxrnn.deployment.exporting import FORMAT
from jaxrnn.saving import tensors
from jaxrnn.saving.network import LOADED, named, rebuilt

PROGRAMS = ("initial_state", "step", "sequence")
"""What a file holds; no step where a layer is not causal."""

KNOWN = re.compile(
    r"shape_assertion|Sharding|SPMD\w+|annotate_device_placement|AllocateBuffer"
    r"|lapack_\w+_ffi|(cusolver|hipsolver|cusparse)_\w+_ffi|(cu|hip)_(lu_pivots|threefry)\w+"
    r"|Eigh|Qr|ProductOfElementaryHouseholderReflectors|LuDecomposition|ApproxTopK"
    r"|stablehlo\.dynamic_\w+"
)
"""What of XLA's custom calls a file may use unasked: shapes, linear algebra, random bits. Others
run kernels, or functions of this process by their address."""


def load_exported(path: Any, *, custom_calls: Collection[str] = ()) -> Exported:
    """The programs and the params of a file that `export` wrote. It needs none of the network's
    code.

    All of a file is held to checksums before a program in it is looked at. Programs compute
    arrays; those that call anything of XLA's but shapes, linear algebra and random bits are
    refused, unless it is named.

    Args:
      path: the file.
      custom_calls: what else programs may call: "tpu_custom_call" for the kernels of `Fused`, say.

    Raises:
      FileNotFoundError, OSError: where there is no file, or it cannot be read.
      ValueError: for a file that is damaged, cut off, of another kind or of a newer version; for
        programs that this JAX does not read, and for those with calls that are not named.
      ModuleNotFoundError: without the package flatbuffers.

    Example:
      >>> load_exported("net.safetensors")  # doctest: +SKIP
      Exported(GRU(hidden=8, reset_after=True), x=float32[3], platforms=('cpu', 'cuda', 'tpu'))
    """
    errors.check_path("load_exported", path)
    errors.check_custom_calls(custom_calls)
    path = pathlib.Path(path).expanduser()
    with tensors.opened(path) as file:
        said, found = tensors.read_header(path, file, FORMAT)
        match tensors.parsed(path, said.get("exported", ""), "a description"):
            case {
                "programs": [*names],
                "platforms": [*platforms],
                "layer": str(layer),
                "configuration": configuration,
                "jax": str(writer),
                "metadata": dict(metadata),
            } if set(names) in (set(PROGRAMS), set(PROGRAMS) - {"step"}):
                pass
            case _:
                raise errors.bad_file(path, "a description of another form")
        errors.check_doubles(str(path), found)
        arrays = tensors.read_arrays(path, file, said, found)
    blobs = {name: arrays.pop(f"program.{name}", np.zeros(0)) for name in PROGRAMS if name in names}
    programs = {
        name: read_program(path, name, blob, writer, custom_calls) for name, blob in blobs.items()
    }
    try:
        like, *_ = check_together(programs, tuple(platforms))
        errors.check_arrays(str(path), arrays, named("params", like), LOADED)
    except (AttributeError, KeyError, TypeError) as why:
        raise errors.other_programs(path) from why
    params = cast(rebuilt(like, "params", arrays), like)
    versions = {"jaxrnn": said.get("writer", ""), "jax": writer}
    return Exported(params, tuple(platforms), metadata, layer, configuration, versions, programs)


def read_program(
    path: pathlib.Path, name: str, blob: np.ndarray, writer: str, custom_calls: Collection[str]
) -> jax.export.Exported:
    """One program, which calls nothing but what is known or named."""
    if blob.dtype != np.uint8 or blob.ndim != 1:
        raise errors.bad_file(path, f"no program {name}")
    try:
        program = jax.export.deserialize(bytearray(blob))
        orders = [program]
        while orders[-1].has_vjp():
            orders.append(orders[-1].vjp())
        texts = [order.mlir_module() for order in orders]
    except ImportError:
        raise errors.no_flatbuffers() from None
    except Exception as why:  # whatever a reader of another version says
        raise errors.bad_program(path, name, writer, why) from why
    low = jax.export.minimum_supported_calling_convention_version
    high = jax.export.maximum_supported_calling_convention_version
    convention = program.calling_convention_version
    if not low <= convention <= high:
        why = f"calling convention {convention}, where {low} to {high} are known"
        raise errors.bad_program(path, name, writer, ValueError(why))
    called = {call for text in texts for call in calls(text)}
    unknown = {call for call in called if not KNOWN.fullmatch(call)} - set(custom_calls)
    if unknown:
        raise errors.unknown_calls(path, name, unknown)
    return program


def calls(text: str) -> list[str]:
    """The targets of a module's custom calls; an empty name for a call in a form not known."""
    found = re.findall(r"custom_call\b(?: @([\w.]+)| @\"([^\"]*)\")?", text)
    return [plainly or quoted for plainly, quoted in found]


def check_together(
    programs: Mapping[str, jax.export.Exported], platforms: tuple[str, ...]
) -> tuple[Any, Any, Any, Any]:
    """The arguments of `sequence`, where all programs take the same params, states and inputs.

    Raises:
      KeyError, TypeError, ValueError: where they do not.
    """

    def said(*trees: Any) -> Any:
        return [jax.tree.map(lambda a: (str(a.shape), str(a.dtype)), tree) for tree in trees]

    params, xs, state, mask = arguments(programs["sequence"])
    weights, rows = arguments(programs["initial_state"])
    fit = [said(weights) == said(params), len(rows.shape) == 1, len(mask.shape) == 2]
    if "step" in programs:
        weights, before, x = arguments(programs["step"])
        fit += [said(weights, before) == said(params, state)]
        fit += [jax.tree.structure(x) == jax.tree.structure(xs)]
    fit += [program.platforms == platforms for program in programs.values()]
    if not all(fit):
        raise TypeError("programs that do not fit each other")
    return params, xs, state, mask
