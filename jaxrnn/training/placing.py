"""A training state on a mesh of devices: what is split, and what every device has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrnn import errors
from jaxrnn.layer import Params
from jaxrnn.training.processes import put
from jaxrnn.training.state import TrainState

Weights = str | Mapping[str, P] | None


def place(
    state: TrainState | Params, mesh: Mesh, axis: str = "batch", *, weights: Weights = None
) -> Any:
    """A state laid out on a mesh, so that every step, `fit`, `evaluate` and `restore` run there
    without a change: `jax.device_put` by `shardings`, which has the arguments.

    On several processes, each gives the same state, and JAX compares them.

    Raises:
      TypeError, ValueError: as `shardings`.

    Example:
      >>> net, tx = Stack((Embed(9, 4), GRU(8), Dense(9))), optimizer(1e-2)
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> run = TrainState.create(net, params, tx, jax.random.key(1), batch_shape=(2,))
      >>> mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("batch", "model"))
      >>> run = place(run, mesh, weights={"w_h$": P(None, "model")})
      >>> tuple(run.params[1]["w_h"].sharding.spec), tuple(run.carry[1].sharding.spec)
      ((None, 'model'), ('batch',))
    """
    return put(state, shardings(state, mesh, axis, weights=weights))


def shardings(
    state: TrainState | Params, mesh: Mesh, axis: str = "batch", *, weights: Weights = None
) -> Any:
    """How a training state lies on a mesh: a tree like it, of `NamedSharding`s.

    The carry, `[B, ...]`, is split by batch. Params are whole on every device, or split as
    `weights` says, and whatever the optimizer keeps for each of them lies as it does. The rest is
    on every device.

    Split weights cost: the state of a step is gathered from all devices of the axis before the next
    product, in every step. It pays where weights do not fit into a device, or where a device reads
    them more slowly than others send a state.

    Args:
      state: a `TrainState`, or params alone.
      mesh: the devices.
      axis: the mesh's axis over which the batch is split.
      weights: None; or specs by name, `{"w_h$": P(None, "model")}`: a param lies as the first
        pattern says that is found in its path (`re.search` in "1/w_h", say), and is whole where
        none is; or the name of an axis, over which the last axis of every param is split, the gates
        or units, wherever its size allows.

    Raises:
      TypeError: for what is no mesh or no such weights.
      ValueError: for an axis that the mesh does not have, a batch or a weight that its devices do
        not divide, and a pattern that is found in no path.

    Example:
      >>> params = GRU(8).init(jax.random.key(0), 3)
      >>> laid = shardings(params, Mesh(jax.devices()[:1], "batch"), weights={"w_x": P("batch")})
      >>> tuple(laid["w_x"].spec), tuple(laid["w_h"].spec)
      (('batch',), ())
    """
    errors.check_mesh("place", mesh, axis)
    whole: Any = NamedSharding(mesh, P())
    params = state.params if isinstance(state, TrainState) else state
    specs = {path: P() for path in paths(params)} | chosen(params, mesh, weights)
    laid = jax.tree.unflatten(
        jax.tree.structure(params), [NamedSharding(mesh, spec) for spec in specs.values()]
    )
    if not isinstance(state, TrainState):
        return laid
    errors.check_rows_divide("place", "state.carry", state.carry, mesh, axis, 0)
    leaves = sorted(paths(params).items(), key=lambda pair: -len(pair[0]))

    def kept(place: tuple, leaf: Any) -> NamedSharding:
        """As the param whose path its own ends with, such as a mean of its gradients."""
        name = "/" + named(place)
        for path, param in leaves:
            if name.endswith("/" + path) and leaf.shape == param.shape:
                return NamedSharding(mesh, specs[path])
        return whole

    return TrainState(
        params=laid,
        opt_state=jax.tree_util.tree_map_with_path(kept, state.opt_state),
        step=whole,
        key=whole,
        carry=jax.tree.map(lambda leaf: NamedSharding(mesh, P(axis)), state.carry),
        skipped=whole,
    )


def layout(state: Any) -> tuple | None:
    """How the leaves of a state lie on a mesh; None on one device, and where it is not known, or
    part of the types.
    """
    leaves = jax.tree.leaves(state)
    if not all(isinstance(x, jax.Array) and not isinstance(x, Tracer) for x in leaves):
        return None
    found = [x.sharding for x in leaves]
    if all(len(sharding.device_set) == 1 for sharding in found):
        return None
    auto = [isinstance(s, NamedSharding) and s.mesh.are_all_axes_auto for s in found]
    return tuple(found) if all(auto) else None


def laid_out(state: Any, places: tuple | None) -> Any:
    """A state that lies as the one before it: a step that moved it would be compiled again."""
    if places is None:
        return state
    leaves, tree = jax.tree.flatten(state)
    return tree.unflatten(map(jax.lax.with_sharding_constraint, leaves, places))


def named(path: tuple) -> str:
    """A path as "1/w_h"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def paths(params: Params) -> dict[str, Any]:
    """The leaves by their paths, in their order."""
    return {named(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def chosen(params: Params, mesh: Mesh, weights: Weights) -> dict[str, P]:
    """The specs of the params that `weights` splits, by path."""
    if weights is None:
        return {}
    leaves = paths(params)
    if isinstance(weights, str):
        errors.check_mesh("place", mesh, weights)
        size = mesh.shape[weights]
        found = {
            path: P(*[None] * (leaf.ndim - 1), weights)
            for path, leaf in leaves.items()
            if leaf.ndim and leaf.shape[-1] % size == 0
        }
        if not found:
            raise errors.no_weight_divides(weights, size, leaves)
        return found
    errors.check_weight_rules(weights, P)
    found = {}
    for pattern, spec in weights.items():
        hits = [path for path in leaves if re.search(pattern, path)]
        if not hits:
            raise errors.no_weight_named(pattern, leaves)
        for path in hits:
            errors.check_weight_spec(path, leaves[path], spec, mesh)
            found.setdefault(path, spec)
    return found
