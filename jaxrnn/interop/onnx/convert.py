"""A recurrent node, or a chain of them, from a model of ONNX; and a node run as it is."""

import os
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto

from jaxrnn import Layer, LSTMState, Stack, errors, lengths_to_mask, unroll
from jaxrnn.interop.onnx.graph import MOVES, Graph, array, key, read, recurrent, source, spec
from jaxrnn.interop.onnx.nodes import Node, check_shapes, layer_of, node_of

Model = onnx.ModelProto | str | os.PathLike
WEIGHTS, STATES = ("W", "R", "B", "P"), ("initial_h", "initial_c")


def from_onnx(
    model: Model, node: str | None = None, *, biases: Literal["sum", "both"] = "sum"
) -> tuple[Layer, Any]:
    """The layer and params that compute what a recurrent node of ONNX computes.

    `LSTM` (with peepholes, a `PeepholeLSTM`), `GRU` with either reset, and `RNN`. A node with both
    directions becomes a `Bidirectional`, one that reads backward a `Reversed`. A chain of nodes,
    each fed the outputs of the one before, becomes a `Stack`. What stands before and after them in
    the graph is not converted. Time is axis 0 here, whatever the node's `layout`; `sequence_lens`
    is `mask=lengths_to_mask(lengths, T)`, and `initial_h` and `initial_c` are `state`.

    A file is only read: nothing in it is executed, and names, dtypes and sizes are checked before
    an array is made. Doubles become float32 unless JAX's x64 is on.

    Args:
      model: the model, or the path of its file, which weights outside of it lie beside.
      node: the name of one recurrent node, or of one of its outputs; by default all of them.
      biases: `"sum"` adds the two biases of a layer, except those of the candidate of a GRU with
        the reset after; `"both"` keeps them in a `TwoBiases`, as `from_torch` does.

    Returns:
      `(layer, params)`.

    Raises:
      FileNotFoundError: without a file under the path.
      TypeError: for another kind of model.
      ValueError: for a file that is not ONNX; a node that is not there; several that are no chain;
        a clip, coupled gates or other activations; weights that are computed, or whose shapes do
        not fit the node, by the name of the first; states or lengths that are fixed.

    Example:
      >>> from jaxrnn.interop.onnx import to_onnx
      >>> model = to_onnx(LSTM(8), LSTM(8).init(jax.random.key(0), features(3)))
      >>> layer, params = from_onnx(model)
      >>> unroll(layer, params, jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 8)
    """
    if biases not in ("sum", "both"):
        raise errors.unknown_biases("from_onnx", biases)
    graph = read(model, "from_onnx")
    indices = recurrent(graph, node)
    nodes = [node_of(graph, index) for index in indices]
    for one in nodes:
        check_run(graph, one)
    arrays = [weights(graph, one) for one in nodes]
    for k in range(1, len(nodes)):
        check_chain(graph, indices, nodes, k, arrays[k - 1]["R"].shape[-1])
    made = [layer_of(one, part, biases) for one, part in zip(nodes, arrays, strict=True)]
    made = [(layer, jax.tree.map(jnp.asarray, params)) for layer, params in made]
    if len(made) == 1:
        return made[0]
    return Stack(tuple(layer for layer, _ in made)), tuple(params for _, params in made)


def run_onnx(model: Model, inputs: dict[str, Any], node: str | None = None) -> tuple[Any, ...]:
    """The outputs of one recurrent node for its inputs, both as ONNX lays them out.

    It runs the layer of `from_onnx`, so a conversion can be held to what a runtime of ONNX
    computes. The rest of the graph is not run. Weights may be among the inputs, and derivatives
    with respect to any input pass through.

    Shapes: X `[T, B, F]`, `sequence_lens [B]`, `initial_h` and `initial_c [D, B, H]` for D
    directions; Y `[T, D, B, H]`, `Y_h` and `Y_c [D, B, H]`. With `layout=1` X `[B, T, F]`, states
    `[B, D, H]`, Y `[B, T, D, H]`.

    Args:
      model: the model, or the path of its file.
      inputs: arrays by the names that the node gives its inputs: all that are no constants of the
        model, nor zeros that the graph computes.
      node: the name of the node, or of one of its outputs, where there are several.

    Returns:
      `(Y, Y_h)`, of an LSTM `(Y, Y_h, Y_c)`. Outputs beyond a row's length are zero.

    Raises:
      TypeError, ValueError: as `from_onnx`; for several nodes without `node`; for inputs that the
        node does not have, that are missing, or that do not fit.

    Example:
      >>> from jaxrnn.interop.onnx import to_onnx
      >>> model = to_onnx(GRU(8), GRU(8).init(jax.random.key(0), features(3)))
      >>> y, y_h = run_onnx(model, {"X": jnp.ones((5, 2, 3))})
      >>> y.shape, y_h.shape
      ((5, 1, 2, 8), (1, 2, 8))
    """
    graph = read(model, "run_onnx")
    index, *more = recurrent(graph, node)
    if more:
        raise errors.no_such_node("run_onnx", None, [key(graph.nodes[i]) for i in (index, *more)])
    one = node_of(graph, index)
    arrays = feed(graph, one, inputs)
    check_shapes(one, arrays)
    layer, params = layer_of(one, arrays, "sum")
    batch_first = one.attributes["layout"] == 1
    xs = jnp.swapaxes(arrays["X"], 0, 1) if batch_first else arrays["X"]
    lengths = arrays.get("sequence_lens")
    mask = None if lengths is None else lengths_to_mask(lengths, xs.shape[0])

    zero = jnp.zeros((one.directions, xs.shape[1], arrays["R"].shape[-1]), xs.dtype)
    leaves = [arrays.get(role) for role in STATES[: 2 if one.op == "LSTM" else 1]]
    leaves = [zero if a is None else jnp.swapaxes(a, 0, 1) if batch_first else a for a in leaves]
    parts = [LSTMState(*a) if len(a) == 2 else a[0] for a in zip(*leaves, strict=True)]
    state = parts[0] if one.attributes["direction"] == "forward" else tuple(parts)
    last, ys = unroll(layer, params, xs, state=state, mask=mask)

    y = ys.reshape(*ys.shape[:2], one.directions, -1)  # [T, B, D, H]
    y = jnp.swapaxes(y, 0, 1) if batch_first else jnp.swapaxes(y, 1, 2)
    leaves, count, axis = jax.tree.leaves(last), len(leaves), int(batch_first)
    return (y, *(jnp.stack(leaves[k::count], axis) for k in range(count)))


def weights(graph: Graph, node: Node) -> dict[str, np.ndarray]:
    """A node's weights, all checked before the first array is made."""
    tensors = {}
    for role in WEIGHTS:
        if role in node.inputs:
            tensor = graph.constant(node.inputs[role])
            if tensor is None:
                raise errors.not_constant(node.label, role, made_by(graph, node.inputs[role]))
            tensors[role] = tensor
    check_shapes(node, {role: spec(t, node.label, role) for role, t in tensors.items()})
    return {role: array(graph, t, node.label, role) for role, t in tensors.items()}


def feed(graph: Graph, node: Node, inputs: Any) -> dict[str, jax.Array]:
    """A node's inputs by their roles: those given, and the model's constants."""
    if not isinstance(inputs, dict):
        raise errors.no_feed(node.label, inputs)
    arrays, names = {}, node.inputs
    for role, name in names.items():
        if name in inputs:
            arrays[role] = inputs[name]
        elif (tensor := graph.constant(name)) is not None:
            kinds = {} if role != "sequence_lens" else {"kinds": (TensorProto.INT32,)}
            arrays[role] = array(graph, tensor, node.label, role, **kinds)
    missing = [
        name
        for role, name in names.items()
        if role not in arrays and not (role in STATES and begins(graph, name) == "zero")
    ]
    if missing or set(inputs) - set(names.values()):
        raise errors.wrong_feed(node.label, list(inputs), missing or list(names.values()))
    return {role: jnp.asarray(a) for role, a in arrays.items()}


def check_run(graph: Graph, node: Node) -> None:
    """Refuse a node whose states or lengths are fixed within the model, unless states are zero."""
    lengths = node.inputs.get("sequence_lens", "")
    if graph.constant(lengths) is not None:
        do = "mask=lengths_to_mask(lengths, T)"
        raise errors.constant_run(node.label, "sequence_lens", "as a constant", do)
    for role in STATES:
        how = begins(graph, node.inputs.get(role, ""))
        if how not in ("zero", "given"):
            raise errors.constant_run(node.label, role, how, "state=")


def begins(graph: Graph, name: str) -> str:
    """How an initial state comes about: "zero", "given" from outside, or as the words that are
    returned say.
    """
    index = None
    while name not in graph.constants:
        index = graph.maker(name, index)
        if index is None:
            return "given" if name else "zero"
        node = graph.nodes[index]
        if node.op_type == "ConstantOfShape":
            values = [a.t for a in node.attribute if a.name == "value"]
            zero = not any(array(graph, t, graph.label(index), "value").any() for t in values)
            return "zero" if zero else "as a constant that is not zero"
        if node.op_type not in MOVES:
            return made_by(graph, name)
        name = source(node)
    zero = not array(graph, graph.constants[name], graph.who, name).any()
    return "zero" if zero else "as a constant that is not zero"


def made_by(graph: Graph, name: str) -> str:
    """Where a name comes from, as errors say it."""
    index = graph.maker(name)
    return "as an input of the graph" if index is None else f"made by {graph.label(index)}"


def check_chain(graph: Graph, indices: list[int], nodes: list[Node], k: int, h: int) -> None:
    """The k-th node must be fed the outputs of the one before, of h features a direction, both
    directions side by side.
    """

    def refuse(why: str) -> Exception:
        first, second = (node.label for node in nodes[k - 1 : k + 1])
        have = [key(graph.nodes[index]) for index in indices]
        return errors.not_a_chain(graph.who, first, second, why, have)

    first, second = nodes[k - 1 : k + 1]
    name, index, between = second.inputs["X"], indices[k], []
    while name != first.output:
        index = graph.maker(name, index)
        if index is None or graph.nodes[index].op_type not in MOVES:
            made = made_by(graph, name) if index is not None else f"{name!r}"
            raise refuse(f"the inputs of the second come from {made.removeprefix('made by ')}")
        between.append(graph.nodes[index])
        name = source(between[-1])

    # Whatever the nodes between do, it must do to numbers that are all different what we do.
    steps, rows, d = 2, 3, first.directions
    ours = np.arange(steps * rows * d * h).reshape(steps, rows, d, h)
    y = ours.swapaxes(0, 1) if first.attributes["layout"] else ours.swapaxes(1, 2)
    want = ours.reshape(steps, rows, d * h)
    want = want.swapaxes(0, 1) if second.attributes["layout"] else want
    for node in reversed(between):
        try:
            y = moved(graph, node, y)
        except (ValueError, IndexError):
            raise refuse(f"the node {key(node)!r} between them is not one of theirs") from None
    if not np.array_equal(y, want):
        raise refuse("the nodes between them do not put directions side by side")


def moved(graph: Graph, node: Any, y: np.ndarray) -> np.ndarray:
    """What a node between two recurrent ones makes of an array."""
    said = {a.name: tuple(a.ints) or a.i for a in node.attribute}
    if len(node.input) > 1:
        tensor = graph.constant(node.input[1])
        if tensor is None:
            raise ValueError
        kinds = {"kinds": (TensorProto.INT64,)}
        said["second"] = tuple(array(graph, tensor, key(node), "input 1", **kinds).tolist())
    match node.op_type:
        case "Identity":
            return y
        case "Transpose":
            return y.transpose(said.get("perm") or None)
        case "Squeeze" if said.get("axes") or said.get("second"):
            return y.squeeze(said.get("axes") or said.get("second"))
        case "Reshape" if "second" in said and not said.get("allowzero"):
            shape = said["second"]
            return y.reshape([n or y.shape[k] for k, n in enumerate(shape)])
    raise ValueError
