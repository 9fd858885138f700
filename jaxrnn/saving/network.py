"""Save a network, and load it without its code."""

from __future__ import annotations

import functools
import json
import math
import operator
import pathlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import errors
from jaxrnn.axes import step_spec
from jaxrnn.composite import params_spec
from jaxrnn.layer import Layer, Params, State, like_input
from jaxrnn.saving import tensors
from jaxrnn.saving.configuration import NONE, described, network, own

FREE = 2**16
"""A size of a layer that needs no array as large in the file."""


class Saved(NamedTuple):
    """What a file holds: a network, its params, inputs it takes, and what was saved beside it."""

    layer: Any
    params: Params
    x: Any
    """The spec of one step's input, as for `init`."""
    state: State = None
    metadata: Mapping[str, Any] = NONE


def save(
    path: Any,
    layer: Any,
    params: Params,
    x: Any,
    *,
    state: State = None,
    metadata: Mapping[str, Any] = NONE,
    custom: Mapping[str, Any] = NONE,
) -> None:
    """Save a network and its params in one file, from which `load` makes both.

    The file gets its name when it is complete: a write that fails or is killed leaves what was
    there before. It has the form of safetensors, whose readers in other libraries see the arrays.

    Args:
      path: a file, by custom `NAME.safetensors`.
      layer: a layer, `Pooled` or `EncoderDecoder`.
      params: its params, as `init` or training made them, in any floating dtype.
      x: an input of one step, as for `init`: a number of features, `TOKEN`, an example. For an
        `EncoderDecoder` the pair of the source's and the target's.
      state: a state of a layer, of any batch shape; by default none is saved.
      metadata: names and what JSON holds: a vocabulary, a score.
      custom: names for what is not jaxrnn's own in the layer, classes and functions:
        `{"MyCell": MyCell}`. `load` needs the same.

    Raises:
      TypeError: for what is no network, for a class or a function in it without a name, and for
        metadata that JSON does not hold.
      ValueError: for params or a state that do not fit the layer and the input.
      OSError: where the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.safetensors"
      >>> net = rnn.Stack((rnn.GRU(8), rnn.Dense(2)))
      >>> save(path, net, net.init(jax.random.key(0), 3), 3, metadata={"score": 0.9})
      >>> saved = load(path)
      >>> saved.layer == net, saved.x.shape, saved.metadata
      (True, (3,), {'score': 0.9})
    """
    tensors.write(*prepared("save", path, layer, params, x, state, metadata, custom))


def save_async(
    path: Any,
    layer: Any,
    params: Params,
    x: Any,
    *,
    state: State = None,
    metadata: Mapping[str, Any] = NONE,
    custom: Mapping[str, Any] = NONE,
) -> Future[None]:
    """`save` that returns when the arrays are copied to the host. Training may go on, and may
    donate the params; the file is written in the background, one file after the other.

    Arguments are checked at once. `result()` of what is returned waits until the file is written,
    and raises what went wrong there. The interpreter does not end before all files are written.

    Raises:
      TypeError, ValueError: as `save`.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.safetensors"
      >>> writing = save_async(path, rnn.GRU(8), rnn.GRU(8).init(jax.random.key(0), 3), 3)
      >>> writing.result()
      >>> load(path).layer
      GRU(hidden=8, reset_after=True)
    """
    given = prepared("save_async", path, layer, params, x, state, metadata, custom)
    path, arrays, said = given
    arrays = {name: np.array(a) for name, a in arrays.items()}  # the host's views of a CPU's arrays
    return background().submit(tensors.write, path, arrays, said)


@functools.cache
def background() -> ThreadPoolExecutor:
    """The one thread that writes; the interpreter waits for it at its end."""
    return ThreadPoolExecutor(1, "jaxrnn-saving")


def load(path: Any, *, custom: Mapping[str, Any] = NONE) -> Saved:
    """The network, its params and what else `save` wrote into a file.

    A file need not be trusted. Nothing in it is run, unpickled or imported: it names classes of
    jaxrnn's and those of `custom`, and constructors check their fields. Before memory is taken for
    arrays, their names, shapes and dtypes are those of the network that the file describes, and
    their sizes those of the file. All of it is held to checksums.

    Args:
      path: the file.
      custom: the classes and functions that were named when it was saved.

    Raises:
      FileNotFoundError, OSError: where there is no file, or it cannot be read.
      ValueError: for a file that is damaged, cut off, of another kind or of a newer version; for a
        class or a function that has no name here; for doubles, unless JAX has them enabled.

    Example:
      >>> load("net.safetensors")  # doctest: +SKIP
      Saved(layer=GRU(hidden=8, reset_after=True), params={...}, x=..., state=None, metadata={})
    """
    errors.check_path("load", path)
    errors.check_custom("load", custom, own)
    path = pathlib.Path(path).expanduser()
    with tensors.opened(path) as file:
        said, found = tensors.read_header(path, file)
        config = tensors.parsed(path, said.get("network", ""), "a configuration")
        match config:
            case {"layer": built, "inputs": [*inputs], "batch": batch, "metadata": dict(metadata)}:
                pass
            case _:
                raise errors.bad_file(path, "a configuration of another form")
        # A size without an array as large is no one's: it would be taken for arrays to come.
        largest = max(FREE, sum(math.prod(spec.shape) for spec in found.values()))
        layer = network(str(path), built, custom, largest)
        groups: dict[str, dict[str, Any]] = {"params": {}, "state": {}}
        for name, spec in found.items():
            groups["state" if name.split(".")[0] == "state" else "params"][name] = spec
        try:
            pairs = zip(readers(layer), inputs, strict=True)
            xs = tuple(read_spec(largest, reader, leaves) for reader, leaves in pairs)
            like = params_like(layer, xs)
        except Exception as why:  # whatever a layer says of inputs that it cannot take
            raise errors.bad_configuration(str(path), "the network", str(why)) from None
        errors.check_arrays(str(path), groups["params"], named("params", like), errors.LOADED)
        start = None
        if batch is not None:
            try:
                start = state_like(layer, rebuilt(like, "params", found), tuple(batch))
            except Exception as why:
                raise errors.bad_configuration(str(path), "the state", str(why)) from None
        errors.check_arrays(str(path), groups["state"], named("state", start), errors.LOADED)
        errors.check_doubles(str(path), found)
        arrays = tensors.read_arrays(path, file, said, found)
    made = {name: jnp.asarray(array) for name, array in arrays.items()}
    return Saved(
        layer,
        rebuilt(like, "params", made),
        xs[0] if len(xs) == 1 else xs,
        rebuilt(start, "state", made),
        metadata,
    )


SAVED = "Are these of another network? Make params with init(key, x)."


def prepared(
    who: str,
    path: Any,
    layer: Any,
    params: Params,
    x: Any,
    state: State,
    metadata: Mapping[str, Any],
    custom: Mapping[str, Any],
) -> tuple[pathlib.Path, dict[str, np.ndarray], dict[str, str]]:
    """What is written: where, the arrays on the host, and what is said of them."""
    errors.check_path(who, path)
    built = described(who, layer, custom)
    if state is not None and not isinstance(layer, Layer):
        raise errors.model_state(who, layer)
    inputs = readers(layer)
    if len(inputs) > 1 and not (isinstance(x, tuple) and len(x) == len(inputs)):
        raise errors.no_pair_of_inputs(who, layer, x)
    pairs = zip(inputs, x if len(inputs) > 1 else (x,), strict=True)
    xs = tuple(step_spec(reader, like_input(reader, x)) for reader, x in pairs)
    arrays = named("params", params)
    errors.check_leaves(who, arrays, tensors.CODES)
    errors.check_arrays(who, arrays, named("params", params_like(layer, xs)), SAVED)
    batch = None
    if state is not None:
        parts = named("state", state)
        errors.check_leaves(who, parts, tensors.CODES)
        first, one = (jax.tree.leaves(s)[:1] for s in (state, state_like(layer, params, ())))
        batch = first[0].shape[: first[0].ndim - one[0].ndim] if first and one else ()
        need = named("state", state_like(layer, params, batch))
        errors.check_arrays(who, parts, need, "Pass a state that unroll or advance returned.")
        arrays |= parts
    config = {
        "layer": built,
        "inputs": [
            [
                {"dtype": tensors.CODES[leaf.dtype], "shape": leaf.shape}
                for leaf in jax.tree.leaves(spec)
            ]
            for spec in xs
        ],
        "batch": batch,
        "metadata": errors.json_values(who, "metadata", metadata),
    }
    metadata = {
        "format": "jaxrnn",
        "version": tensors.VERSION,
        "writer": jaxrnn.__version__,
        "network": json.dumps(config, allow_nan=False),
    }
    return pathlib.Path(path).expanduser().absolute(), jax.device_get(arrays), metadata


def readers(layer: Any) -> tuple[Layer, ...]:
    """The layers that take the inputs of a network: itself, or of a model those that read."""
    if isinstance(layer, Layer):
        return (layer,)
    return (layer.body,) if hasattr(layer, "body") else (layer.encoder, layer.decoder)


def read_spec(largest: float, reader: Layer, leaves: Any) -> Any:
    """The spec of a reader's inputs, from a file's list of shapes and dtypes."""
    found = []
    for leaf in leaves:
        shape = tuple(map(operator.index, leaf["shape"]))
        if not all(0 <= size <= largest for size in shape):
            raise ValueError(f"inputs of shape {shape} in a smaller file")
        found.append(jax.ShapeDtypeStruct(shape, tensors.DTYPES[leaf["dtype"]]))
    x = jax.tree.unflatten(jax.tree.structure(reader.feature_ndim), found)
    return step_spec(reader, like_input(reader, x))


def params_like(layer: Any, xs: tuple) -> Params:
    """The params that a network makes for such inputs, shapes and dtypes alone."""
    if isinstance(layer, Layer):
        return params_spec(layer, xs[0])
    return jax.eval_shape(lambda: layer.init(jax.random.key(0), *xs))


def state_like(layer: Layer, params: Params, batch: tuple[int, ...]) -> State:
    """A layer's first state, shapes and dtypes alone."""
    return jax.eval_shape(lambda params: layer.initial_state(params, batch), params)


def named(root: str, tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their names: `params.0.w_x`."""
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(
            (jax.tree_util.DictKey(root), *path), simple=True, separator="."
        )
        if name in found:
            raise errors.one_name_twice(name)
        found[name] = leaf
    return found


def rebuilt(tree: Any, root: str, leaves: Mapping[str, Any]) -> Any:
    """A tree of this structure with the leaves of these names."""
    return jax.tree.unflatten(
        jax.tree.structure(tree), [leaves[name] for name in named(root, tree)]
    )
