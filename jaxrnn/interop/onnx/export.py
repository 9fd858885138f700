"""Models of ONNX from recurrent layers."""

from itertools import compress
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jaxrnn import GRU, LSTM, Bidirectional, Dropout, Elman, Layer, PeepholeLSTM, Stack, errors
from jaxrnn.interop.checks import check_converted
from jaxrnn.interop.onnx.nodes import ACTIVATIONS, INPUTS, ORDER, blocks
from jaxrnn.interop.reversed import Reversed
from jaxrnn.interop.two_biases import TwoBiases


def to_onnx(
    layer: Layer,
    params: Any,
    *,
    layout: Literal[0, 1] = 0,
    lengths: bool = False,
    state: bool = False,
) -> onnx.ModelProto:
    """The model of ONNX that computes what a layer computes: the inverse of `from_onnx`.

    One node, with inputs and outputs as ONNX lays them out; the sizes "T" and "B" are free. A
    `Stack` becomes a chain of nodes, whose states are numbered from 0. `Dropout` in it is left out:
    without a key it changes nothing.

    Shapes: X `[T, B, F]`, `sequence_lens [B]`, `initial_h`, `initial_c`, `Y_h` and `Y_c [D, B, H]`
    for D directions, Y `[T, D, B, H]`; with `layout=1` X `[B, T, F]`, states `[B, D, H]`, Y
    `[B, T, D, H]`.

    Args:
      layer: an `LSTM` without projection, `PeepholeLSTM`, `GRU`, or `Elman` whose activation ONNX
        has, each also in a `TwoBiases`; a `Reversed` one; a `Bidirectional` of two of a kind,
        merged by concat; or a `Stack` of these and `Dropout`.
      params: the layer's params.
      layout: 0 for time first, 1 for the batch first, which not every runtime has.
      lengths: whether the model has an input `sequence_lens`, int32.
      state: whether it has inputs `initial_h` and, for an LSTM, `initial_c`.

    Returns:
      The model, which `onnx.checker` has passed. Save it with `onnx.save(model, path)`.

    Raises:
      TypeError: for params that are no arrays with known values, or flags that are no booleans.
      ValueError: for a layer that ONNX does not have, params of another one, or another layout.

    Example:
      >>> net = Bidirectional(GRU(8))
      >>> model = to_onnx(net, net.init(jax.random.key(0), features(3)), lengths=True)
      >>> [one.name for one in model.graph.input], [one.name for one in model.graph.output]
      (['X', 'sequence_lens'], ['Y', 'Y_h'])
    """
    if type(layout) is not int or layout not in (0, 1):
        raise errors.wrong_layout(layout)
    errors.check_flag("to_onnx", "lengths", lengths)
    errors.check_flag("to_onnx", "state", state)
    chain = layer.cells if isinstance(layer, Stack) else (layer,)
    kept = [not isinstance(one, Dropout) for one in chain]  # without a key it changes nothing
    kept = kept if any(kept) else [True]  # which is refused
    found = [directions(one, layer) for one in compress(chain, kept)]
    check_converted(layer, params, known=True)
    every = compress(params, kept) if isinstance(layer, Stack) else (params,)

    inputs, outputs, nodes, constants, previous = [], [], [], [], "X"
    for k, ((direction, cells), part) in enumerate(zip(found, every, strict=True)):
        end = f"_{k}" if len(found) > 1 else ""
        parts = part if direction == "bidirectional" else (part,)
        arrays = [weights(cell, p) for cell, p in zip(cells, parts, strict=True)]
        stacked = {role: np.stack([one[role] for one in arrays]) for role in arrays[0]}
        constants += [numpy_helper.from_array(array, role + end) for role, array in stacked.items()]
        w, d, h = stacked["W"], len(cells), cells[0].hidden
        dtype = helper.np_dtype_to_tensor_dtype(w.dtype)
        if not k:
            steps = ["B", "T"] if layout else ["T", "B"]
            inputs.append(value("X", dtype, [*steps, w.shape[-1]]))
            inputs += [value("sequence_lens", TensorProto.INT32, ["B"])] if lengths else []

        op, settings = operator(cells)
        names = {"X": previous} | {role: role + end for role in stacked}
        names |= {"sequence_lens": "sequence_lens"} if lengths else {}
        sizes, kinds = (["B", d, h] if layout else [d, "B", h]), ("h", "c")[: 1 + (op == "LSTM")]
        if state:
            names |= {f"initial_{kind}": f"initial_{kind}{end}" for kind in kinds}
            inputs += [value(f"initial_{kind}{end}", dtype, sizes) for kind in kinds]
        y = "Y" if k == len(found) - 1 else f"Y{end}"
        outputs += [value(f"Y_{kind}{end}", dtype, sizes) for kind in kinds]
        roles = INPUTS[op][: 1 + max(INPUTS[op].index(role) for role in names)]
        settings |= {"direction": direction, "hidden_size": h} | ({"layout": 1} if layout else {})
        made = [y, *(f"Y_{kind}{end}" for kind in kinds)]
        given = [names.get(role, "") for role in roles]
        nodes.append(helper.make_node(op, given, made, op + end, **settings))
        if y == "Y":
            whole = ["B", "T", d, h] if layout else ["T", d, "B", h]
            outputs.insert(0, value("Y", dtype, whole))
        else:  # both directions side by side
            previous, turned = f"X_{k + 1}", y if layout else f"turned{end}"
            if not layout:
                nodes.append(helper.make_node("Transpose", [y], [turned], perm=[0, 2, 1, 3]))
            shape = f"shape{end}"
            constants.append(numpy_helper.from_array(np.array([0, 0, -1]), shape))
            nodes.append(helper.make_node("Reshape", [turned, shape], [previous]))

    # Opset 14 is the first with a layout, 22 the first with bfloat16.
    opset = helper.make_opsetid("", 22 if constants[0].data_type == TensorProto.BFLOAT16 else 14)
    model = helper.make_model(
        helper.make_graph(nodes, "jaxrnn", inputs, outputs, constants),
        producer_name="jaxrnn",
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def value(name: str, dtype: Any, sizes: list[Any]) -> onnx.ValueInfoProto:
    """An input or output of the graph."""
    return helper.make_tensor_value_info(name, dtype, sizes)


def directions(layer: Layer, whole: Any) -> tuple[str, tuple[Any, ...]]:
    """The direction of a layer as ONNX calls it, and its cells, which must have a node."""
    match layer:
        case Bidirectional(merge="concat"):
            direction, held = "bidirectional", layer.children
        case Reversed():
            direction, held = "reverse", layer.children
        case _:
            direction, held = "forward", (layer,)
    cells = tuple(one.cell if isinstance(one, TwoBiases) else one for one in held)
    if not all(has_node(cell) for cell in cells) or len({kind(cell) for cell in cells}) > 1:
        raise errors.not_convertible(
            whole,
            f"{layer!r}, which ONNX does not have",
            "LSTM without projection, PeepholeLSTM, GRU, or Elman with an activation out of "
            f"{', '.join(ACTIVATIONS.values())}; Reversed, or Bidirectional with concat; "
            "or a Stack of these and Dropout",
            "Convert its recurrent layers, and the others with another tool.",
        )
    return direction, cells


def has_node(cell: Any) -> bool:
    """Whether ONNX has a cell."""
    match cell:
        case LSTM(projection=None) | PeepholeLSTM() | GRU():
            return True
        case Elman():
            return cell.activation in ACTIVATIONS.values()
    return False


def kind(cell: Any) -> tuple[Any, ...]:
    """What the directions of one node share."""
    return type(cell), cell.hidden, getattr(cell, "reset_after", None)


def operator(cells: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """The operator of cells, and the attributes that are its own."""
    match cells[0]:
        case GRU():
            return "GRU", {"linear_before_reset": int(cells[0].reset_after)}
        case Elman():
            names = {ours: name for name, ours in ACTIVATIONS.items()}
            return "RNN", {"activations": [names[cell.activation] for cell in cells]}
    return "LSTM", {}


def weights(cell: Any, params: Any) -> dict[str, np.ndarray]:
    """The arrays of one direction by their roles: the inverse of `nodes.one`."""
    p = {name: np.asarray(leaf) for name, leaf in params.items()}
    op, _ = operator((cell,))
    back = tuple(np.argsort(ORDER[op]))
    w_h = np.concatenate([p["w_h"], p["w_n"]], -1) if "w_n" in p else p["w_h"]
    second = np.zeros_like(p["b"])
    if "b_h" in p:
        second[: len(p["b_h"])] = p["b_h"]
    if "b_n" in p:
        second[2 * cell.hidden :] = p["b_n"]
    made = {
        "W": blocks(p["w_x"], back).T,
        "R": blocks(w_h, back).T,
        "B": np.concatenate([blocks(p["b"], back), blocks(second, back)]),
    }
    return made | ({"P": blocks(p["p"], tuple(np.argsort(ORDER["P"])))} if "p" in p else {})
