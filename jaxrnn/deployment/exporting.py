"""Export a network: its programs and its params in one file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import errors
from jaxrnn.advance import advance
from jaxrnn.axes import step_spec
from jaxrnn.composite import params_spec
from jaxrnn.deployment.plain import classed, plain
from jaxrnn.layer import Layer, Params, like_input
from jaxrnn.saving import tensors
from jaxrnn.saving.configuration import NONE, described
from jaxrnn.saving.network import SAVED, named
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.unroll import check_static, unroll

FORMAT = "jaxrnn exported"
"""What the file's metadata call its form."""

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    path: Any,
    layer: Layer,
    params: Params,
    x: Any,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    steps: int | None = None,
    rows: int | None = None,
    strategy: Strategy = Scan(),
    vjp_order: int = 0,
    metadata: Mapping[str, Any] = NONE,
) -> None:
    """Write a network as programs that run without its code, and its params, into one file.

        initial_state(params, rows [B])           -> state
        step(params, state, x [B, *F])            -> (state, y [B, *])      of a causal layer
        sequence(params, xs [T, B, *F], state, mask [T, B]) -> (state, ys [T, B, *])

    The programs are StableHLO, made by `jax.export`, for any B and T of one or more; params are
    their arguments and in the file once. `load_exported` reads it. No class is needed there: states
    and params are tuples, lists and dictionaries, an `LSTMState` is `{"h": ..., "c": ...}`.

    Noise is off, as without a key. The file gets its name when it is complete, and has the form of
    safetensors.

    Args:
      path: a file, by custom `NAME.safetensors`.
      layer: any layer that binds no memory, own cells too.
      params: its params, in any floating dtype.
      x: an input of one step, as for `init`: a number of features, `TOKEN`, an example.
      platforms: where the programs shall run: of "cpu", "cuda", "rocm" and "tpu".
      steps: the number of steps of `sequence`; by default any.
      rows: the number of rows of every program; by default any. A card runs a loop of known sizes
        with fewer launches a step, and most so where it is the file's one platform.
      strategy: how `sequence` is evaluated.
      vjp_order: how often the programs may be differentiated: each order adds the programs of
        its gradients.
      metadata: names and what JSON holds: a vocabulary, a score.

    Raises:
      TypeError: for what is no layer, no strategy, no whole number, and for metadata that JSON does
        not hold.
      ValueError: for params that do not fit the layer and the input, for a layer that takes a
        memory, for other platforms, and for a network that JAX does not export.
      ModuleNotFoundError: without the package flatbuffers.
      OSError: where the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.safetensors"
      >>> net = Stack((GRU(8), Dense(2)))
      >>> export(path, net, net.init(jax.random.key(0), 3), 3, platforms=("cpu", "tpu"))
      >>> state, ys = load_exported(path).sequence(jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 2)
    """
    errors.check_path("export", path)
    check_static(layer, strategy)
    errors.check_platforms(platforms, PLATFORMS)
    order = errors.check_count("export", "vjp_order", vjp_order, 0)
    for name, size in (("steps", steps), ("rows", rows)):
        if size is not None:
            errors.check_count("export", name, size)
    if layer.takes_memory:
        raise errors.memory_not_exported(layer)
    said = errors.json_values("export", "metadata", metadata)
    spec = step_spec(layer, like_input(layer, x))
    arrays = named("params", params)
    errors.check_leaves("export", arrays, tensors.CODES)
    errors.check_arrays("export", arrays, named("params", params_spec(layer, spec)), SAVED)
    arrays = named("params", plain(params))

    made = {}
    for name, (program, specs) in programs(layer, params, spec, strategy, steps, rows).items():
        program.__name__ = name
        try:
            exporting = jax.export.export(jax.jit(program), platforms=tuple(platforms))
            blob = exporting(*specs).serialize(vjp_order=order)
        except ImportError as why:
            raise errors.no_flatbuffers() from why
        except Exception as why:  # whatever a layer, a strategy or JAX says of symbols
            raise errors.not_exported(layer, strategy, platforms, name, why) from why
        made[f"program.{name}"] = np.frombuffer(blob, np.uint8)
    about = {
        "programs": [name.partition(".")[2] for name in made],
        "platforms": list(platforms),
        "vjp_order": order,
        "layer": repr(layer),
        "configuration": configuration(layer),
        "jax": jax.__version__,
        "metadata": said,
    }
    header = {
        "format": FORMAT,
        "version": tensors.VERSION,
        "writer": jaxrnn.__version__,
        "exported": json.dumps(about, allow_nan=False),
    }
    path = pathlib.Path(path).expanduser().absolute()
    tensors.write(path, {**jax.device_get(arrays), **made}, header)


def programs(
    layer: Layer, params: Params, spec: Any, strategy: Strategy, steps: Any, rows: Any
) -> dict[str, tuple[Callable, tuple]]:
    """Each program, a function of plain trees, and the specs of its arguments."""
    time, batch = jax.export.symbolic_shape("T, B")
    steps, rows = steps or time, rows or batch

    def lead(tree: Any, *axes: Any) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((*axes, *a.shape), a.dtype), tree)

    weights = lead(params)
    start = jax.eval_shape(lambda params: layer.initial_state(params, (rows,)), weights)

    def initial_state(params: Params, rows: jax.Array) -> Any:
        return plain(layer.initial_state(classed(weights, params), rows.shape))

    def step(params: Params, state: Any, x: Any) -> Any:
        given = classed(weights, params), classed(start, state), classed(spec, x)
        return plain(advance(layer, *given))

    def sequence(params: Params, xs: Any, state: Any, mask: jax.Array) -> Any:
        given = {"state": classed(start, state), "mask": mask, "strategy": strategy}
        return plain(unroll(layer, classed(weights, params), classed(spec, xs), **given))

    flags = jax.ShapeDtypeStruct((rows,), jnp.bool_)
    arrays, before, x = plain(weights), plain(start), plain(spec)
    made: dict[str, tuple[Callable, tuple]] = {"initial_state": (initial_state, (arrays, flags))}
    if layer.causal:
        made["step"] = step, (arrays, before, lead(x, rows))
    xs = lead(x, steps, rows)
    made["sequence"] = sequence, (arrays, xs, before, lead(flags, steps))
    return made


def configuration(layer: Layer) -> Any:
    """What the layer is made of as JSON, or None where it is not jaxrnn's alone."""
    try:
        return described("export", layer, NONE)
    except (TypeError, ValueError):
        return None
