"""Which network a run trains: noted in its checkpoints, and made again without its code."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.layer import Layer, Params
from jaxrnn.saving import from_json, to_json
from jaxrnn.training.checkpoints import newest, orbax, quiet, steps_in


def configuration(step: Any) -> Any:
    """The network of a step as JSON; None where the step knows of none, and for own cells, which
    have no name there.
    """
    layer = getattr(step, "layer", None)
    try:
        return None if layer is None else to_json(layer)
    except (TypeError, ValueError):
        return None


def restore_network(directory: Any) -> tuple[Layer, Params]:
    """The network that `fit` trained under a directory, and its best params, or where none were
    kept the newest: `(layer, params)`. No template and no code is needed; params are on one device.

    A checkpoint notes the network where the step is one of `bptt_step` or `truncated_bptt_step` and
    the network is made of jaxrnn's layers alone.

    Raises:
      FileNotFoundError: where there is no checkpoint.
      ValueError: where the newest whole one does not note its network, and where none is whole.

    Example:
      >>> restore_network("runs/first")  # doctest: +SKIP
      (GRU(hidden=8, reset_after=True), {'w_x': ..., 'w_h': ..., 'b': ...})
    """
    errors.check_directory("restore_network", directory)
    path = pathlib.Path(directory).expanduser().absolute()
    if not steps_in(path):
        raise errors.no_checkpoint(directory)
    step, record = newest(path)
    if record.get("network") is None:
        raise errors.no_network_noted(directory, step)
    layer, whole = from_json(record["network"]), record["best"] is None
    folder, here = path / str(step), jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    ocp, checkpointer = orbax()

    def place(a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here)

    with quiet():
        item = folder / ("state" if whole else "best")
        specs = jax.tree.map(place, checkpointer.metadata(item).item_metadata.tree)
        found = checkpointer.restore(item, args=ocp.args.StandardRestore(specs))
    return layer, tuples(found["params"] if whole else found)


def tuples(tree: Any) -> Any:
    """Orbax's lists as the tuples that they were: params of jaxrnn's layers hold no lists."""
    if isinstance(tree, dict):
        return {name: tuples(part) for name, part in tree.items()}
    return tuple(map(tuples, tree)) if isinstance(tree, list | tuple) else tree
