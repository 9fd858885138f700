"""Batches on a mesh of devices."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrnn import errors
from jaxrnn.data.buckets import Padded


def place(
    batch: Any, mesh: Mesh, axis: str = "batch", *, time: str | None = None, local: bool = False
) -> Any:
    """A batch split over a mesh of devices, row by row: each holds B / n rows.

    Every array has time first and the batch second, `[T, B, ...]`, as those of `Batch` and of
    `Seq2SeqBatch`; of a `Padded` plain columns, `rows` and `index` are `[B, ...]`. What is None
    stays None.

    On several processes each gives the whole batch, the same one, and only its own rows are put on
    its devices: nothing is sent. With `local` each gives the rows of its own devices alone, in the
    order of the mesh, as many as every other.

    Args:
      batch: a `Batch`, a `Padded`, or any pytree of arrays `[T, B, ...]`.
      mesh: the devices.
      axis: the mesh's axis over which rows are split.
      time: the mesh's axis over which steps are split too, for `Associative(axis=...)`.
      local: whether the batch has the rows of this process alone.

    Raises:
      TypeError: for what is no mesh, or leaves that are no arrays.
      ValueError: for an axis that the mesh does not have, rows or steps that its devices do not
        divide, or an array without a batch axis.

    Example:
      >>> mesh = Mesh(jax.devices()[:1], "batch")
      >>> segments = rnn.data.Segments(np.arange(21), batch=2, length=5)
      >>> tuple(rnn.data.place(segments(0), mesh).xs.sharding.spec)
      (None, 'batch')
    """
    errors.check_mesh("place", mesh, axis)
    errors.check_flag("place", "local", local)
    if time is not None:
        errors.check_mesh("place", mesh, time)
    if isinstance(batch, Padded):
        timed, rows = P(time, axis), P(axis)
        lay = [rows if mask is None else timed for mask in batch.masks]
        specs = Padded(tuple(lay), tuple(lay), rows, rows)
    else:
        specs = P(time, axis)

    def put(path: tuple, x: Any, spec: P) -> jax.Array:
        name = f"batch{jax.tree_util.keystr(path)}"
        x = errors.check_rows_of(name, x, spec, mesh, jax.process_count() if local else 1)
        sharding = NamedSharding(mesh, spec)
        if local:
            return jax.make_array_from_process_local_data(sharding, x)
        if sharding.is_fully_addressable:
            return jax.device_put(x, sharding)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    leaves, tree = jax.tree_util.tree_flatten_with_path(batch)
    specs = jax.tree.leaves(jax.tree.broadcast(specs, batch, is_leaf=lambda x: isinstance(x, P)))
    return tree.unflatten([put(*leaf, spec) for leaf, spec in zip(leaves, specs, strict=True)])
