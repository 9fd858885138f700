"""What saving and loading a network refuse."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxrnn.errors.message import describe, error

COPY = "Take another copy of it, or save the network again."
LOADED = "Take another copy of the file, or the code that wrote it."


def short(x: Any) -> str:
    """What is said of a value that may be long."""
    text = x if isinstance(x, str) else repr(x)
    return text if len(text) <= 80 else text[:77] + "..."


def check_path(who: str, path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        do = f'Write {who}("net.safetensors", ...), say.'
        raise error(TypeError, who, f"path={path!r}", "the path of a file", do)
    if not who.startswith("load") and pathlib.Path(path).expanduser().is_dir():
        do = 'Add a name to it: "net.safetensors".'
        raise error(IsADirectoryError, str(path), "a directory", "the path of a file", do)


def check_custom(who: str, custom: Any, own: Callable[[str], Any]) -> None:
    """Names for a user's classes and functions."""
    need, do = "names for classes and functions", 'Write custom={"MyCell": MyCell}.'
    if not (isinstance(custom, Mapping) and all(isinstance(name, str) for name in custom)):
        raise error(TypeError, who, f"custom as a {describe(custom)}", need, do)
    for name, thing in custom.items():
        if own(name) is not None:
            got, need = f"custom with the name {name!r}", "other names: this one is jaxrnn's own"
            raise error(ValueError, who, got, need, "Give it another name, and the same to load.")
        if isinstance(thing, type) and not dataclasses.is_dataclass(thing):
            got, need = f"custom with the class {thing.__name__}", "a dataclass or a layer"
            do = "What it is made of are its fields: derive it from Cell, or make it a dataclass."
            raise error(TypeError, who, got, need, do)
        if not callable(thing):
            raise error(TypeError, who, f"custom with {name!r} as a {describe(thing)}", need, do)


def no_network(kind: type[Exception], who: str, layer: Any) -> Exception:
    name = layer.__name__ if isinstance(layer, type) else type(layer).__name__
    got = f"the class {name} itself" if isinstance(layer, type) else f"{short(layer)}"
    need, do = "a layer, Pooled or EncoderDecoder", "Pass the network itself: LSTM(8), say."
    return error(kind, who, got, need, do)


def no_json(who: str, where: str, value: Any) -> Exception:
    need = "numbers that are finite, strings, tuples, and what is jaxrnn's or has a name in custom"
    do = "Give the number another way."
    got = f"{where}={short(value)}"
    if callable(value) or dataclasses.is_dataclass(value):
        plain: Any = value if hasattr(value, "__name__") else type(value)
        name = plain.__name__.strip("<>")
        what = "a function" if plain is value else "of a class"
        got = f"{where}, {what} {name} of yours"
        need = "a name for what is not jaxrnn's own"
        do = f"Pass custom={{{name!r}: {name}}}, and the same to load."
    return error(TypeError, who, got, need, do)


def not_made_again(who: str, layer: Any, again: Any) -> Exception:
    got, need = f"{layer!r}, whose fields make {again!r}", "a layer that its fields make again"
    return error(ValueError, who, got, need, "Keep the constructor's arguments as the fields.")


def bad_configuration(who: str, where: str, why: str) -> Exception:
    got = f"{where} with {why if len(why) <= 500 else why[:497] + '...'}"
    do = "Was it changed, or written by a newer jaxrnn?"
    return error(ValueError, who, got, "a configuration that to_json or save made", do)


def unknown_name(who: str, where: str, kind: str, name: Any) -> Exception:
    need = f"a {kind} of jaxrnn's or of custom"
    do = "If it is yours, give it: custom={" + f"{short(name)!r}: ..." + "}. No name is imported."
    return error(ValueError, who, f"the {kind} {short(name)} as {where}", need, do)


def larger_than_file(who: str, where: str, size: int) -> Exception:
    need = "sizes for which the file has arrays"
    return error(ValueError, who, f"{where}={size}", need, "It was not written by save.")


def no_pair_of_inputs(who: str, layer: Any, x: Any) -> Exception:
    need = "the pair of the source's and the target's input"
    return error(ValueError, who, f"x={short(x)} for {layer!r}", need, "Pass (TOKEN, TOKEN), say.")


def model_state(who: str, layer: Any) -> Exception:
    do = "Leave state out: a model begins each of its sequences anew."
    return error(ValueError, who, f"a state of {layer!r}", "a state of a layer", do)


def one_name_twice(name: str) -> Exception:
    do = "Rename a key that has a dot in it, or a number that is a string too."
    return error(ValueError, "save", f"two arrays named {name}", "one for each name", do)


def check_leaves(who: str, arrays: Mapping[str, Any], known: Iterable[Any]) -> None:
    """Arrays that this process holds, of dtypes that have a place in a file."""
    for name, leaf in arrays.items():
        got = f"{name} {describe(leaf)}"
        if isinstance(leaf, Tracer):
            do = "Call it outside jit, grad and vmap."
            raise error(TypeError, who, f"{got}, which is being traced", "an array", do)
        if not (hasattr(leaf, "dtype") and hasattr(leaf, "shape")):
            raise error(TypeError, who, got, "an array", "Use jnp.asarray.")
        if leaf.dtype not in known:
            need = "real numbers or booleans of one of NumPy's or ml_dtypes' kinds"
            raise error(TypeError, who, got, need, "Save it apart: a key by jax.random.key_data.")
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            do = "Gather it first: jax.experimental.multihost_utils.process_allgather."
            raise error(ValueError, who, f"{got} on several hosts", "an array of this host", do)


def check_arrays(who: str, given: Mapping[str, Any], need: Mapping[str, Any], do: str) -> None:
    """Arrays against those that a network has: the same names and shapes, dtypes of one kind."""
    for name in [name for name in need if name not in given]:
        got = f"no {name} among {short(', '.join(given)) or 'no arrays'}"
        raise error(ValueError, who, got, f"{name} {describe(need[name])}", do)
    for name in [name for name in given if name not in need]:
        known = short(", ".join(need) or "no arrays")
        raise error(ValueError, who, f"{name} {describe(given[name])}", f"only {known}", do)
    for name, leaf in need.items():
        got, floating = given[name], jnp.issubdtype(leaf.dtype, jnp.floating)
        kind = jnp.issubdtype(got.dtype, jnp.floating) if floating else got.dtype == leaf.dtype
        if got.shape != leaf.shape or not kind:
            raise error(ValueError, who, f"{name} {describe(got)}", describe(leaf), do)


def check_doubles(who: str, given: Mapping[str, Any]) -> None:
    """Numbers of 64 bits, which JAX would cut."""
    for name, spec in given.items():
        if jax.dtypes.canonicalize_dtype(spec.dtype) != spec.dtype:
            need, do = "64 bits enabled", 'Call jax.config.update("jax_enable_x64", True) first.'
            raise error(ValueError, who, f"{name} {describe(spec)}", need, do)


def cannot_write(path: Any, why: OSError) -> Exception:
    need, do = "room and the right to write", "What was there before is as it was."
    return error(OSError, str(path), f"no file written ({why.strerror or why})", need, do)


def cannot_read(path: Any, why: OSError | ValueError) -> Exception:
    do = "Check the path."
    if isinstance(why, FileNotFoundError):
        return error(FileNotFoundError, str(path), "no file there", "one with a network", do)
    got = f"a file that cannot be read ({getattr(why, 'strerror', None) or why})"
    return error(type(why), str(path), got, "one that can be", do)


def not_a_file(path: Any, directory: bool) -> Exception:
    kind, got = (
        (IsADirectoryError, "a directory") if directory else (ValueError, "a device or a pipe")
    )
    do = "Copy it to a file."
    if directory:
        do = "A run's checkpoints are read by training.restore, its network by restore_network."
    return error(kind, str(path), got, "a file with a network", do)


def bad_file(path: Any, got: str, need: str = "a file as save wrote it") -> Exception:
    return error(ValueError, str(path), got, need, COPY)


def too_long(path: Any, length: int, most: int) -> Exception:
    got, need = f"a configuration and metadata of {length} bytes", f"{most} at most"
    return error(ValueError, str(path), got, need, "Keep long metadata in a file of its own.")


def no_header(path: Any, start: bytes, size: int, length: int, most: int) -> Exception:
    got = f"a header of {length} bytes in a file of {size}"
    if size < 8:
        got = f"a file of {size} bytes"
    elif start[:2] == b"PK" or length > most:
        got = kind_of_file(start)
    return bad_file(path, got)


def kind_of_file(start: bytes) -> str:
    """What a file seems to be, from its first bytes."""
    if start[:2] == b"PK":
        return "an archive, as np.savez and torch.save write it"
    if start[:1] == b"\x80":
        return "a pickle, which is never opened"
    if start[:4] == b"\x89HDF":
        return "a file of HDF5"
    return "a file of another kind" if start else "an empty file"


def foreign_file(path: Any, names: list[str], form: Any) -> Exception:
    if form == "jaxrnn exported":
        got, need = "a network that export wrote", "a file that save wrote"
        return error(ValueError, str(path), got, need, "Read it with load_exported.")
    if form == "jaxrnn":
        got, need = "a network that save wrote", "a file that export wrote"
        return error(ValueError, str(path), got, need, "Read it with load.")
    got = f"no network of jaxrnn's, but arrays {short(', '.join(names)) or 'without a name'}"
    do = "interop.torch.load_torch reads PyTorch's; any other, safetensors itself."
    return error(ValueError, str(path), got, "a file that save wrote", do)


def other_version(path: Any, metadata: Mapping[str, str], version: str) -> Exception:
    got = (
        f"the form {short(metadata.get('version'))}, which jaxrnn "
        f"{short(metadata.get('writer', 'of no version'))} wrote"
    )
    return error(ValueError, str(path), got, f"the form {version}", "Update jaxrnn.")
