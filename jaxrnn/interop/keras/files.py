"""Keras's files, read without trust and without Keras.

    NAME.keras        a zip: config.json, metadata.json, model.weights.h5
    NAME.weights.h5   HDF5: layers/lstm/cell/vars/0, ...

Nothing in them is made by its name, run, unpickled or written out. Of HDF5 there are datasets that
lie in the file as they are in memory, and groups; no links to other places, no filters, no pieces
of other files. So no array is larger than its file.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any, Literal

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import Layer, Pooled, errors
from jaxrnn.interop.keras.convert import assembled, check_slots, configured, label, width_of
from jaxrnn.interop.keras.ours import config_of, described
from jaxrnn.interop.keras.theirs import Plan, plan
from jaxrnn.layer import like_input
from jaxrnn.saving import tensors

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
LONGEST = 2**24
"""The largest configuration, in bytes."""
MOST = 2**16
"""How many names a file may have."""
DEPTH = 64
HDF5 = b"\x89HDF\r\n\x1a\n"


def load_keras(
    path: Any,
    layer: Any = None,
    x: Any = None,
    *,
    biases: Literal["sum", "both"] = "sum",
) -> tuple[Any, Any]:
    """The layer and params in a file that Keras 3 saved.

    A file need not be trusted. Keras does not open it, and nothing in it is run, unpickled or
    written out. Before memory is taken for arrays, their names, shapes and dtypes are those that
    the network needs, and their sizes those that lie in the file. A `.keras` archive has checksums
    and a `.weights.h5` has none: there a changed number is not seen. What an optimizer has in the
    file is left out. Doubles become float32 unless JAX's x64 is on.

    Args:
      path: a `.keras` archive, or a `.weights.h5`.
      layer: the layer whose weights are in the file, where they are named as those that `to_keras`
        makes of it, or Keras's own layer or model; of an archive by default what it describes.
      x: an input of one step for that layer, as for `init`; by default the file says how wide it
        is.
      biases: as in `from_keras`, for a layer of Keras or one that the file describes.

    Returns:
      `(layer, params)`.

    Raises:
      FileNotFoundError, OSError: where there is no file, or it cannot be read.
      ValueError: for a file of another kind or a damaged one; for arrays that are missing, too
        many, or of other shapes, by the name of the first; for layers that `from_keras` refuses;
        for a `.weights.h5` without a layer.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrnn.interop.keras import to_keras
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.keras"
      >>> net = Stack((LSTM(8), Dense(2)))
      >>> to_keras(net, net.init(jax.random.key(0), 3)).save(path)
      >>> layer, params = load_keras(path)
      >>> layer == net
      True
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("load_keras", biases)
    errors.check_path("load", path)
    path = pathlib.Path(path).expanduser()
    with tensors.opened(path) as file:
        start, weights, size = file.read(8), file, os.fstat(file.fileno()).st_size
        if start[:4] not in (HDF5[:4], b"PK\x03\x04"):
            need = "a .keras archive or a .weights.h5 that Keras 3 wrote"
            raise errors.bad_file(path, errors.kind_of_file(start), need)
        config: Any = None
        if start[:2] == b"PK":
            members = archive(path, file, size)
            config, weights = members[CONFIG], io.BytesIO(members[WEIGHTS])
        made = wanted(path, config, layer, biases)
        with hdf5(path, "the file"):
            held = h5py.File(weights, "r")
        with held:
            found = dict(datasets(path, held))
            arrays, width = read(path, found, made.slots, x, made.layer, size)
    params = assembled(str(path), made.layer, made.slots, arrays, width, errors.COPY)
    return made.layer, params


def archive(path: pathlib.Path, file: Any, size: int) -> dict[str, bytes]:
    """The members of an archive, which lie in it as they are, and only those that Keras writes."""
    damaged, names = "", (CONFIG, WEIGHTS, "metadata.json")
    try:
        held = zipfile.ZipFile(file)
        members = held.infolist()
    except Exception as why:  # of zipfile's own, struct's, the system's
        raise errors.bad_file(path, f"a damaged archive ({errors.short(str(why))})") from None
    for i, one in enumerate(members):
        if one.filename not in names or any(one.filename == m.filename for m in members[:i]):
            damaged = f"a member {errors.short(one.filename)!r}, or two of that name"
        elif one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1:
            damaged = f"{one.filename} compressed or encrypted, of {one.file_size} bytes"
        elif one.file_size > (size if one.filename == WEIGHTS else min(size, LONGEST)):
            damaged = f"{one.filename} of {one.file_size} bytes in an archive of {size}"
        if damaged:
            need = f"{', '.join(names)}, each once and as it is"
            raise errors.bad_file(path, damaged, need)
    for name in names[:2]:
        if name not in held.namelist():
            raise errors.bad_file(path, f"an archive without {name}", ", ".join(names))
    try:
        return {name: held.read(name) for name in names[:2]}  # held to their checksums
    except Exception as why:
        raise errors.bad_file(path, f"a damaged archive ({errors.short(str(why))})") from None


def wanted(path: pathlib.Path, config: bytes | None, layer: Any, biases: str) -> Plan:
    """The layer, and which arrays it has: of the archive's configuration, or of a layer of ours."""
    if layer is None:
        if config is None:
            need, do = "the layer that they are of", "Pass it: load_keras(path, LSTM(8), 3), say."
            raise errors.not_convertible(str(path), "weights alone", need, do)
        return plan(str(path), tensors.parsed(path, config, CONFIG), None, biases)
    if isinstance(layer, Layer | Pooled):
        made = config_of(layer, "float32")[0]
    else:
        made = configured("load_keras", layer)
    if made["class_name"] != "Sequential":  # Keras saves models alone
        made = described("Sequential", layers=[made])
    found = plan("load_keras", made, None, biases)
    return found._replace(layer=layer) if isinstance(layer, Layer | Pooled) else found


@contextlib.contextmanager
def hdf5(path: pathlib.Path, what: str) -> Iterator[None]:
    """Whatever HDF5 says of a damaged file is one error of ours."""
    try:
        yield
    except Exception as why:
        got = f"{what} as HDF5 cannot read it ({errors.short(str(why))})"
        raise errors.bad_file(path, got, "a file as Keras 3 wrote it") from None


def datasets(path: pathlib.Path, held: Any) -> Iterator[tuple[str, Any]]:
    """The arrays by their paths, but those of the optimizer and of random numbers. No link is
    followed that leads elsewhere.
    """
    todo, count = [("", held, 0)], 0
    while todo:
        above, group, depth = todo.pop()
        with hdf5(path, f"the group {above or '/'}"):
            names = list(group)
        for name in names:
            place, count = f"{above}{name}", count + 1
            with hdf5(path, place):
                link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink) or count > MOST or depth > DEPTH:
                got = f"{errors.short(place)}, linked by {type(link).__name__}, {depth} deep"
                need = f"groups and arrays in the file itself, {MOST} at most, {DEPTH} deep"
                raise errors.bad_file(path, got, need)
            if place == "optimizer" or name.startswith("seed_generator"):
                continue
            with hdf5(path, place):
                item = group[name]
            if isinstance(item, h5py.Group):
                todo.append((f"{place}/", item, depth + 1))
            else:
                yield place, item


def read(
    path: pathlib.Path, found: dict[str, Any], slots: Any, x: Any, layer: Any, size: int
) -> tuple[dict[str, np.ndarray], int]:
    """The arrays of slots, all checked before the first is read, and the number of inputs."""
    labels = {slot.path: label(slot) for slot in slots if slot.fill is None}
    if found and not any(name.startswith("layers/") for name in found):
        got = f"arrays {errors.short(', '.join(found))}, as older versions of Keras have them"
        raise errors.bad_file(path, got, "layers/..., as Keras 3 writes them")
    specs = {labels.get(name, name): spec(path, name, item) for name, item in found.items()}
    width = width_of(slots, specs)
    if x is not None:
        inputs = like_input(layer.body if isinstance(layer, Pooled) else layer, x)
        width = inputs.shape[-1] if inputs.shape else 1
    check_slots(str(path), slots, specs, width, errors.LOADED)
    if sum(math.prod(one.shape) * one.dtype.itemsize for one in specs.values()) > size:
        raise errors.bad_file(path, f"arrays larger than the {size} bytes of the file")
    arrays = {}
    for name, item in found.items():
        with hdf5(path, name):
            arrays[labels[name]] = item[()].view(specs[labels[name]].dtype)
    return arrays, width


def spec(path: pathlib.Path, name: str, item: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a dataset, which must lie in the file as it is in memory."""
    with hdf5(path, name):
        shape, dtype, made = item.shape, item.dtype, item.id.get_create_plist()
        plain = made.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
        plain = plain and not made.get_nfilters() and not made.get_external_count()
        stored = item.id.get_storage_size()
    if dtype == np.dtype("V2"):  # so HDF5 knows bfloat16
        dtype = jnp.dtype(jnp.bfloat16)
    if shape is None or dtype not in tensors.CODES:
        raise errors.bad_file(path, f"{name} of the dtype {dtype}", "an array of numbers")
    if not plain or stored != math.prod(shape) * dtype.itemsize:
        got = f"{name} {dtype}{list(shape)} of {stored} bytes, in chunks, compressed or elsewhere"
        raise errors.bad_file(path, got, "each array in the file as it is, in one piece")
    return jax.ShapeDtypeStruct(shape, dtype)
