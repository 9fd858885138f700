"""Losses, steps, and the data they are fed."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.equal import same
from jaxrnn import data, training
from jaxrnn.training import Batch, MaskedMean, cross_entropy, mse
from support import corpus

NET = rnn.Stack((rnn.Embed(7, 3), rnn.LSTM(4), rnn.Dropout(0.2), rnn.Dense(7)))
PARAMS = NET.init(jax.random.key(0), rnn.TOKEN)
TOKENS = np.random.default_rng(0).integers(0, 7, 400).astype(np.int32)
SEGMENTS = data.Segments(TOKENS, batch=2, length=6)
TX = training.optimizer(optax.adamw(3e-2))
STEP = training.truncated_bptt_step(NET, cross_entropy, TX)
START = training.TrainState.create(NET, PARAMS, TX, jax.random.key(1), (2,))


def close(a, b, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), a, b)


# Losses


@pytest.mark.parametrize("kind", ["cross_entropy", "mse"])
def test_what_lies_under_a_false_mask_changes_nothing(kind):
    mask = jnp.array([[True, True], [True, False], [False, False]])
    ys = jax.random.normal(jax.random.key(0), (3, 2, 5))
    targets = (
        jnp.array([[0, 1], [2, 3], [4, 0]]) if kind == "cross_entropy" else jnp.ones((3, 2, 5))
    )
    foul = (
        jnp.where(mask, targets, 99)
        if kind == "cross_entropy"
        else jnp.where(mask[..., None], targets, jnp.nan)
    )
    loss = getattr(training, kind)

    def mean(ys, targets):
        return loss(ys, targets, mask).mean

    clean, gradient = jax.value_and_grad(mean)(ys, targets)
    value, got = jax.value_and_grad(mean)(jnp.where(mask[..., None], ys, jnp.nan), foul)
    same((value, got), (clean, gradient))
    assert (np.asarray(gradient)[~np.asarray(mask)] == 0).all()
    rows = [loss(y[None], t[None]).mean for y, t in zip(ys[mask], targets[mask], strict=True)]
    close(value, np.mean(rows))
    assert int(loss(ys, targets, mask).steps) == 3


def test_losses_against_numpy_and_pieces_add_up():
    logits, targets = (
        jax.random.normal(jax.random.key(0), (5, 2, 7)),
        jnp.arange(10).reshape(5, 2) % 7,
    )
    p = np.exp(np.float64(logits)) / np.exp(np.float64(logits)).sum(-1, keepdims=True)
    nats = -np.log(np.take_along_axis(p, np.asarray(targets)[..., None], -1))
    whole = cross_entropy(logits, targets)
    close(
        (whole.total, whole.mean, whole.bits), (nats.sum(), nats.mean(), nats.mean() / math.log(2))
    )
    parts = [cross_entropy(logits[a:b], targets[a:b]) for a, b in ((0, 2), (2, 5))]
    close(MaskedMean(*map(sum, zip(*parts, strict=True))), whole)
    close(mse(logits, logits + 2).mean, 4.0)
    assert float(cross_entropy(logits, targets, jnp.zeros((5, 2), bool)).mean) == 0.0
    assert cross_entropy(logits.astype(jnp.bfloat16), targets).total.dtype == jnp.float32


# Steps


def test_bptt_is_the_gradient_of_the_mean_loss():
    net = rnn.Stack((rnn.LSTM(4), rnn.Dense(2)))
    params = net.init(jax.random.key(0), rnn.features(3))
    xs, targets = jax.random.normal(jax.random.key(1), (9, 3, 3)), jnp.ones((9, 3, 2))
    mask = rnn.lengths_to_mask(jnp.array([9, 4, 0]), 9)

    def mean(params):
        ys = rnn.unroll(net, params, xs, mask=mask)[1]
        return (jnp.square(ys - targets).mean(-1) * mask.astype(jnp.float32)).sum() / 13

    value, grads = jax.value_and_grad(mean)(params)
    tx, norm = training.optimizer(optax.sgd(0.5), clip=0.01), optax.tree.norm(grads)
    assert norm > 0.02  # it is clipped, and the metric is what it was before
    for strategy in (rnn.Scan(), rnn.Chunked(4)):
        state, metrics = training.bptt_step(net, mse, tx, strategy=strategy)(
            training.TrainState.create(net, params, tx, jax.random.key(2)), Batch(xs, targets, mask)
        )
        close((metrics.loss, metrics.grad_norm), (value, norm))
        close(state.params, jax.tree.map(lambda p, g: p - 0.5 * g * 0.01 / norm, params, grads))
        assert (int(metrics.tokens), bool(metrics.skipped), int(state.step), state.carry) == (
            13,
            False,
            1,
            None,
        )


@pytest.mark.slow
def test_minimize_takes_any_objective_and_is_bptt_for_bptts_own():
    batch = Batch(TOKENS[:12].reshape(6, 2), TOKENS[1:13].reshape(6, 2))

    def objective(params, batch, key):
        return cross_entropy(rnn.unroll(NET, params, batch.xs, key=key)[1], batch.targets)

    state = training.TrainState.create(None, PARAMS, TX, jax.random.key(1))
    for _ in range(2):
        (got, metrics), (want, right) = (
            training.make_step(objective, TX)(state, batch),
            training.bptt_step(NET, cross_entropy, TX)(state, batch),
        )
        close(
            (got.params, got.opt_state, metrics.loss, metrics.grad_norm),
            (want.params, want.opt_state, right.loss, right.grad_norm),
        )
        assert int(metrics.tokens) == 12
        state = got
    poisoned = jax.tree.map(lambda p: p * jnp.nan, PARAMS)
    assert bool(
        training.make_step(objective, TX)(state._replace(params=poisoned), batch)[1].skipped
    )
    with pytest.raises(
        ValueError, match=r"make_step: got a TrainState with carry .* need carry=None"
    ):
        training.make_step(objective, TX)(START, batch)


def test_the_learning_rate_rises_and_falls():
    rate = training.warmup_cosine(0.1, 1000)
    close([rate(0), rate(50), rate(100), rate(1000)], [0.0, 0.05, 0.1, 0.002])
    assert float(training.warmup_cosine(0.1, 1)(1)) < 0.1 + 1e-6


@pytest.mark.slow
def test_a_network_that_looks_ahead_is_trained_too():
    net = rnn.Stack((rnn.Bidirectional(rnn.LSTM(2), rnn.LSTM(2)), rnn.Dense(2)))
    params = net.init(jax.random.key(0), rnn.features(3))
    xs, tx = jax.random.normal(jax.random.key(1), (5, 2, 3)), training.optimizer(1e-2)
    _, metrics = training.bptt_step(net, mse, tx)(
        training.TrainState.create(net, params, tx, jax.random.key(0)),
        Batch(xs, jnp.ones((5, 2, 2))),
    )
    close(metrics.loss, jnp.square(rnn.unroll(net, params, xs)[1] - 1).mean())


def test_truncated_bptt_is_the_gradient_cut_by_hand():
    net = rnn.Stack((rnn.Embed(7, 3), rnn.LSTM(4), rnn.Dense(7)))
    params = net.init(jax.random.key(0), rnn.TOKEN)
    tx = training.optimizer(optax.sgd(0.3), clip=None)
    state = training.TrainState.create(net, params, tx, jax.random.key(1), (2,))
    step = training.truncated_bptt_step(net, cross_entropy, tx)
    for n in range(3):
        state, metrics = step(state, SEGMENTS(n))
    assert step.__wrapped__._cache_size() == 1

    def cut(params, carry, xs, targets):
        carry, logits = rnn.unroll(net, params, xs, state=jax.lax.stop_gradient(carry))
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean(), carry

    by_hand, carry, stride = params, net.initial_state(params, (2,)), 399 // 2
    for n in range(3):
        cuts = np.stack([TOKENS[b * stride + 6 * n : b * stride + 6 * n + 7] for b in range(2)], 1)
        (value, carry), grads = jax.value_and_grad(cut, has_aux=True)(
            by_hand, carry, cuts[:-1], cuts[1:]
        )
        by_hand = jax.tree.map(lambda p, g: p - 0.3 * g, by_hand, grads)
    close((state.params, state.carry, metrics.loss), (by_hand, carry, value))
    # Were the state not carried, the third segment would have begun from zero.
    assert not np.allclose(
        cut(by_hand, net.initial_state(params, (2,)), cuts[:-1], cuts[1:])[0],
        cut(by_hand, carry, cuts[:-1], cuts[1:])[0],
    )


def test_no_gradient_crosses_into_the_segment_before():
    def second_loss(carry):
        return STEP(START._replace(carry=carry), SEGMENTS(1))[1].loss

    carry = jax.tree.map(lambda a: a + 0.5, START.carry)
    assert all((g == 0).all() for g in jax.tree.leaves(jax.grad(second_loss)(carry)))


def test_a_reset_begins_anew_within_a_segment():
    batch = SEGMENTS(1)
    fresh = STEP(START, batch)
    used = START._replace(carry=jax.tree.map(lambda a: a + 0.7, START.carry))
    assert not np.allclose(STEP(used, batch)[1].loss, fresh[1].loss)
    resets = np.zeros((6, 2), bool)
    resets[0] = True
    same(STEP(used, batch._replace(resets=resets)), fresh)


@pytest.mark.parametrize("fault", ["loss", "gradient", "carry", "update"])
def test_nothing_that_is_not_finite_gets_through(fault):
    net = rnn.Stack((rnn.LSTM(3), rnn.Dense(2)))
    params = net.init(jax.random.key(0), rnn.features(3))
    xs = jax.random.normal(jax.random.key(1), (4, 2, 3))
    scale = jnp.inf if fault == "update" else 0.1
    tx = training.optimizer(
        optax.chain(
            optax.trace(0.9), optax.scale_by_learning_rate(lambda n: jnp.where(n == 1, scale, 0.1))
        )
    )

    def loss(ys, targets, mask):
        total, foul = mse(ys, targets[0], mask).total, targets[1].any()
        factor = jnp.where(foul, jnp.nan if fault == "loss" else 1, 1)
        # sqrt's slope at 0 is infinite, its value is not.
        steep = jnp.sqrt(jnp.where(foul & (fault == "gradient"), total * 0, 1))
        return MaskedMean(total * factor + steep, jnp.int32(8))

    step = training.truncated_bptt_step(net, loss, tx)
    good = Batch(xs, (jnp.ones((4, 2, 2)), jnp.zeros((4, 2), bool)))
    before, _ = step(training.TrainState.create(net, params, tx, jax.random.key(2), (2,)), good)
    bad = good._replace(targets=(good.targets[0], jnp.ones((4, 2), bool)))
    if fault == "carry":
        before = before._replace(carry=jax.tree.map(lambda a: a.at[0].set(jnp.nan), before.carry))
        # Row 0 is not looked at: the loss is finite, its state is not.
        bad = bad._replace(mask=jnp.zeros((4, 2), bool).at[:, 1].set(True))
    after, metrics = step(before, bad)
    assert bool(metrics.skipped)
    assert int(after.skipped) == 1
    same(
        (after.params, after.opt_state, after.carry),
        (before.params, before.opt_state, before.carry),
    )
    assert int(after.step) == 2  # noise and data go on
    if fault in ("loss", "gradient"):
        again, metrics = step(after, good)
        assert not bool(metrics.skipped)
        assert int(again.skipped) == 1
        assert all(
            np.isfinite(leaf).all() for leaf in jax.tree.leaves((again.params, again.opt_state))
        )
        assert not np.array_equal(again.params[1]["w"], after.params[1]["w"])


def test_fixed_leaves_stay_bit_for_bit_under_weight_decay():
    net = rnn.Stack((rnn.EchoState(5), rnn.Dense(2)))
    params = net.init(jax.random.key(0), rnn.features(3))
    # -0.0 + 0.0 is 0.0: not the same bits.
    params[0]["fixed"] = jax.tree.map(
        lambda w: w.at[0].set(-0.0) if w.ndim else w, params[0]["fixed"]
    )
    tx = training.optimizer(optax.adamw(0.1, weight_decay=0.5))
    state, step = (
        training.TrainState.create(net, params, tx, jax.random.key(1)),
        training.bptt_step(net, mse, tx),
    )
    for n in range(3):
        state, _ = step(
            state, Batch(jax.random.normal(jax.random.key(n), (6, 2, 3)), jnp.ones((6, 2, 2)))
        )
    same(state.params[0]["fixed"], params[0]["fixed"])
    assert not np.allclose(state.params[1]["w"], params[1]["w"])
    bare = optax.adamw(0.1, weight_decay=0.5)  # in a step, whatever rule it is given
    state, _ = training.bptt_step(net, mse, bare)(
        training.TrainState.create(net, params, bare, jax.random.key(1)),
        Batch(jnp.ones((6, 2, 3)), jnp.ones((6, 2, 2))),
    )
    same(state.params[0]["fixed"], params[0]["fixed"])
    # Outside a step too: the optimizer alone gives them no update, even where they have a gradient.
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    assert all((u == 0).all() for u in jax.tree.leaves(updates[0]["fixed"]))


def test_noise_depends_on_key_and_step_alone():
    same(STEP(START, SEGMENTS(0)), STEP(START, SEGMENTS(0)))
    losses = {
        float(STEP(s, SEGMENTS(0))[1].loss)
        for s in (START, START._replace(step=jnp.int32(1)), START._replace(key=jax.random.key(9)))
    }
    assert len(losses) == 3


@pytest.mark.slow
def test_bfloat16_params_and_a_float32_loss():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    step = training.truncated_bptt_step(NET, cross_entropy, TX)
    state, metrics = step(
        training.TrainState.create(NET, params, TX, jax.random.key(1), (2,)), SEGMENTS(0)
    )
    assert all(p.dtype == jnp.bfloat16 for p in jax.tree.leaves(state.params))
    assert metrics.loss.dtype == jnp.float32
    assert not bool(metrics.skipped)


@pytest.mark.slow
def test_evaluate_does_not_depend_on_how_a_stream_is_cut():
    batch = data.stream(TOKENS)
    _, whole = training.evaluate(NET, cross_entropy, PARAMS, jax.tree.map(lambda a: a[:, 0], batch))
    assert int(whole.steps) == 399
    _, chunked = training.evaluate(NET, cross_entropy, PARAMS, batch, strategy=rnn.Chunked(64))
    first, rest = (jax.tree.map(lambda a, s=s: a[s], batch) for s in (slice(150), slice(150, None)))
    state, a = training.evaluate(NET, cross_entropy, PARAMS, first, strategy=rnn.Chunked(64))
    _, b = training.evaluate(NET, cross_entropy, PARAMS, rest, state, strategy=rnn.Chunked(64))
    close((chunked.total, a.total + b.total), (whole.total, whole.total))
    logits = rnn.unroll(NET, PARAMS, TOKENS[:-1])[1]
    close(
        whole.bits,
        optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS[1:]).mean() / math.log(2),
    )


def test_wrong_states_and_rules_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Stack.*carry None; need the recurrent state"):
        STEP(START._replace(carry=None), SEGMENTS(0))
    with pytest.raises(ValueError, match=r"Stack.*need carry=None"):
        training.bptt_step(NET, cross_entropy, TX)(START, SEGMENTS(0))
    with pytest.raises(TypeError, match="'adam'; need a learning rate"):
        training.optimizer("adam")


# Data


def test_segments_are_the_stream_and_follow_one_another():
    segments = data.Segments(np.arange(101), batch=3, length=4)
    assert segments.per_epoch == 8
    for n in range(8):
        batch = segments(n)
        same(batch.targets, batch.xs + 1)
        same(batch.xs, np.arange(4)[:, None] + 4 * n + 33 * np.arange(3))
        assert batch.resets.tolist() == [[n == 0] * 3] + [[False] * 3] * 3
        same(segments(n + 8), batch)


@pytest.mark.parametrize(
    ("tokens", "batch", "kind", "words"),
    [
        (np.ones(30), 2, TypeError, r"float64\[30\]; need an array of integer tokens"),
        ([1, 2, 3], 2, TypeError, "tokens as list"),
        (np.arange(12), 2, ValueError, r"at least batch \* length \+ 1 = 13"),
        (np.ones((30, 2), int), 2, ValueError, "one stream"),
        (np.arange(30), 0, ValueError, "batch=0; need a positive integer"),
    ],
)
def test_bad_streams_get_a_clear_error(tokens, batch, kind, words):
    with pytest.raises(kind, match=words):
        data.Segments(tokens, batch, 6)


def test_bytes_there_and_back_and_what_unknown_ones_cost():
    text = bytes(range(0, 256, 2))
    vocabulary = data.Bytes.of(text)
    tokens = vocabulary.encode(text + b"\x01\x03")
    assert vocabulary.size == 129
    assert vocabulary.decode(tokens) == text + b"??"
    assert vocabulary.unknown_bits(tokens) == 2 * 7
    every = data.Bytes.of(bytes(range(256)))
    assert every.unknown_bits(every.encode(bytes(range(256)))) == 0


def test_stream_predicts_every_token_once():
    for count, batch in ((10, 1), (11, 3), (2, 1), (8, 3)):
        got = data.stream(np.arange(1, count + 1), batch)
        mask = np.ones(got.xs.shape, bool) if got.mask is None else got.mask
        assert sorted(got.targets[mask].tolist()) == list(range(2, count + 1))
        assert (got.targets[mask] == got.xs[mask] + 1).all()


@pytest.mark.slow
def test_text_from_files_folders_and_pythons_own_source(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_bytes(b"\xff\x00one")
    (tmp_path / "b" / "c").write_bytes(b"two")
    (tmp_path / ".hidden").write_bytes(b"no")
    assert data.read_bytes(tmp_path) == b"\xff\x00onetwo"
    assert data.read_bytes(tmp_path / "a.txt", 3) == b"\xff\x00o"
    assert len(corpus.python_source(5000)) == 5000
    assert corpus.python_source(5000) == corpus.python_source(20000)[:5000]


def test_compressors_are_given_the_training_part():
    text = np.random.default_rng(0).integers(0, 256, 2000).astype(np.uint8).tobytes()
    known, new = corpus.compressors(text, text[:1000]), corpus.compressors(b"a" * 10, text)
    assert known["gzip"] < 1
    assert known["xz"] < 1
    assert all(value > 7 for value in new.values())
