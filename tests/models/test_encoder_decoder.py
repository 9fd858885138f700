"""An encoder with a decoder: teacher forcing is a loop over the step, padding changes nothing, and
scheduled sampling is both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import decoding, training
from jaxrnn.models import EncoderDecoder, Seq2SeqBatch
from test_errors import refused

V, H, S, T, B = 6, 3, 4, 5, 3
ENCODER = rnn.Stack((rnn.Embed(5, 3), rnn.Bidirectional(rnn.LSTM(H))))
DECODER = rnn.Stack((rnn.Embed(V, 3), rnn.GRU(H), rnn.Attention(H, 2 * H), rnn.Dense(V)))
NETS = {
    "dense": EncoderDecoder(ENCODER, DECODER),
    "copy": EncoderDecoder(
        rnn.Stack((rnn.Embed(5, 3), rnn.LSTM(H))),
        rnn.Stack((rnn.Embed(V, 3), rnn.LSTM(H), rnn.Dense(V))),
        "copy",
    ),
    "none": EncoderDecoder(
        ENCODER,
        rnn.Stack((rnn.Embed(V, 3), rnn.AttentionCell(rnn.LSTM(H), 2 * H), rnn.Dense(V))),
        "none",
    ),
}
SOURCE_MASK = np.arange(S)[:, None] < np.array([4, 2, 0])
MASK = np.arange(T)[:, None] < np.array([3, 5, 1])
DRAW = np.random.default_rng(0)
SOURCE, XS = jnp.asarray(DRAW.integers(0, 5, (S, B))), jnp.asarray(DRAW.integers(0, V, (T, B)))
TARGETS = jnp.asarray(DRAW.integers(0, V, (T, B)))


def params_of(net):
    """Large enough that what is drawn depends on what was read."""
    return jax.tree.map(lambda a: 3 * a, net.init(jax.random.key(0), rnn.TOKEN, rnn.TOKEN))


@pytest.mark.parametrize("name", first(1, NETS))
def test_teacher_forcing_is_a_loop_over_the_step(name):
    net = NETS[name]

    xs = XS[:3]

    def whole(params):
        return net.apply(params, SOURCE, xs, source_mask=SOURCE_MASK)

    def loop(params):
        step, state = net.start(params, SOURCE, SOURCE_MASK)
        logits = []
        for x in xs:
            state, y = step(state, x)
            logits.append(y)
        return jnp.stack(logits)

    def seen(f):
        def total(params):
            ys = f(params)
            return jnp.sum(jnp.sin(ys)), ys

        return jax.jit(jax.grad(total, has_aux=True))(params_of(net))

    (grads, ys), truth = seen(whole), seen(loop)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), (grads, ys), truth)
    moved = [bool(jnp.any(g != 0)) for g in jax.tree.leaves(grads["encoder"])]
    assert all(moved), "every weight of the encoder is told what the decoder got wrong"


@pytest.mark.parametrize("name", first(1, ["dense", "none"]))
def test_padding_changes_nothing(name):
    net, params = NETS[name], params_of(NETS[name])

    @jax.jit
    def seen(params, source, xs, targets):
        batch = Seq2SeqBatch(source, xs, targets, SOURCE_MASK, MASK)
        return jax.value_and_grad(
            lambda p: net.objective(training.cross_entropy)(p, batch, jax.random.key(1)).mean
        )(params)

    clean = seen(params, SOURCE, XS, TARGETS)
    dirty = seen(
        params,
        jnp.where(SOURCE_MASK, SOURCE, -7),
        jnp.where(MASK, XS, 99),
        jnp.where(MASK, TARGETS, 99),
    )
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(clean))
    alone = net.apply(params, SOURCE[:2, 1:2], XS[:, 1:2])
    np.testing.assert_allclose(
        net.apply(params, SOURCE, XS, source_mask=SOURCE_MASK)[:, 1:2], alone, atol=1e-5
    )


def test_beams_share_the_memory():
    net, params = NETS["dense"], params_of(NETS["dense"])
    step, state = net.start(params, SOURCE, SOURCE_MASK)
    wide = jax.tree.map(lambda a: jnp.repeat(a[:, None], 2, 1), state)
    tokens = jnp.stack([XS[0], XS[1]], 1)
    _, got = step(wide, tokens)
    for k in range(2):
        np.testing.assert_allclose(got[:, k], step(state, tokens[:, k])[1], atol=1e-5)


@pytest.mark.slow
def test_rows_without_a_batch_axis_and_by_vmap():
    net, params = NETS["dense"], params_of(NETS["dense"])
    want = net.apply(params, SOURCE, XS)
    np.testing.assert_allclose(net.apply(params, SOURCE[:, 0], XS[:, 0]), want[:, 0], atol=1e-5)
    np.testing.assert_allclose(
        jax.vmap(lambda s, x: net.apply(params, s, x), 1, 1)(SOURCE, XS), want, atol=1e-5
    )


def test_it_is_configuration():
    net = NETS["dense"]
    twin = EncoderDecoder(ENCODER, DECODER)
    assert (hash(net), net) == (hash(twin), twin)
    assert not jax.tree.leaves(net)
    params = params_of(net)
    logits = jax.jit(EncoderDecoder.apply)(net, params, SOURCE, XS)
    np.testing.assert_allclose(
        logits, net.apply(params, SOURCE, XS, strategy=rnn.Chunked(2)), atol=1e-5
    )
    (weights,) = net.attention(params, SOURCE, XS, source_mask=SOURCE_MASK)
    assert weights.shape == (T, B, S)
    np.testing.assert_allclose(weights.sum(-1), np.broadcast_to([1, 1, 0], (T, B)), atol=1e-5)
    assert not NETS["copy"].attention(params_of(NETS["copy"]), SOURCE, XS)


def test_the_bridges():
    net, params = NETS["copy"], params_of(NETS["copy"])
    _, state = net.start(params, SOURCE)
    final, _ = rnn.unroll(net.encoder, params["encoder"], SOURCE)
    np.testing.assert_array_equal(state[1].c, final[1].c)
    net, params = NETS["dense"], params_of(NETS["dense"])
    _, state = net.start(params, SOURCE)
    final, _ = rnn.unroll(net.encoder, params["encoder"], SOURCE)
    (bridge,), known = params["bridge"], np.concatenate(jax.tree.leaves(final), -1)
    np.testing.assert_allclose(state[1], np.tanh(known @ bridge["w"] + bridge["b"]), atol=1e-5)


def sampled(rate, key=jax.random.key(5), **rest):  # noqa: B008
    net, params = NETS["dense"], params_of(NETS["dense"])
    decoder, state = net.begin(params, SOURCE, SOURCE_MASK)
    return training.scheduled_sampling(net.decoder, decoder, XS, rate, key, state=state, **rest)


def test_scheduled_sampling():
    np.testing.assert_array_equal(sampled(0.0), XS)
    step, state = NETS["dense"].start(params_of(NETS["dense"]), SOURCE, SOURCE_MASK)
    _, want = decoding.sample(step, state, XS[:1], T - 1, jax.random.key(5))
    np.testing.assert_array_equal(sampled(1.0)[0], XS[0])
    np.testing.assert_array_equal(sampled(1.0)[1:], want)
    jitted = jax.jit(jax.vmap(sampled))
    np.testing.assert_array_equal(
        np.where(MASK, -1, sampled(1.0, mask=jnp.asarray(MASK))), np.where(MASK, -1, XS)
    )
    keys, rate = jax.random.split(jax.random.key(6), 300), jnp.ones(300)
    share, wrong = np.mean(jitted(0.4 * rate, keys) != XS), np.mean(jitted(rate, keys) != XS)
    assert abs(share - 0.4 * wrong) < 0.03


def test_what_is_sampled_is_what_unroll_would_say():
    """With the same noise, step by step, though the tokens are drawn one at a time."""
    net = rnn.Stack((rnn.Embed(V, 3), rnn.Dropout(0.5), rnn.GRU(H), rnn.Dense(V)))
    params = jax.tree.map(lambda a: 5 * a, net.init(jax.random.key(0), rnn.TOKEN))
    key, noise = jax.random.key(1), jax.random.key(2)
    xs = training.scheduled_sampling(net, params, XS, 1.0, key, noise=noise)
    _, logits = rnn.unroll(net, params, xs, key=noise)
    drawn = jnp.stack(
        [jax.random.categorical(jax.random.fold_in(key, t), logits[t]) for t in range(T - 1)]
    )
    np.testing.assert_array_equal(xs[1:], drawn)


@pytest.mark.slow
def test_training_on_what_was_sampled():
    """At rate 0 loss and gradient are those of teacher forcing; above, those of the tokens that
    were fed."""
    net, params = NETS["dense"], params_of(NETS["dense"])
    objective = net.objective(training.cross_entropy)

    @jax.jit
    def seen(rate):
        batch = Seq2SeqBatch(SOURCE, XS, TARGETS, SOURCE_MASK, MASK, rate)
        return jax.value_and_grad(lambda p: objective(p, batch, jax.random.key(3)).mean)(params)

    @jax.jit
    def forced(xs):
        def loss(params):
            return training.cross_entropy(
                net.apply(params, SOURCE, xs, source_mask=SOURCE_MASK, mask=MASK), TARGETS, MASK
            ).mean

        return jax.value_and_grad(loss)(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), seen(jnp.float32(0)), forced(XS)
    )
    xs = sampled(1.0, jax.random.fold_in(jax.random.key(3), 2), mask=jnp.asarray(MASK))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), seen(jnp.float32(1)), forced(xs)
    )


@pytest.mark.slow
def test_it_learns_to_reverse():
    """Six letters written backwards, which takes attention or a good memory."""
    decoder = rnn.Stack((rnn.Embed(12, 16), rnn.LSTM(32), rnn.Attention(32, 64), rnn.Dense(12)))
    net = EncoderDecoder(rnn.Stack((rnn.Embed(12, 16), rnn.Bidirectional(rnn.LSTM(32)))), decoder)

    def batches(step):
        source = np.random.default_rng(step).integers(2, 12, (6, 32))
        written = np.concatenate([np.zeros((1, 32), int), source[::-1], np.ones((1, 32), int)])
        return Seq2SeqBatch.of(jnp.asarray(source), jnp.asarray(written))

    tx = training.optimizer(1e-2)
    state = training.TrainState.create(
        None, net.init(jax.random.key(0), rnn.TOKEN, rnn.TOKEN), tx, jax.random.key(1)
    )
    state, _ = training.fit(
        training.make_step(net.objective(training.cross_entropy), tx),
        state,
        batches,
        300,
        progress=False,
    )
    held = batches(10**6)
    step, start = net.start(state.params, held.source)
    _, tokens = decoding.greedy(step, start, held.xs[:1], 7)
    assert (tokens == held.targets).all(0).mean() > 0.9


def test_errors():
    net, params = NETS["dense"], params_of(NETS["dense"])
    with refused(ValueError, "encoder", "net.init", cell=net):
        net.apply(params["decoder"], SOURCE, XS)
    with refused(ValueError, "LSTMState", "dense", cell=net):
        EncoderDecoder(ENCODER, rnn.LSTM(H), "copy").init(
            jax.random.key(0), rnn.TOKEN, rnn.features(3)
        )
    with refused(ValueError, "bridge='sparse'", cell=None):
        EncoderDecoder(ENCODER, DECODER, "sparse")
    with refused(ValueError, "looks ahead", cell=None):
        EncoderDecoder(ENCODER, ENCODER)
    with refused(TypeError, "as a cell", cell=None):
        EncoderDecoder(ENCODER, "LSTM")
    with refused(ValueError, "without a state", cell=net):
        EncoderDecoder(rnn.Dense(3), DECODER).init(jax.random.key(0), rnn.features(3), rnn.TOKEN)
    with refused(TypeError, "one array", cell=net):
        pair = EncoderDecoder(rnn.Bidirectional(rnn.LSTM(H), merge="none"), DECODER)
        pair.apply(
            pair.init(jax.random.key(0), rnn.features(3), rnn.TOKEN), jnp.ones((S, B, 3)), XS
        )
    with refused(TypeError, "integer tokens", cell=None):
        training.scheduled_sampling(DECODER, params, jnp.ones((S, B)), 0.1, jax.random.key(0))
