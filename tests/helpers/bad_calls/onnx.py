"""Bad calls of `interop.onnx`: models that are none, that say something else than they hold, or
that no layer computes."""

import copy
import importlib.util
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.bad_calls import Bad, at

CALLS = []

if importlib.util.find_spec("onnx"):
    from onnx import TensorProto, helper, numpy_helper

    from jaxrnn.interop.onnx import Reversed, from_onnx, run_onnx, to_onnx

    KEY = jax.random.key(0)
    LSTM, GRU = rnn.LSTM(2), rnn.GRU(2)
    PARAMS = GRU.init(KEY, 3)
    OF_LSTM = to_onnx(LSTM, LSTM.init(KEY, 3))
    OF_GRU = to_onnx(GRU, PARAMS, lengths=True, state=True)
    STACK = rnn.Stack((LSTM, rnn.GRU(2)))
    OF_STACK = to_onnx(STACK, STACK.init(KEY, 3))
    XS = np.ones((4, 5, 3), np.float32)
    FEED = {
        "X": XS,
        "sequence_lens": np.full(5, 4, np.int32),
        "initial_h": np.zeros((1, 5, 2), np.float32),
    }
    FOLDER = pathlib.Path(tempfile.mkdtemp())
    (FOLDER / "text.onnx").write_text("no model at all")

    OF_BYTES = OF_LSTM.SerializeToString().replace(b"LSTM", b"LST\xff")
    (FOLDER / "name.onnx").write_bytes(OF_BYTES)

    def changed(change, model=OF_LSTM):
        """A model after a change of its graph."""
        made = copy.deepcopy(model)
        change(made.graph)
        return made

    def said(**attributes):
        """An LSTM whose node says something else."""

        def change(graph):
            graph.node[0].attribute.extend(helper.make_attribute(*one) for one in new)

        new = attributes.items()
        made = changed(lambda graph: None)
        kept = [one for one in made.graph.node[0].attribute if one.name not in attributes]
        del made.graph.node[0].attribute[:]
        made.graph.node[0].attribute.extend(kept)
        return changed(change, made)

    def tensor(name, value, model=OF_LSTM):
        """A model with another array under a name."""

        def change(graph):
            kept = [one for one in graph.initializer if one.name != name]
            del graph.initializer[:]
            made = value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
            graph.initializer.extend([*kept, made])

        return changed(change, model)

    def float_of(shape):
        return np.zeros(shape, np.float32)

    def huge():
        """A tensor that says that it is large, and holds four bytes."""
        made = numpy_helper.from_array(float_of(1), "R")
        made.dims[:] = [1, 1 << 20, 1 << 40]
        return made

    def outside():
        made = numpy_helper.from_array(float_of((1, 8, 2)), "R")
        made.raw_data = b""
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="weights")
        return made

    def computed(graph):
        graph.node.insert(0, helper.make_node("Relu", ["R"], ["R_1"]))
        graph.node[1].input[2] = "R_1"

    def loop(graph):
        graph.node.insert(0, helper.make_node("Identity", ["back"], ["R_1"]))
        graph.node.insert(1, helper.make_node("Identity", ["R_1"], ["back"]))
        graph.node[2].input[2] = "R_1"

    def turned(graph):
        graph.node[1].attribute[0].ints[:] = [2, 0, 1, 3]

    def apart(graph):
        graph.node[3].input[0] = "X"

    def at_lstm(name, words, model):
        return at(name, ValueError, ("LSTM", *words), from_onnx, model)

    CALLS = [
        at("a dict as a model", TypeError, ("dict", "path"), from_onnx, {}),
        at("no file", FileNotFoundError, ("No such file",), from_onnx, FOLDER / "none.onnx"),
        at("a folder", ValueError, ("a folder",), from_onnx, FOLDER),
        at("a text", ValueError, ("text.onnx",), from_onnx, FOLDER / "text.onnx"),
        at("a name in bytes", ValueError, ("UTF-8",), from_onnx, FOLDER / "name.onnx"),
        at("biases=1", ValueError, ("from_onnx", "'both'"), from_onnx, OF_LSTM, biases=1),
        at("another name", ValueError, ("'lstm'", "'LSTM'"), from_onnx, OF_LSTM, "lstm"),
        at(
            "no recurrence",
            ValueError,
            ("Relu",),
            from_onnx,
            changed(lambda graph: setattr(graph.node[0], "op_type", "Relu")),
        ),
        at_lstm("a clip", ("clip=3.0",), said(clip=3.0)),
        at_lstm("coupled gates", ("input_forget=1",), said(input_forget=1)),
        at_lstm("alpha", ("activation_alpha=[0.5]",), said(activation_alpha=[0.5])),
        at_lstm("gates of relu", ("Sigmoid for gates",), said(activations=["Relu"] * 3)),
        at_lstm("another's attribute", ("linear_before_reset",), said(linear_before_reset=1)),
        at_lstm("no direction", ("'up'", "reverse"), said(direction="up")),
        at_lstm("a size in words", ("hidden_size",), said(hidden_size="2")),
        at_lstm("a size below one", ("hidden_size=-2",), said(hidden_size=-2)),
        at_lstm(
            "both directions",
            ("W float32[1, 8, 3]", "(2, 8, any)"),
            said(direction="bidirectional"),
        ),
        at_lstm("another size", ("W float32[1, 8, 3]", "(1, 12, any)"), said(hidden_size=3)),
        at_lstm("a wide R", ("R float32[1, 8, 3]",), tensor("R", float_of((1, 8, 3)))),
        at_lstm("a bias short", ("B float32[1, 8]",), tensor("B", float_of((1, 8)))),
        at_lstm("integers", ("W of type INT32",), tensor("W", np.zeros((1, 8, 3), np.int32))),
        at_lstm("two dtypes", ("float16",), tensor("B", np.zeros((1, 16), np.float16))),
        at_lstm("a huge size", ("R with 4 bytes",), tensor("R", huge())),
        at_lstm("data elsewhere", ("outside the model",), tensor("R", outside())),
        at_lstm(
            "computed weights",
            ("R made by", "Relu"),
            changed(computed),
        ),
        at("a loop", ValueError, ("before it is made",), from_onnx, changed(loop)),
        at(
            "nodes turned",
            ValueError,
            ("side by side", "LSTM_0"),
            from_onnx,
            changed(turned, OF_STACK),
        ),
        at("no chain", ValueError, ("come from 'X'", "GRU_1"), from_onnx, changed(apart, OF_STACK)),
        at(
            "fixed lengths",
            ValueError,
            ("sequence_lens as a constant",),
            from_onnx,
            tensor("sequence_lens", np.full(5, 4, np.int32), OF_GRU),
        ),
        at(
            "a fixed state",
            ValueError,
            ("initial_h as a constant",),
            from_onnx,
            tensor("initial_h", np.ones((1, 5, 2), np.float32), OF_GRU),
        ),
        at("run one of two", ValueError, ("'GRU_1'",), run_onnx, OF_STACK, {"X": XS}),
        at("a list of inputs", TypeError, ("a list",), run_onnx, OF_LSTM, [XS]),
        at(
            "no state",
            ValueError,
            ("'initial_h'",),
            run_onnx,
            OF_GRU,
            {name: a for name, a in FEED.items() if name != "initial_h"},
        ),
        at("an unknown input", ValueError, ("'H'",), run_onnx, OF_LSTM, {"X": XS, "H": XS}),
        at("other features", ValueError, ("X float32",), run_onnx, OF_LSTM, {"X": XS[..., :2]}),
        at("one axis less", ValueError, ("X float32",), run_onnx, OF_LSTM, {"X": XS[0]}),
        at(
            "a state of another batch",
            ValueError,
            ("initial_h", "(1, 5, 2)"),
            run_onnx,
            OF_GRU,
            (FEED | {"initial_h": np.zeros((1, 4, 2), np.float32)}),
        ),
        at(
            "long rows",
            ValueError,
            ("steps=4",),
            run_onnx,
            OF_GRU,
            (FEED | {"sequence_lens": np.full(5, 7, np.int32)}),
        ),
        at("layout 2", ValueError, ("layout=2",), to_onnx, GRU, PARAMS, layout=2),
        at("lengths as an array", TypeError, ("lengths=",), to_onnx, GRU, PARAMS, lengths=3),
        at("a dense layer", ValueError, ("ONNX does not",), to_onnx, rnn.Dense(2), PARAMS),
        at(
            "dropout alone",
            ValueError,
            ("Dropout",),
            to_onnx,
            rnn.Stack((rnn.Dropout(0.1),)),
            ({},),
        ),
        at(
            "summed directions",
            ValueError,
            ("concat",),
            to_onnx,
            rnn.Bidirectional(GRU, merge="sum"),
            (PARAMS, PARAMS),
        ),
        at("two kinds", ValueError, ("ONNX does not",), to_onnx, rnn.Bidirectional(GRU, LSTM), ()),
        at("a projection", ValueError, ("ONNX does not",), to_onnx, rnn.LSTM(2, projection=1), ()),
        at("modReLU", ValueError, ("leaky_relu",), to_onnx, rnn.Elman(2, "modrelu"), PARAMS),
        at("params of another", ValueError, ("unknown ['b_n']",), to_onnx, LSTM, PARAMS),
        at("lists", ValueError, ("missing ['b']",), to_onnx, Reversed(GRU), PARAMS | {"b": []}),
        Bad(
            "to_onnx under jit",
            lambda: jax.jit(lambda p: to_onnx(GRU, p))(PARAMS),
            TypeError,
            ("params['b']", "Tracer"),
        ),
        at("reversed in words", TypeError, ("Reversed",), Reversed, "LSTM"),
        at("an array as a model", TypeError, ("path",), run_onnx, jnp.ones(3), {}),
    ]
