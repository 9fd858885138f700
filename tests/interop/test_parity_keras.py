"""Keras's layers against those that `from_keras` makes of them, with masks and without: outputs and
every gradient, to 1e-5; and there and back bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first

keras = pytest.importorskip("keras")

from jaxrnn.interop.keras import (  # noqa: E402  it needs keras
    Reversed,
    TwoBiases,
    from_keras,
    load_keras,
    to_keras,
)
from jaxrnn.interop.keras.settings import OF_DENSE  # noqa: E402

L = keras.layers
T, B, F, H = 5, 3, 3, 4
ALL = {"return_sequences": True}
LENGTHS = np.array([T, 2, 4])


def both(cell, merge="concat"):
    return L.Bidirectional(cell, merge_mode=merge)


def deep():
    cells = L.RNN([L.LSTMCell(2), L.SimpleRNNCell(3, "relu"), L.GRUCell(2)], **ALL)
    return keras.Sequential([both(cells), L.LayerNormalization(), L.TimeDistributed(L.Dense(2))])


def turned():
    """Two that go backwards: what is between them runs against time, the rest along it."""
    back = ALL | {"go_backwards": True}
    parts = [L.LSTM(H, **back), both(L.GRU(2, **ALL)), L.SimpleRNN(H, **back), L.LSTM(2, **ALL)]
    return keras.Sequential([*parts, L.Dropout(0.5), L.Dense(2, "softmax")])


CASES = {
    "gru both": lambda: both(L.GRU(H, **ALL)),
    "deep": deep,
    "lstm": lambda: L.LSTM(H, **ALL),
    "gru, reset before": lambda: L.GRU(H, reset_after=False, **ALL),
    "rnn": lambda: L.SimpleRNN(H, activation="gelu", **ALL),
    "rnn backwards": lambda: L.SimpleRNN(H, go_backwards=True, **ALL),
    "sum": lambda: both(L.LSTM(H, **ALL), "sum"),
    "mul": lambda: both(L.SimpleRNN(H, **ALL), "mul"),
    "ave": lambda: both(L.GRU(H, reset_after=False, **ALL), "ave"),
    "pair": lambda: both(L.GRU(H, **ALL), None),
    "both turned": lambda: L.Bidirectional(
        L.GRU(H, go_backwards=True, **ALL), backward_layer=L.LSTM(2, **ALL)
    ),
    "turned twice": turned,
    "last": lambda: keras.Sequential([both(L.LSTM(H)), L.Dense(2, "relu"), L.Dense(1)]),
    "last of gru": lambda: keras.Sequential([L.GRU(H, **ALL), L.GRU(H), L.Dense(2)]),
}
BACKWARDS = ("rnn backwards", "both turned")


def drawn(module, shape=(B, T, F)):
    """The module with weights without a zero, so that every bias matters."""
    module.build(shape)
    rng = np.random.default_rng(0)
    module.set_weights([rng.normal(size=w.shape) / 2 for w in module.get_weights()])
    return module


def close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", first(1, CASES))
def test_outputs_and_gradients(name):
    module = drawn(CASES[name]())
    layer, params = from_keras(module, biases="both")
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(T, B, F)), jnp.float32)
    answers = isinstance(layer, rnn.Pooled)
    weights = jnp.asarray(rng.normal(size=(T, B, 1)), jnp.float32)  # the same for each feature

    def looked_at(ys, mask):
        """A number of the outputs, and these: at valid steps, since Keras repeats others."""
        if answers:
            return (ys * weights[0]).sum(), ys
        ys = jax.tree.map(lambda y: jnp.where(mask[..., None], y, 0), ys)
        return sum((y * weights).sum() for y in jax.tree.leaves(ys)), ys

    def ours(params, xs, mask):
        if answers:
            return looked_at(layer.apply(params, xs, mask=mask), mask)
        return looked_at(rnn.unroll(layer, params, xs, mask=mask)[1], mask)

    def theirs(trained, xs, mask):
        xs, times = jnp.swapaxes(xs, 0, 1), jnp.swapaxes(mask, 0, 1)
        ys, _ = module.stateless_call(trained, others, xs, mask=times)
        if not answers:
            ys = jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), ys)
            ys = jax.tree.map(lambda y: y[::-1], ys) if name in BACKWARDS else ys
        return looked_at(ys, mask)

    others = [v.value for v in module.non_trainable_variables]
    trained = [v.value for v in module.trainable_variables]
    run, run_theirs = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True)) for f in (ours, theirs)
    )
    # Keras turns what goes backwards around, but not the mask: with one, layers on top differ.
    for lengths in (np.full(B, T), LENGTHS)[: 1 if name == "turned twice" else 2]:
        mask = rnn.lengths_to_mask(jnp.asarray(lengths), T)
        (_, ys), (grads, of_xs) = run(params, xs, mask)
        with jax.numpy_dtype_promotion("standard"):
            (_, want), (want_grads, want_xs) = run_theirs(trained, xs, mask)
        close(ys, want)
        close(of_xs, want_xs)
        kept = module.get_weights()
        module.set_weights(want_grads)
        close(grads, from_keras(module, biases="both")[1])
        module.set_weights(kept)


NETS = {
    "tokens": rnn.Pooled(
        rnn.Stack((rnn.Embed(5, F), rnn.Bidirectional(rnn.LSTM(2)))),
        rnn.Stack((rnn.Dropout(0.25), rnn.Dense(1, "sigmoid"))),
    ),
    "directions": rnn.Stack(
        (
            Reversed(rnn.LSTM(2)),
            rnn.GRU(2, reset_after=False),
            rnn.LayerNorm(1e-3),
            Reversed(
                rnn.Bidirectional(rnn.Stack((rnn.LSTM(2), rnn.Elman(3, "relu"))), merge="sum")
            ),
            rnn.Bidirectional(rnn.GRU(2), rnn.Elman(2), merge="mean"),
        )
    ),
    "dropped": rnn.Stack(
        (
            rnn.Dropout(0.5, per="sequence"),
            rnn.Stack((rnn.Dropout(0.125, "sequence"), rnn.RecurrentDropout(rnn.GRU(2), 0.25))),
            rnn.Bidirectional(rnn.Stack((rnn.Dropout(0.125, "sequence"), rnn.LSTM(2)))),
            rnn.Stack((rnn.Stack((Reversed(rnn.LSTM(2)), rnn.Dense(2))), rnn.Elman(2))),
        )
    ),
    "one cell": rnn.GRU(H),
    "two biases": TwoBiases(rnn.GRU(H)),
}


def made(net, seed=0):
    """Params without a zero among them."""
    rng = np.random.default_rng(seed)
    x = rnn.TOKEN if isinstance(net, rnn.Pooled) else F
    spec = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), spec)


@pytest.mark.parametrize("name", first(1, NETS))
def test_there_and_back_bit_for_bit(name):
    net, params = NETS[name], made(NETS[name])
    biases = "both" if name == "two biases" else "sum"
    again, same = from_keras(to_keras(net, params), biases=biases)
    assert again == net
    equal(same, params)


@pytest.mark.parametrize("dtype", first(1, ["bfloat16", "float16"]))
def test_dtypes_there_and_back(dtype):
    net = rnn.Stack((rnn.GRU(2), rnn.Dense(2)))
    params = jax.tree.map(lambda a: a.astype(dtype), made(net))
    equal(from_keras(to_keras(net, params))[1], params)


@pytest.mark.slow
def test_what_is_exported_computes_the_same():
    net = NETS["directions"]
    params, xs = made(net), np.random.default_rng(1).normal(size=(B, T, F)).astype(np.float32)
    ys = rnn.unroll(net, params, jnp.swapaxes(xs, 0, 1))[1]
    close(np.swapaxes(to_keras(net, params)(xs), 0, 1), ys)


@pytest.mark.slow
def test_a_layer_without_biases():
    module = drawn(both(L.GRU(H, use_bias=False, **ALL)))
    layer, params = from_keras(module)
    xs = np.random.default_rng(1).normal(size=(B, T, F)).astype(np.float32)
    ys = rnn.unroll(layer, params, jnp.swapaxes(xs, 0, 1))[1]
    close(ys, np.swapaxes(module(xs), 0, 1))


@pytest.mark.slow
def test_cells_alone():
    for kind, cell in (("LSTM", rnn.LSTM(H)), ("GRU", rnn.GRU(H)), ("SimpleRNN", rnn.Elman(H))):
        module = drawn(getattr(L, f"{kind}Cell")(H), (B, F))
        assert from_keras(module)[0] == cell


def test_activations_are_the_same_functions():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    for name, ours in OF_DENSE.items():
        ours = getattr(jax.nn, ours) if isinstance(ours, str) else ours
        want = getattr(keras.activations, name)(keras.ops.convert_to_tensor(x))
        np.testing.assert_allclose(ours(jnp.asarray(x)), want, rtol=1e-5, atol=1e-6, err_msg=name)


REFUSED = {
    "recurrent_activation='hard_sigmoid'": lambda: L.LSTM(H, recurrent_activation="hard_sigmoid"),
    "activation='relu'": lambda: L.GRU(H, activation="relu"),
    "stateful=True": lambda: L.LSTM(H, stateful=True),
    "activation='exponential'": lambda: L.SimpleRNN(H, activation="exponential"),
    "Masking": lambda: keras.Sequential([L.Masking(), L.LSTM(H)]),
    "RepeatVector": lambda: keras.Sequential([L.LSTM(H), L.RepeatVector(3), L.LSTM(H)]),
    "the last step": lambda: keras.Sequential([L.LSTM(H, go_backwards=True), L.Dense(2)]),
    "axis=[1]": lambda: L.LayerNormalization(axis=[1]),
    "not built": lambda: L.LSTM(H),
    "Functional": lambda: keras.Model(x := keras.Input((T, F)), L.LSTM(H)(x)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_ours_is_refused_by_name(words):
    with pytest.raises(ValueError, match=r"from_keras: got .*; need ") as caught:
        from_keras(REFUSED[words]())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    [
        rnn.PeepholeLSTM(H),
        rnn.LSTM(H, projection=2),
        rnn.Elman(H, "gelu"),
        TwoBiases(rnn.LSTM(H)),
        rnn.Pooled(rnn.GRU(H), rnn.Dense(2), "mean"),
        rnn.Pooled(rnn.Stack((rnn.GRU(H), rnn.Dense(3))), rnn.Dense(2)),
        rnn.RecurrentDropout(rnn.GRU(H), 0.5, per="step"),
        rnn.Stack((rnn.Residual(rnn.LSTM(H)),)),
    ],
    ids=repr,
)
def test_what_keras_lacks_is_refused(layer):
    with pytest.raises(ValueError, match="need "):
        to_keras(layer, None)


@pytest.mark.parametrize("name", first(1, ["tokens", "directions", "dropped"]))
def test_files_that_keras_writes_and_reads(name, tmp_path):
    net, params = NETS[name], made(NETS[name])
    module, path = to_keras(net, params), tmp_path / "net.keras"
    weights, x = tmp_path / "net.weights.h5", rnn.TOKEN if name == "tokens" else F
    module.compile("adam", "mse")  # so that an optimizer is in the file
    module.save(path)
    module.save_weights(weights)
    for got in (load_keras(path), load_keras(path, net), load_keras(weights, net, x)):
        assert got[0] == net
        equal(got[1], params)
    equal(load_keras(weights, module)[1], params)
    again = keras.saving.load_model(path)
    equal(from_keras(again)[1], params)
