"""What the conversion of ONNX models refuses."""

from typing import Any

from jaxrnn.errors.interop import unlike_shape
from jaxrnn.errors.message import error


def not_a_model(who: str, model: Any) -> Exception:
    got, need = f"a {type(model).__name__}", "an onnx.ModelProto, or the path of a file"
    return error(TypeError, who, got, need, "Pass the path that the model was saved under.")


def not_onnx(path: Any, why: str) -> Exception:
    need, do = "a model of ONNX in protobuf", "Is it another file, or cut short?"
    return error(ValueError, str(path), f"a file that is none ({why})", need, do)


def no_such_node(who: str, node: Any, have: list[str]) -> Exception:
    got = f"node={node!r} for recurrent nodes {', '.join(map(repr, have)) or '(none)'}"
    need, do = "the name of one, or of one of its outputs", "Leave it out where there is one."
    return error(ValueError, who, got, need, do)


def no_recurrent_node(who: str, ops: list[str]) -> Exception:
    got = f"a graph of {', '.join(ops) or 'no nodes'}"
    do = "Loops and functions are not looked into: export with the operators themselves."
    return error(ValueError, who, got, "a node LSTM, GRU or RNN", do)


def not_a_chain(who: str, first: str, second: str, why: str, have: list[str]) -> Exception:
    got = f"{first} and {second}, where {why}"
    need = "one recurrent node, or a chain with each fed the outputs of the one before"
    do = f"Convert them one by one, with node= one of {', '.join(map(repr, have))}."
    return error(ValueError, who, got, need, do)


def wrong_attribute(node: str, name: str, value: Any, need: str) -> Exception:
    """An attribute that is unknown, or whose value no layer of jaxrnn computes."""
    do = "jaxrnn has no such layer: write a cell of your own, and copy the weights."
    return error(ValueError, node, f"{name}={value!r}", need, do)


def invalid_node(node: str, got: str, need: str) -> Exception:
    do = "Is the node valid? onnx.checker.check_model says more."
    return error(ValueError, node, got, need, do)


def unlike_node(node: str, name: str, array: Any, need: tuple[Any, ...]) -> Exception:
    """An array whose shape is not that which the node's other arrays and attributes make."""
    do = "The shapes are those of ONNX, with the number of directions."
    return unlike_shape(node, name, array, need, do)


def wrong_tensor(
    node: str, name: str, got: str, need: str, do: str = "Save the model again."
) -> Exception:
    """A tensor of a file that is not what it says, or of another kind."""
    return error(ValueError, node, f"{name} {got}", need, do)


def not_constant(node: str, name: str, op: str) -> Exception:
    got = f"{name} {op}"
    do = "Fold constants first: export with do_constant_folding=True, or save what onnxruntime does"
    return error(ValueError, node, got, f"{name} as an initializer or a Constant", f"{do}.")


def constant_run(node: str, name: str, got: str, instead: str) -> Exception:
    """A state or lengths that belong to a run, fixed within the model."""
    do = f"Pass {instead} in each run, and make {name} an input of the graph; or use run_onnx."
    return error(ValueError, node, f"{name} {got}", "what a run begins with as an input", do)


def wrong_feed(node: str, got: list[str], need: list[str]) -> Exception:
    names = ", ".join(map(repr, got)) or "nothing"
    do = "Pass a dict of arrays by the names of the node's inputs."
    return error(ValueError, node, f"inputs {names}", ", ".join(map(repr, need)), do)


def no_feed(node: str, inputs: Any) -> Exception:
    got, need = f"inputs as a {type(inputs).__name__}", "a dict of arrays by name"
    return error(TypeError, node, got, need, 'Pass {"X": xs}, say.')


def wrong_layout(layout: Any) -> Exception:
    do = "Leave it out: not every runtime has the batch first."
    return error(ValueError, "to_onnx", f"layout={layout!r}", "0 or 1", do)
