"""What one recurrent node says, and the layer and params that compute it.

ONNX has the transposes of our weights, `[directions, gates * hidden, features]`, two biases side by
side in one array, and its own order of gates: i, o, f, c for an LSTM, z, r, h for a GRU.
"""

from typing import Any, NamedTuple

import numpy as np
from onnx import AttributeProto, helper

from jaxrnn import GRU, LSTM, Bidirectional, Elman, Layer, PeepholeLSTM, errors
from jaxrnn.interop.blocks import blocks
from jaxrnn.interop.onnx.graph import Graph
from jaxrnn.interop.reversed import Reversed
from jaxrnn.interop.two_biases import with_biases

# Where our blocks i, f, g, o; r, z, n; and, of peepholes, i, f, o are among ONNX's.
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,), "P": (0, 2, 1)}
INPUTS = {
    op: ("X", "W", "R", "B", "sequence_lens", "initial_h", *more)
    for op, more in {"LSTM": ("initial_c", "P"), "GRU": (), "RNN": ()}.items()
}
ATTRIBUTES = {
    "activation_alpha": AttributeProto.FLOATS,
    "activation_beta": AttributeProto.FLOATS,
    "activations": AttributeProto.STRINGS,
    "clip": AttributeProto.FLOAT,
    "direction": AttributeProto.STRING,
    "hidden_size": AttributeProto.INT,
    "layout": AttributeProto.INT,
}
OF_ONE_OP = {"LSTM": "input_forget", "GRU": "linear_before_reset"}
# ONNX's name of an activation, and ours.
ACTIVATIONS = {
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "soft_sign",
    "Elu": "elu",
    "LeakyRelu": "leaky_relu",
}
GATED = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh")}
DIRECTIONS = ("forward", "reverse", "bidirectional")


class Node(NamedTuple):
    """A recurrent node: how errors name it, its operator, its attributes with their defaults, the
    names of its inputs by their roles, our names of the activations, and its first output.
    """

    label: str
    op: str
    attributes: dict[str, Any]
    inputs: dict[str, str]
    activations: tuple[str, ...]
    output: str

    @property
    def directions(self) -> int:
        return 2 if self.attributes["direction"] == "bidirectional" else 1


def node_of(graph: Graph, index: int) -> Node:
    """A node, whose attributes must be known and mean what a layer of ours computes."""
    proto, label = graph.nodes[index], graph.label(index)
    op = proto.op_type
    kinds = ATTRIBUTES | ({OF_ONE_OP[op]: AttributeProto.INT} if op in OF_ONE_OP else {})
    said: dict[str, Any] = {"direction": b"forward", "layout": 0}
    for attribute in proto.attribute:
        name = attribute.name
        value = helper.get_attribute_value(attribute) if attribute.type in kinds.values() else "?"
        if name not in kinds:
            raise errors.wrong_attribute(label, name, value, f"one of {', '.join(sorted(kinds))}")
        if kinds[name] != attribute.type:
            need = f"one of type {AttributeProto.AttributeType.Name(kinds[name])}"
            raise errors.invalid_node(label, f"{name}={value!r}", need)
        said[name] = value
    said["direction"] = said["direction"].decode(errors="replace")
    if said["direction"] not in DIRECTIONS:
        need = " or ".join(DIRECTIONS)
        raise errors.invalid_node(label, f"direction={said['direction']!r}", need)
    if said["layout"] not in (0, 1):
        raise errors.invalid_node(label, f"layout={said['layout']}", "0 or 1")
    for name in ("clip", "activation_alpha", "activation_beta", "input_forget"):
        if said.get(name):
            raise errors.wrong_attribute(label, name, said[name], f"a node without {name}")
    names, roles = list(proto.input), INPUTS[op]
    if len(names) > len(roles) or not all([*names, "", "", ""][:3]):
        need = f"X, W and R, and at most {', '.join(roles[3:])}"
        raise errors.invalid_node(label, f"inputs {names}", need)
    inputs = {role: name for role, name in zip(roles, names, strict=False) if name}
    made = Node(label, op, said, inputs, (), next(iter(proto.output), ""))
    return made._replace(activations=activations(made))


def activations(node: Node) -> tuple[str, ...]:
    """Our names of a node's activations, one for each direction of an RNN."""
    usual = GATED.get(node.op, ("tanh",)) * node.directions
    names = [name.decode(errors="replace") for name in node.attributes.get("activations", ())]
    known = {name.lower(): ours for name, ours in ACTIVATIONS.items()}  # ONNX ignores the case
    ours = tuple(known.get(name.lower(), "") for name in names) or usual
    if len(ours) != len(usual) or "" in ours or (node.op in GATED and ours != usual):
        need = " or ".join(ACTIVATIONS) + " for each direction"
        if node.op in GATED:
            need = "Sigmoid for gates and Tanh for the rest, in each direction"
        raise errors.wrong_attribute(node.label, "activations", names, need)
    return ours


def check_shapes(node: Node, arrays: dict[str, Any]) -> None:
    """Arrays, or what describes them, by their roles: the first that does not fit is named."""
    d, first = node.directions, arrays["R"].shape[-1] if len(arrays["R"].shape) == 3 else None
    h = node.attributes.get("hidden_size", first)
    if isinstance(h, int) and h < 1:
        raise errors.invalid_node(node.label, f"hidden_size={h}", "a size from 1")
    g, w, x = len(ORDER[node.op]), arrays["W"].shape, getattr(arrays.get("X"), "shape", ())
    rows = None
    if len(x) == 3:
        rows = x[0] if node.attributes["layout"] else x[1]
    state = (rows, d, h) if node.attributes["layout"] else (d, rows, h)
    gh = None if h is None else g * h
    need = {
        "W": (d, gh, None),
        "R": (d, gh, h),
        "B": (d, gh and 2 * gh),
        "P": (d, h and 3 * h),
        "X": (None, None, w[-1] if w else None),
        "sequence_lens": (rows,),
        "initial_h": state,
        "initial_c": state,
    }
    for role, shape in need.items():
        if role not in arrays:
            continue
        got = arrays[role].shape
        if len(got) != len(shape) or any(
            n not in (None, m) for n, m in zip(shape, got, strict=True)
        ):
            raise errors.unlike_node(node.label, role, arrays[role], shape)
    dtypes = {role: str(arrays[role].dtype) for role in ("W", "R", "B", "P") if role in arrays}
    if len(set(dtypes.values())) > 1:
        raise errors.invalid_node(node.label, f"weights of dtypes {dtypes}", "weights of one dtype")


def layer_of(node: Node, arrays: dict[str, Any], biases: str) -> tuple[Layer, Any]:
    """The layer and params of a node with these weights, which fit it."""
    cells, parts = zip(*(one(node, arrays, biases, d) for d in range(node.directions)), strict=True)
    match node.attributes["direction"]:
        case "bidirectional":
            same = cells[0] == cells[1]
            return (Bidirectional(cells[0]) if same else Bidirectional(*cells)), parts
        case "reverse":
            return Reversed(cells[0]), parts[0]
    return cells[0], parts[0]


def one(node: Node, arrays: dict[str, Any], biases: str, d: int) -> tuple[Layer, Any]:
    """One direction of a node."""
    order, w_x, w_h = ORDER[node.op], arrays["W"][d].T, arrays["R"][d].T
    hidden, width = w_h.shape
    b = arrays["B"][d] if "B" in arrays else np.zeros(2 * width, w_x.dtype)
    b_x, b_h = blocks(b[:width], order), blocks(b[width:], order)
    params = {"w_x": blocks(w_x, order), "w_h": blocks(w_h, order)}
    cell: Layer
    match node.op:
        case "LSTM" if "P" in arrays:
            cell, params["p"] = PeepholeLSTM(hidden), blocks(arrays["P"][d], ORDER["P"])
        case "LSTM":
            cell = LSTM(hidden)
        case "GRU":
            cell = GRU(hidden, reset_after=bool(node.attributes.get("linear_before_reset", 0)))
            gates = 2 * hidden
            if cell.reset_after:
                b_h, params["b_n"] = b_h[:gates], b_h[gates:]
            else:
                params |= {"w_h": params["w_h"][:, :gates], "w_n": params["w_h"][:, gates:]}
        case _:
            cell = Elman(hidden, node.activations[d])
    return with_biases(cell, params | {"b": b_x, "b_h": b_h}, biases)
