"""A file of named arrays in the form of safetensors, with checksums.

    8 bytes    the header's length, little-endian
    header     JSON: {"__metadata__": {"checksum": ..., ...}, "name": {dtype, shape, data_offsets}}
    arrays     as they lie in memory, without gaps

Nothing in it is believed before it was checked: the header against its checksum, the arrays' sizes
against the file's, and the arrays, once they are read, against theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import stat
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors

VERSION = "1"
LONGEST = 2**24
"""The largest header, in bytes; metadata are part of it."""

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": jnp.dtype(jnp.bfloat16),
    "F8_E4M3": jnp.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": jnp.dtype(jnp.float8_e5m2),
    **{f"I{8 * n}": np.dtype(f"int{8 * n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"uint{8 * n}") for n in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}

BLANK = "0" * 64
WRITING = threading.Lock()


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a file, which gets its name when it is complete and on the disk.

    Raises:
      OSError: where the system refuses; what was there before stays.
    """
    # Wide numbers first, so that each lies at a multiple of its size.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    entries: dict[str, Any] = {}
    digest, begin = hashlib.sha256(), 0
    for name in order:
        array = arrays[name]
        entries[name] = {
            "dtype": CODES[array.dtype],
            "shape": array.shape,
            "data_offsets": (begin, begin := begin + array.nbytes),
        }
        digest.update(raw(array))
    entries = {
        "__metadata__": {"checksum": BLANK, "arrays": digest.hexdigest(), **metadata}
    } | entries
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > LONGEST:
        raise errors.too_long(path, len(header), LONGEST)
    header = header.replace(BLANK.encode(), hashlib.sha256(header).hexdigest().encode(), 1)
    aside = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with WRITING:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(len(header).to_bytes(8, "little") + header)
                for name in order:
                    file.write(raw(arrays[name]))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as why:
            raise errors.cannot_write(path, why) from None
        finally:
            with contextlib.suppress(OSError):
                aside.unlink()


def raw(array: np.ndarray) -> Any:
    """An array's bytes, where they lie."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[io.BufferedReader]:
    """A file to be read.

    Raises:
      OSError: where there is none, or it is a directory or a device.
    """
    try:
        mode = path.stat().st_mode  # before it is opened: a pipe would wait for its writer
        file = path.open("rb") if stat.S_ISREG(mode) else None
    except (OSError, ValueError) as why:
        raise errors.cannot_read(path, why) from None
    if file is None:
        raise errors.not_a_file(path, stat.S_ISDIR(mode))
    with file:
        yield file


def read_header(
    path: pathlib.Path, file: io.BufferedReader, form: str = "jaxrnn"
) -> tuple[dict[str, str], dict[str, jax.ShapeDtypeStruct]]:
    """The metadata and what arrays there are, in their order; the file is left where they begin.
    Its form is "jaxrnn" for what `save` writes.

    Raises:
      ValueError: for a file of another kind, and for one that is damaged.
    """
    header, metadata, entries, size = read_start(path, file)
    if metadata.get("format") != form:
        raise errors.foreign_file(path, list(entries), metadata.get("format"))
    held = metadata.get("checksum", "").encode()
    if hashlib.sha256(header.replace(held, BLANK.encode(), 1)).hexdigest().encode() != held:
        raise errors.bad_file(path, "a header that is not what was written")
    if metadata.get("version") != VERSION:
        raise errors.other_version(path, metadata, VERSION)
    found, end = {}, 0
    for name, entry in entries.items():
        found[name], end = placed(path, name, entry, end)
    if end != size:
        raise errors.bad_file(path, f"{size} bytes of arrays where it names {end}")
    return metadata, found


def read_start(
    path: pathlib.Path, file: io.BufferedReader
) -> tuple[bytes, dict[str, str], dict[str, Any], int]:
    """The header, as it is and as its metadata and entries, and how many bytes come after it.

    Raises:
      ValueError: for a file of another kind.
    """
    size, start = os.fstat(file.fileno()).st_size, file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= min(LONGEST, size - 8):
        raise errors.no_header(path, start, size, length, LONGEST)
    header = file.read(length)
    entries = parsed(path, header, "a header")
    metadata = entries.pop("__metadata__", {}) if isinstance(entries, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise errors.bad_file(path, "a header of another form")
    return header, metadata, entries, size - 8 - length


def read_places(
    path: pathlib.Path, file: io.BufferedReader
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, int]]:
    """What arrays there are in a file that any library wrote, and where in it each begins.

    Raises:
      ValueError: for a file of another kind, and for one that is damaged.
    """
    _, _, entries, size = read_start(path, file)
    found, begins, end, start = {}, {}, 0, file.tell()
    for name, entry in sorted(entries.items(), key=lambda pair: offsets(pair[1])):
        begins[name] = start + end
        found[name], end = placed(path, name, entry, end)
    if end != size:
        raise errors.bad_file(path, f"{size} bytes of arrays where it names {end}")
    return found, begins


def offsets(entry: Any) -> tuple[int, int]:
    """Where an array begins and ends, by which they lie one after the other."""
    match entry:
        case {"data_offsets": [int(first), int(last)]}:
            return first, last
    return -1, -1


def read_place(
    path: pathlib.Path,
    file: io.BufferedReader,
    name: str,
    spec: jax.ShapeDtypeStruct,
    begin: int,
) -> np.ndarray:
    """One array of a file."""
    array = np.empty(spec.shape, spec.dtype)
    file.seek(begin)
    if file.readinto(raw(array)) != array.nbytes:
        raise errors.bad_file(path, f"an end within {name}")
    return array


def placed(
    path: pathlib.Path, name: str, entry: Any, begin: int
) -> tuple[jax.ShapeDtypeStruct, int]:
    """An array's shape and dtype, and where it ends; it begins where the one before it ends."""
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(first), int(last)]} if (
            code in DTYPES and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)
        ):
            dtype = DTYPES[code]
            if first != begin or last - first != math.prod(shape) * dtype.itemsize:
                got = f"{name} {dtype}{shape} at the bytes {first} to {last}"
                raise errors.bad_file(path, got, f"its size, from {begin} on")
            return jax.ShapeDtypeStruct(tuple(shape), dtype), last
    raise errors.bad_file(path, f"{name} as {errors.short(entry)}", "a dtype, a shape, offsets")


def read_arrays(
    path: pathlib.Path,
    file: io.BufferedReader,
    metadata: Mapping[str, str],
    found: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, np.ndarray]:
    """The arrays after a header.

    Raises:
      ValueError: where they are not what was written.
    """
    made, digest = {}, hashlib.sha256()
    for name, spec in found.items():
        array = made[name] = np.empty(spec.shape, spec.dtype)
        if file.readinto(raw(array)) != array.nbytes:
            raise errors.bad_file(path, f"an end within {name}")
        digest.update(raw(array))
        if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
            raise errors.bad_file(path, f"bytes in {name} that are no booleans")
    if digest.hexdigest() != metadata.get("arrays"):
        raise errors.bad_file(path, "arrays that are not what was written")
    return made


def parsed(path: pathlib.Path, text: bytes | str, what: str) -> Any:
    """JSON, of finite numbers and of names that are given once.

    Raises:
      ValueError: for anything else, however deep it is nested.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    def refuse(number: str) -> Any:
        raise ValueError(number)

    try:
        if isinstance(text, bytes):
            text = text.decode()
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as why:
        raise errors.bad_file(path, f"{what} that is no JSON ({errors.short(str(why))})") from None
