"""The layer that computes what one of Keras does, and which arrays Keras has for it.

Keras's `go_backwards` reads a sequence from its end, and gives its outputs in the order in which it
made them: all that follows in a `Sequential` runs against time. Here outputs stay in their places,
so what follows is `Reversed` too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Elman,
    Embed,
    Feedforward,
    LayerNorm,
    Pooled,
    RecurrentDropout,
    Stack,
    errors,
)
from jaxrnn.interop.keras.settings import ACTIVATIONS, DAMAGED, OF_DENSE, Said, said
from jaxrnn.interop.reversed import Reversed
from jaxrnn.interop.two_biases import TwoBiases

# The layers that are converted, and the names of their groups in Keras's files.
NAMES = {
    "LSTM": "lstm",
    "GRU": "gru",
    "SimpleRNN": "simple_rnn",
    "LSTMCell": "lstm_cell",
    "GRUCell": "gru_cell",
    "SimpleRNNCell": "simple_rnn_cell",
    "RNN": "rnn",
    "StackedRNNCells": "stacked_rnn_cells",
    "Bidirectional": "bidirectional",
    "Sequential": "sequential",
    "Embedding": "embedding",
    "Dense": "dense",
    "TimeDistributed": "time_distributed",
    "Dropout": "dropout",
    "SpatialDropout1D": "spatial_dropout1d",
    "LayerNormalization": "layer_normalization",
}
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN")
MERGES: dict[Any, Any] = {
    "concat": "concat",
    "sum": "sum",
    "mul": "product",
    "ave": "mean",
    None: "none",
}
DEPTH = 32
"""How deep layers may be nested."""


class Slot(NamedTuple):
    """One array of a layer of Keras: its path in a file, what it is called, and its shape, where
    None is the number of the network's inputs. One that the layer lacks is filled.
    """

    path: str
    name: str
    shape: tuple[int | None, ...]
    fill: float | None = None


class Plan(NamedTuple):
    """What a layer of Keras becomes. `width` is the number of its outputs, None that of its inputs;
    `ends` says that it gives the last output alone, `turned` that its outputs run against time.
    """

    layer: Any
    slots: tuple[Slot, ...]
    width: int | None
    ends: bool = False
    turned: bool = False


def plan(who: str, config: Any, width: int | None, biases: str, depth: int = DEPTH) -> Plan:
    """What the configuration of a layer becomes, for inputs of this width."""
    one = said(who, config)
    if not depth:
        do = "Convert the layers within it one by one."
        got = f"layers nested more than {DEPTH} deep"
        raise errors.not_convertible(who, got, "fewer", do)

    def inner(config: Any, width: int | None) -> Plan:
        return plan(who, config, width, biases, depth - 1)

    match one.kind:
        case "LSTM" | "GRU" | "SimpleRNN":
            made = cell(one, one.kind, width, biases)
            return directed(one, made._replace(slots=below("cell", made.slots)))
        case "LSTMCell" | "GRUCell" | "SimpleRNNCell":
            return cell(one, one.kind.removesuffix("Cell"), width, biases)
        case "RNN":
            made = within(one, "cell", inner, width, (*CELLS, "StackedRNNCells"))
            return directed(one, made)
        case "StackedRNNCells":
            parts, slots, names = [], [], Names()
            for config in listed(one, "cells"):
                path = names.of(only(who, config, CELLS, one.label))
                made = inner(config, width)
                width = made.width
                slots += below(f"cells/{path}", made.slots)
                parts.append(made.layer)
            return Plan(Stack(tuple(parts)), tuple(slots), width)
        case "Bidirectional":
            return bidirectional(one, inner, width)
        case "Sequential":
            return sequential(one, inner, width)
        case "TimeDistributed":
            return within(one, "layer", inner, width, ("Dense",))
        case "Embedding":
            plain(one)
            v, w = one.size("input_dim"), one.size("output_dim")
            return Plan(Embed(v, w), (Slot("vars/0", "embeddings", (v, w)),), w)
        case "Dense":
            plain(one)
            units = one.size("units")
            kernel = Slot("vars/0", "kernel", (width, units))
            bias = Slot("vars/1", "bias", (units,), None if one.flag("use_bias", True) else 0.0)
            return Plan(Dense(units, one.activation(OF_DENSE)), (kernel, bias), units)
        case "Dropout" | "SpatialDropout1D":
            one.only("noise_shape", (None,), "Use SpatialDropout1D for one mask a sequence.")
            per = "step" if one.kind == "Dropout" else "sequence"
            return Plan(Dropout(one.rate("rate"), per), (), width)
        case "LayerNormalization":
            one.only("axis", ([-1], -1), "Normalize the last axis, the features.")
            one.only("rms_scaling", (False,), "Write a layer of your own, and copy the weights.")
            scale, center = one.flag("scale", True), one.flag("center", True)
            gamma = Slot("vars/0", "gamma", (width,), None if scale else 1.0)
            beta = Slot(f"vars/{int(scale)}", "beta", (width,), None if center else 0.0)
            return Plan(LayerNorm(one.eps("epsilon")), (gamma, beta), width)
    got = f"{one.label}, a {one.kind}"
    if one.kind == "Masking":
        do = "Leave it out, and pass unroll a mask, true where the step is valid."
    else:
        do = "Convert the layers beside it one by one."
    raise errors.not_convertible(who, got, f"one of {', '.join(NAMES)}", do)


CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")


def cell(one: Said, kind: str, width: int | None, biases: str) -> Plan:
    """A cell with its three arrays."""
    h, made = one.size("units"), None
    if kind == "SimpleRNN":
        made, gates = Elman(h, one.activation(ACTIVATIONS)), 1
    else:
        do = "Write a cell of your own, and copy the weights."
        one.only("activation", ("tanh",), do)
        one.only("recurrent_activation", ("sigmoid",), do)
        gates = {"LSTM": 4, "GRU": 3}[kind]
        made = LSTM(h) if kind == "LSTM" else GRU(h, one.flag("reset_after", True))
    two = isinstance(made, GRU) and made.reset_after
    slots = (
        Slot("vars/0", "kernel", (width, gates * h)),
        Slot("vars/1", "recurrent_kernel", (h, gates * h)),
        Slot(
            "vars/2",
            "bias",
            (2, gates * h) if two else (gates * h,),
            None if one.flag("use_bias", True) else 0.0,
        ),
    )
    if two and biases == "both":
        made = TwoBiases(made)
    if rate := one.rate("recurrent_dropout"):
        if isinstance(made, TwoBiases):
            raise one.refuse("recurrent_dropout", "0 with biases='both'", "Leave biases out.")
        made = RecurrentDropout(made, rate)
    if rate := one.rate("dropout"):
        made = Stack((Dropout(rate, "sequence"), made))
    return Plan(made, slots, h)


def directed(one: Said, made: Plan) -> Plan:
    """A recurrent layer with its direction, and whether it gives all outputs."""
    do = "Make it without: a state goes in as state=, and comes back beside the outputs."
    one.only("stateful", (False,), do)
    turned, ends = one.flag("go_backwards", False), not one.flag("return_sequences", False)
    layer = Reversed(made.layer) if turned else made.layer
    return made._replace(layer=layer, turned=turned, ends=ends)


def bidirectional(one: Said, inner: Any, width: int | None) -> Plan:
    """Both directions; where the first one goes backwards, the whole does."""
    merge = one.fields.get("merge_mode", "concat")
    if not isinstance(merge, str | None) or merge not in MERGES:
        raise one.refuse("merge_mode", "'concat', 'sum', 'mul', 'ave' or None", DAMAGED)
    both = [within(one, name, inner, width, RECURRENT) for name in ("layer", "backward_layer")]
    first, second = both
    if first.turned == second.turned or first.ends != second.ends:
        raise one.refuse("backward_layer", "one that runs the other way, and returns as much", "")
    cells = [made.layer.layer if made.turned else made.layer for made in both]
    layer = Bidirectional(cells[0], None if cells[0] == cells[1] else cells[1], MERGES[merge])
    slots = [
        below(name, [s._replace(path=s.path.partition("/")[2]) for s in made.slots])
        for name, made in zip(("forward_layer", "backward_layer"), both, strict=True)
    ]
    total = sum(made.width or 0 for made in both) if merge == "concat" else first.width
    return Plan(
        Reversed(layer) if first.turned else layer,
        (*slots[0], *slots[1]),
        total,
        first.ends,
        first.turned,
    )


def sequential(one: Said, inner: Any, width: int | None) -> Plan:
    """A `Stack`, or, where a recurrent layer gives its last output to what follows, a `Pooled`."""
    parts, slots, names, turned, end = [], [], Names(), False, None
    for i, config in enumerate(listed(one, "layers")):
        layer = said(one.who, config)
        if layer.kind == "InputLayer" and i == 0:
            continue
        made = inner(config, width)
        if isinstance(parts[-1] if parts else None, Bidirectional) and parts[-1].merge == "none":
            got = f"{layer.label} after a Bidirectional with merge_mode=None"
            raise errors.not_convertible(one.who, got, "it as the last layer", "Set a merge_mode.")
        if isinstance(made.layer, Pooled) or not (
            end is None or isinstance(made.layer, Feedforward)
        ):
            got = f"{layer.label} beside one that gives its last output alone"
            do = "Set return_sequences=True in all recurrent layers but the last of the network."
            raise errors.not_convertible(one.who, got, "layers for one step, such as Dense", do)
        slots += below(f"layers/{names.of(layer.kind)}", made.slots)
        parts.append(against(made.layer) if turned else made.layer)
        width, turned = made.width, turned ^ made.turned
        end = len(parts) if made.ends else end
    if not parts:
        raise one.refuse("layers", "at least one layer besides the input", "Add one.")
    if end is None or end == len(parts):
        return Plan(Stack(tuple(parts)), tuple(slots), width, end is not None, turned)
    if turned:
        got = f"{one.label}, where go_backwards stands beside return_sequences=False"
        do = "Convert the layers before it, and take the output at the first step."
        raise errors.not_convertible(one.who, got, "a network that ends at the last step", do)
    body, head = (
        half[0] if len(half) == 1 else Stack(tuple(half)) for half in (parts[:end], parts[end:])
    )
    return Plan(Pooled(body, head), tuple(slots), width)


def against(layer: Any) -> Any:
    """A layer that runs the other way."""
    if isinstance(layer, Feedforward):
        return layer
    return layer.layer if isinstance(layer, Reversed) else Reversed(layer)


class Names(dict):
    """The names of groups in one list of layers: the second LSTM is "lstm_1"."""

    def of(self, kind: str) -> str:
        count = self[kind] = self.get(kind, -1) + 1
        return f"{NAMES.get(kind, kind)}_{count}" if count else NAMES.get(kind, kind)


def below(path: str, slots: Any) -> tuple[Slot, ...]:
    """Arrays within a group of a file."""
    return tuple(slot._replace(path=f"{path}/{slot.path}") for slot in slots)


def listed(one: Said, name: str) -> list[Any]:
    """The layers that a field lists."""
    found = one.fields.get(name)
    if not isinstance(found, list) or not found:
        raise one.refuse(name, "a list of layers", DAMAGED)
    return found


def only(who: str, config: Any, kinds: tuple[str, ...], where: str) -> str:
    """The class of a layer that stands where only these may."""
    kind = said(who, config).kind
    if kind not in kinds:
        do = "Convert it by itself, or write a cell of your own."
        raise errors.not_convertible(who, f"a {kind} in {where}", " or ".join(kinds), do)
    return kind


def within(one: Said, name: str, inner: Any, width: int | None, kinds: tuple[str, ...]) -> Plan:
    """The plan of the layer in a field."""
    config = one.fields.get(name)
    only(one.who, config, kinds, one.label)
    made = inner(config, width)
    return made._replace(slots=below(name, made.slots))


def plain(one: Said) -> None:
    """Refuse what changes the weights themselves."""
    for name in ("lora_rank", "quantization_config"):
        one.only(name, (None,), "Merge it into the weights first, and save the model again.")
