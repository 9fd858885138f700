"""Nodes of ONNX against the layers that `from_onnx` makes of them: ONNX's own cases of the
operators, `onnxruntime` on what `to_onnx` makes, and PyTorch's exporter."""

import copy
import importlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

onnx = pytest.importorskip("onnx")

from jaxrnn.interop.onnx import Reversed, TwoBiases, from_onnx, run_onnx, to_onnx  # noqa: E402

T, B, F, H = 4, 3, 2, 3


def operator_cases():
    """All of `onnx.backend.test.loader.load_model_tests(kind="node")` for these operators, which
    would make those of every other one too."""
    for room in ("lstm", "gru", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{room}")
    made = importlib.import_module("onnx.backend.test.case.node")._NodeTestCases
    starts = ("test_lstm_", "test_gru_", "test_rnn_", "test_simple_rnn_")
    return {case.name: case for case in made if case.name.startswith(starts)}


BACKEND = operator_cases()


@pytest.fixture(scope="module")
def computed():
    """The outputs for all of ONNX's cases, in one program."""
    feeds = {}
    for name, case in BACKEND.items():
        ((arrays, _),) = case.data_sets
        names = [one.name for one in case.model.graph.input]
        feeds[name] = dict(zip(names, arrays, strict=True))

    def run(feeds):
        return {name: run_onnx(BACKEND[name].model, feed) for name, feed in feeds.items()}

    return jax.jit(run)(feeds)


@pytest.mark.parametrize("name", BACKEND)
def test_every_operator_case_of_onnx(name, computed):
    case = BACKEND[name]
    ((_, want),) = case.data_sets
    by_name = dict(zip(case.model.graph.node[0].output, computed[name], strict=False))
    for output, array in zip(case.model.graph.output, want, strict=True):
        np.testing.assert_allclose(by_name[output.name], array, rtol=1e-5, atol=1e-5)


def test_there_are_cases_of_every_operator():
    ops = [case.model.graph.node[0].op_type for case in BACKEND.values()]
    assert min(ops.count(op) for op in ("LSTM", "GRU", "RNN")) >= 6


LAYERS = [
    rnn.LSTM(H),
    rnn.PeepholeLSTM(H),
    rnn.GRU(H),
    rnn.GRU(H, reset_after=False),
    rnn.Elman(H, "leaky_relu"),
    Reversed(rnn.LSTM(H)),
    Reversed(TwoBiases(rnn.GRU(H, reset_after=False))),
    rnn.Bidirectional(rnn.PeepholeLSTM(H)),
    rnn.Bidirectional(TwoBiases(rnn.GRU(H))),
    rnn.Bidirectional(rnn.Elman(H, "soft_sign"), rnn.Elman(H, "relu")),
]
STACK = rnn.Stack((rnn.Bidirectional(rnn.LSTM(H)), Reversed(rnn.GRU(2)), rnn.Elman(H, "elu")))


def drawn(layer, seed=0):
    """Params without a zero among them, so that every bias matters."""
    rng = np.random.default_rng(seed)
    spec = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), spec)


def fed(model, rng):
    """Random inputs of a model, ragged where it takes lengths."""
    sizes, made = {"T": T, "B": B}, {}
    for one in model.graph.input:
        dims = one.type.tensor_type.shape.dim
        shape = [sizes.get(d.dim_param, d.dim_value) for d in dims]
        made[one.name] = rng.normal(size=shape).astype("float32")
    if "sequence_lens" in made:
        made["sequence_lens"] = np.array([T, 1, 2], np.int32)
    return made


def bits(layer, params, other, others):
    assert getattr(layer, "children", layer) == getattr(other, "children", other)
    jax.tree.map(np.testing.assert_array_equal, params, others)


@pytest.mark.parametrize("layer", [*LAYERS, STACK], ids=repr)
def test_there_and_back_bit_for_bit(layer):
    params = drawn(layer)
    both = "both" if "TwoBiases" in repr(layer) else "sum"
    for settings in ({}, {"layout": 1, "lengths": True, "state": True}):
        model = to_onnx(layer, params, **settings)
        bits(layer, params, *from_onnx(model, biases=both))
        again = to_onnx(*from_onnx(model, biases=both), **settings)
        assert again.SerializeToString() == model.SerializeToString()


def test_dropout_is_left_out():
    """Without a key it changes nothing."""
    drop, first, second = rnn.Dropout(0.4), rnn.GRU(H), rnn.Bidirectional(rnn.Elman(H))
    without = rnn.Stack((first, second))
    params = drawn(without)
    stack = rnn.Stack((drop, first, drop, second, drop))
    spread = ({}, params[0], {}, params[1], {})
    settings = {"lengths": True, "state": True}
    model = to_onnx(stack, spread, **settings)
    assert model.SerializeToString() == to_onnx(without, params, **settings).SerializeToString()
    xs = jnp.ones((T, B, F))
    np.testing.assert_array_equal(
        rnn.unroll(stack, spread, xs)[1], rnn.unroll(without, params, xs)[1]
    )


def test_dtypes_there_and_back():
    for dtype in (jnp.float16, jnp.bfloat16):
        params = jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), drawn(rnn.GRU(H)))
        bits(rnn.GRU(H), params, *from_onnx(to_onnx(rnn.GRU(H), params)))


def test_onnxruntime_computes_the_same():
    """Each exported layer, without lengths and states or with them, in one program of ours. It has
    no layout 1 on a CPU: there the outputs of layout 0 are turned."""
    ort = pytest.importorskip("onnxruntime")
    rng, models, feeds, want = np.random.default_rng(0), [], [], []
    for k, layer in enumerate(LAYERS):
        more = {"lengths": True, "state": True} if k % 4 else {}
        models.append(to_onnx(layer, drawn(layer), **more))
        feeds.append(fed(models[-1], rng))
        want.append(ort.InferenceSession(models[-1].SerializeToString()).run(None, feeds[-1]))
    pair = rnn.Bidirectional(rnn.PeepholeLSTM(H))
    place = LAYERS.index(pair)
    models.append(to_onnx(pair, drawn(pair), layout=1, lengths=True, state=True))
    feeds.append({name: a.swapaxes(0, a.ndim > 1) for name, a in feeds[place].items()})
    y, *last = want[place]
    want.append([y.transpose(2, 0, 1, 3), *(a.swapaxes(0, 1) for a in last)])
    stack = to_onnx(STACK, drawn(STACK), lengths=True)
    feed = fed(stack, rng)
    y, *_ = ort.InferenceSession(stack.SerializeToString()).run(None, feed)

    @jax.jit
    def run(feeds, xs, lengths):
        ours = [run_onnx(model, feed) for model, feed in zip(models, feeds, strict=True)]
        mask = rnn.lengths_to_mask(lengths, T)
        return ours, rnn.unroll(STACK, drawn(STACK), xs, mask=mask)[1]

    ours, ys = run(feeds, feed["X"], feed["sequence_lens"])
    for model, a, b in zip(models, ours, want, strict=True):
        for one, other in zip(a, b, strict=True):
            name = str(model.graph.node[0])
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(ys[:, None], y, rtol=1e-5, atol=1e-5)


def exported(module, *more):
    """The model that PyTorch's exporter makes, which needs no other package."""
    torch = importlib.import_module("torch")
    file = io.BytesIO()
    names = {"input_names": ["X"], "dynamic_axes": {"X": {0: "T", 1: "B"}}}
    args = (torch.ones(T, B, F), *more)
    torch.onnx.export(module.eval(), args, file, dynamo=False, **names)
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.filterwarnings("ignore")
def test_what_pytorch_exports_is_what_from_torch_makes():
    torch = pytest.importorskip("torch")
    from_torch = importlib.import_module("jaxrnn.interop.torch").from_torch
    nn = torch.nn
    torch.manual_seed(0)
    for module, more in (
        (nn.GRU(F, H, num_layers=2), ()),
        (nn.RNN(F, H, nonlinearity="relu", bias=False), ()),
        (nn.LSTM(F, H), ((torch.ones(1, B, H), torch.ones(1, B, H)),)),  # states are given
        (nn.GRU(F, H, num_layers=2, bidirectional=True), ()),
    ):
        model = exported(module, *more)
        for biases in ("sum", "both"):
            bits(*from_torch(module, biases=biases), *from_onnx(model, biases=biases))

    # Side by side: outputs, and gradients of inputs and weights.
    module = nn.LSTM(F, H, bidirectional=True)
    layer, params = from_onnx(exported(module))
    xs = np.random.default_rng(0).normal(size=(T, B, F)).astype("float32")
    theirs = torch.tensor(xs, requires_grad=True)
    ys = module(theirs)[0]
    ys.square().sum().backward()
    grads = copy.deepcopy(module)
    with torch.no_grad():
        for (name, slot), p in zip(grads.named_parameters(), module.parameters(), strict=True):
            slot.copy_(torch.zeros_like(p) if name.startswith("bias_hh") else p.grad)

    def loss(params, xs):
        ys = rnn.unroll(layer, params, xs)[1]
        return jnp.square(ys).sum(), ys

    ours, values = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, jnp.asarray(xs))
    np.testing.assert_allclose(values, ys.detach(), rtol=1e-5, atol=1e-5)
    want = from_torch(grads)[1], theirs.grad.numpy()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, want)


def test_files_and_what_lies_beside_them(tmp_path):
    layer, params = rnn.GRU(H), drawn(rnn.GRU(H))
    model = to_onnx(layer, params)
    onnx.save(model, tmp_path / "whole.onnx")
    bits(layer, params, *from_onnx(tmp_path / "whole.onnx"))
    beside = {"save_as_external_data": True, "size_threshold": 0, "location": "weights"}
    onnx.save(copy.deepcopy(model), str(tmp_path / "cut.onnx"), **beside)
    bits(layer, params, *from_onnx(str(tmp_path / "cut.onnx")))

    held = (tmp_path / "weights").read_bytes()
    (tmp_path / "weights").write_bytes(held[:-4])
    with pytest.raises(ValueError, match="its data in a file of the same folder"):
        from_onnx(tmp_path / "cut.onnx")
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights").write_bytes(held)
    cut = onnx.load(tmp_path / "cut.onnx", load_external_data=False)
    for tensor in cut.graph.initializer:
        tensor.external_data[0].value = "../weights"
    (tmp_path / "inner" / "out.onnx").write_bytes(cut.SerializeToString())
    with pytest.raises(ValueError, match="its data in a file of the same folder"):
        from_onnx(tmp_path / "inner" / "out.onnx")
