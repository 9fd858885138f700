"""What is refused on a mesh of devices."""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxrnn.errors.message import describe, error


def check_axis_name(who: Any, name: str, axis: Any) -> None:
    """The name of an axis of a mesh, or None."""
    if axis is not None and not isinstance(axis, str):
        do = f'Write {name}="time", say.'
        raise error(TypeError, who, f"{name}={axis!r}", "the name of an axis of a mesh", do)


def typed_axes(who: Any) -> Exception:
    got, need = "a mesh with explicit axes, which are in the types of arrays", "automatic axes"
    do = "Write jax.sharding.Mesh(devices, names), or jax.make_mesh with AxisType.Auto."
    return error(ValueError, who, got, need, do)


def axes_of(mesh: Any) -> str:
    """The axes of a mesh and their sizes, in words."""
    return ", ".join(f"{name!r} of {size}" for name, size in mesh.shape.items()) or "none"


def check_manual_axis(axis: Any) -> None:
    """An axis of the `shard_map` around, or None."""
    check_axis_name("linear_scan", "axis", axis)
    if axis is None:
        return
    mesh = jax.sharding.get_abstract_mesh()
    if axis not in mesh.manual_axes:
        got = f"axis={axis!r} where the mapped axes are {tuple(mesh.manual_axes)}"
        need, do = "an axis of the shard_map around", "Call it within jax.shard_map."
        raise error(ValueError, "linear_scan", got, need, do)


def check_time_mesh(cell: Any, axis: str, mesh: Any, length: Any) -> None:
    """A mesh around with the axis over which time is cut, whose devices divide the steps."""
    if axis not in mesh.shape:
        got = f"axis={axis!r} and a mesh with axes {axes_of(mesh)}"
        do = "Call it under `with jax.set_mesh(mesh):`, and name an axis of that mesh."
        raise error(ValueError, cell, got, "a mesh with that axis", do)
    if mesh.manual_axes:
        got = f"axis={axis!r} within a shard_map over {tuple(mesh.manual_axes)}"
        do = "Leave out the shard_map: Associative maps by itself, and jit splits the rest."
        raise error(ValueError, cell, got, "whole arrays", do)
    if AxisType.Explicit in mesh.axis_types:
        raise typed_axes(cell)
    if not isinstance(length, int) or length % mesh.shape[axis]:
        got = f"{length} steps over {mesh.shape[axis]} devices of the axis {axis!r}"
        do = "Pad the sequence under a mask, as data.pad does."
        raise error(ValueError, cell, got, "a number of steps that they divide", do)


def check_mesh(who: str, mesh: Any, axis: Any) -> None:
    """A mesh of devices that has this axis."""
    if not isinstance(mesh, Mesh):
        need, do = "a mesh of devices", 'Write mesh=jax.sharding.Mesh(jax.devices(), "batch").'
        raise error(TypeError, who, f"mesh as a {describe(mesh)}", need, do)
    if not isinstance(axis, str):
        do = 'Write axis="batch", say.'
        raise error(TypeError, who, f"axis={axis!r}", "the name of an axis of the mesh", do)
    if axis not in mesh.shape:
        got, do = f"axis={axis!r}", "Name one of these, or make a mesh with that axis."
        raise error(ValueError, who, got, f"an axis of the mesh, which has {axes_of(mesh)}", do)
    if AxisType.Explicit in mesh.axis_types:
        raise typed_axes(who)


def check_rows_divide(who: str, name: str, tree: Any, mesh: Any, axis: str, place: int) -> None:
    """Arrays whose batch, at an axis of theirs, the devices of a mesh's axis divide."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        at = f"{name}{jax.tree_util.keystr(path)}"
        check_divides(who, at, leaf, P(*[None] * place, axis), mesh)


def check_divides(who: str, at: str, leaf: Any, spec: Any, mesh: Any, times: int = 1) -> None:
    """An array whose axes the devices of a mesh divide as a spec has them."""
    if len(spec) > leaf.ndim:
        got, need = f"{at} {describe(leaf)}", f"an array of {len(spec)} axes or more, for {spec}"
        do = "Lay out what has other axes by jax.device_put and a sharding of your own."
        raise error(ValueError, who, got, need, do)
    for size, axes in zip(leaf.shape, spec, strict=False):
        count = math.prod(mesh.shape[name] for name in names_of(axes))
        if size * times % count:
            got = f"{at} {describe(leaf)} over {count} devices of {axes!r}"
            do = f"Take a multiple of {count}, or a mesh with fewer devices along that axis."
            raise error(ValueError, who, got, f"an axis that {count} divides", do)


def names_of(axes: Any) -> tuple[str, ...]:
    """The mesh's axes that one entry of a spec names."""
    return () if axes is None else (axes,) if isinstance(axes, str) else tuple(axes)


def check_rows_of(at: str, x: Any, spec: Any, mesh: Any, processes: int) -> Any:
    """An array of a batch `[T, B, ...]`; of one that each process has a part of, all parts."""
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        do = "Pass arrays; ragged rows are padded by data.Buckets."
        raise error(TypeError, "place", f"{at} as a {describe(x)}", "an array [T, B, ...]", do)
    check_divides("place", at, x, spec, mesh, processes)
    return x


def check_weight_rules(weights: Any, kind: type) -> None:
    """Specs by patterns."""
    need = 'the name of an axis, or specs by name, {"w_h$": P(None, "model")}'
    do = "P is jax.sharding.PartitionSpec."
    if not isinstance(weights, Mapping):
        raise error(TypeError, "place", f"weights as a {describe(weights)}", need, do)
    for pattern, spec in weights.items():
        if not (isinstance(pattern, str) and isinstance(spec, kind)):
            raise error(TypeError, "place", f"weights with {pattern!r}: {spec!r}", need, do)
        try:
            re.compile(pattern)
        except re.error as why:
            got, need = f"weights with the pattern {pattern!r} ({why})", "a regular expression"
            raise error(ValueError, "place", got, need, "Escape it with re.escape.") from None


def no_weight_named(pattern: str, leaves: Any) -> Exception:
    got, do = f"weights with {pattern!r}, which is found in no path", "Correct the pattern."
    return error(ValueError, "place", got, f"a part of one of {', '.join(leaves)}", do)


def no_weight_divides(axis: str, size: int, leaves: Any) -> Exception:
    shapes = ", ".join(f"{path} {describe(leaf)}" for path, leaf in leaves.items())
    got, need = f"weights={axis!r} and {shapes}", f"a last axis that {size} devices divide"
    return error(ValueError, "place", got, need, f"Take sizes that are multiples of {size}.")


def check_weight_spec(path: str, leaf: Any, spec: Any, mesh: Any) -> None:
    """A spec that fits a weight, and names axes of the mesh."""
    for name in [name for axes in spec for name in names_of(axes)]:
        check_mesh("place", mesh, name)
    check_divides("place", path, leaf, spec, mesh)
