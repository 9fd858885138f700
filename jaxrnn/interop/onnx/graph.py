"""ONNX models, read without trust: nothing is executed, and names, dtypes and sizes are checked
before an array is made.
"""

import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, numpy_helper

from jaxrnn import errors

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
RECURRENT = ("LSTM", "GRU", "RNN")
# Nodes that move numbers and make none, by their first input.
MOVES = ("Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


class Spec(NamedTuple):
    """What a tensor says of itself."""

    shape: tuple[int, ...]
    dtype: Any


class Graph(NamedTuple):
    """The nodes of a model, which node makes a name, and its constants. `folder` is where data
    outside the file lies.
    """

    who: str
    nodes: Sequence[Any]
    makers: dict[str, int]
    constants: dict[str, TensorProto]
    folder: str | None

    def maker(self, name: str, before: int | None = None) -> int | None:
        """The index of the node that makes a name. Nodes are in order, so going back ends."""
        index = self.makers.get(name)
        if index is not None and before is not None and index >= before:
            got = f"{name!r}, used before it is made"
            raise errors.invalid_node(self.who, got, "nodes in order")
        return index

    def constant(self, name: str) -> TensorProto | None:
        """The tensor under a name, through nodes that hand it on."""
        index = None
        while name not in self.constants:
            index = self.maker(name, index)
            if index is None or self.nodes[index].op_type != "Identity":
                return None
            name = source(self.nodes[index])
        return self.constants[name]

    def label(self, index: int) -> str:
        """A node as errors name it."""
        node = self.nodes[index]
        return f"the {node.op_type} node {key(node)!r}"


def key(node: Any) -> str:
    """A node's name, or, where it has none, that of its first output."""
    return node.name or next(filter(None, node.output), "")


def source(node: Any) -> str:
    """The name of a node's first input."""
    return next(iter(node.input), "")


def read(model: Any, who: str) -> Graph:
    """A model, or the file under a path, as a graph; data outside the file is read when used."""
    folder = None
    if isinstance(model, str | os.PathLike):
        path = pathlib.Path(model)
        errors.check_file(path, folders=True)
        if path.is_dir():
            raise errors.not_onnx(path, "a folder")
        try:
            model = onnx.load(str(path), format="protobuf", load_external_data=False)
        except DecodeError as why:
            raise errors.not_onnx(path, str(why)) from None
        folder = str(path.parent)
    if not isinstance(model, onnx.ModelProto):
        raise errors.not_a_model(who, model)
    graph = model.graph
    names = [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
    check_words(who, names)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        values = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and values and node.output:
            constants.setdefault(node.output[0], values[0])
        for name in filter(None, node.output):
            if makers.setdefault(name, index) != index:
                raise errors.invalid_node(who, f"{name!r} made twice", "one node for each name")
    return Graph(who, graph.node, makers, constants, folder)


def check_words(who: str, words: list[Any]) -> None:
    """Names in UTF-8: protobuf gives bytes for anything else."""
    for word in words:
        if not isinstance(word, str):
            raise errors.invalid_node(who, f"the name {word!r}", "names in UTF-8")


def recurrent(graph: Graph, node: str | None) -> list[int]:
    """The indices of the recurrent nodes, or of the one that is named."""
    found = [
        index
        for index, n in enumerate(graph.nodes)
        if n.op_type in RECURRENT and n.domain in ("", "ai.onnx")
    ]
    if not found:
        raise errors.no_recurrent_node(graph.who, sorted({n.op_type for n in graph.nodes}))
    if node is None:
        return found
    named = [i for i in found if node and node in (graph.nodes[i].name, *graph.nodes[i].output)]
    if len(named) != 1:
        raise errors.no_such_node(graph.who, node, [key(graph.nodes[i]) for i in found])
    return named


def spec(tensor: TensorProto, label: str, name: str, kinds: tuple[int, ...] = FLOATS) -> Spec:
    """The shape and dtype of a tensor, whose size must be that of its data."""
    if tensor.data_type not in kinds:
        known = TensorProto.DataType.values()
        got = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in known else "?"
        need = " or ".join(TensorProto.DataType.Name(kind) for kind in kinds)
        raise errors.wrong_tensor(label, name, f"of type {got}", need)
    shape, dtype = tuple(tensor.dims), onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = math.prod(shape)
    if min(shape, default=0) < 0:
        raise errors.wrong_tensor(label, name, f"of shape {shape}", "sizes from 0")
    if tensor.data_location == TensorProto.EXTERNAL:
        held = outside(tensor, label, name).get("length", count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        held = len(tensor.raw_data)
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        held = len(getattr(tensor, field)) * dtype.itemsize
    if held != count * dtype.itemsize:
        need = f"{count * dtype.itemsize} of shape {shape}"
        raise errors.wrong_tensor(label, name, f"with {held} bytes of data", need)
    return Spec(shape, dtype)


def outside(tensor: TensorProto, label: str, name: str) -> dict[str, int]:
    """Where the data of a tensor lies in a file of its own: its offset and length."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    check_words(label, [*said, *said.values()])
    numbers = {key: said[key] for key in ("offset", "length") if key in said}
    if not all(value.isdecimal() and len(value) < 20 for value in numbers.values()):
        raise errors.wrong_tensor(label, name, f"outside the file at {numbers}", "numbers from 0")
    return {key: int(value) for key, value in numbers.items()}


def array(graph: Graph, tensor: TensorProto, label: str, name: str, **kinds: Any) -> np.ndarray:
    """The array of a tensor, checked before memory is taken."""
    shape, dtype = spec(tensor, label, name, **kinds)
    if tensor.data_location == TensorProto.EXTERNAL:
        if graph.folder is None:
            need, do = "data within the model, or the path of its file", "Pass the path."
            raise errors.wrong_tensor(label, name, "outside the model", need, do)
        given, tensor = tensor, TensorProto()  # loading writes into it
        tensor.CopyFrom(given)
        if "length" not in outside(tensor, label, name):
            length = math.prod(shape) * dtype.itemsize
            tensor.external_data.add(key="length", value=str(length))
        try:  # onnx keeps the location within the folder, and the length within the file
            external_data_helper.load_external_data_for_tensor(tensor, graph.folder)
        except (OSError, ValueError, onnx.checker.ValidationError) as why:
            need = "its data in a file of the same folder"
            raise errors.wrong_tensor(label, name, f"unreadable ({why})", need) from None
    return numpy_helper.to_array(tensor)
