"""Ragged rows in steps and scores: a padded batch is its rows, and a source is all of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from jaxrnn import data, metrics, training
from jaxrnn.training import Batch, MaskedMean, cross_entropy

NET = rnn.Stack((rnn.Embed(5, 3), rnn.Bidirectional(rnn.Elman(2)), rnn.Dense(4)))
PARAMS = NET.init(jax.random.key(0), rnn.TOKEN)
RANDOM = np.random.default_rng(0)
ROWS = [RANDOM.integers(0, 5, n).astype(np.int32) for n in (3, 7, 2, 7, 4)]
TAGS = [(row * 2 + 1) % 4 for row in ROWS]
SOURCE = data.Buckets((ROWS, TAGS), batch=2, buckets=2)
TX = optax.sgd(0.5)


def close(a, b):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), a, b)


def by_row(loss):
    """The sum of a loss over rows, one at a time and without padding."""
    logits = [rnn.unroll(NET, PARAMS, row)[1] for row in ROWS]
    return sum(loss(y, tags) for y, tags in zip(logits, TAGS, strict=True))


def test_a_step_over_padded_rows_is_one_over_the_masked_batch():
    state = training.TrainState.create(NET, PARAMS, TX, jax.random.key(1))
    step = training.bptt_step(NET, cross_entropy, TX)
    padded = SOURCE(0)
    xs, targets = padded.columns
    foul = padded._replace(columns=(xs, np.where(padded.masks[1], targets, 99)))
    got, metrics = step(state, foul)
    want, right = step(state, Batch(xs, targets, padded.masks[0]))
    close((got.params, metrics.loss), (want.params, right.loss))
    assert int(metrics.tokens) == padded.masks[0].sum()
    # Within a jit of one's own the values of the masks are not known.
    close(jax.jit(step)(state, padded)[0].params, want.params)


def test_fit_takes_buckets_as_they_are():
    net, tx = rnn.Stack((rnn.Embed(5, 8), rnn.Dense(4))), training.optimizer(0.1)
    params = net.init(jax.random.key(0), rnn.TOKEN)
    state = training.TrainState.create(net, params, tx, jax.random.key(1))
    step = training.bptt_step(net, cross_entropy, tx)
    state, _ = training.fit(step, state, SOURCE, 40, progress=False)
    assert step.__wrapped__._cache_size() == len(SOURCE.shapes) == 2
    before, after = (
        training.evaluate(net, metrics.accuracy, p, SOURCE)[1].mean for p in (params, state.params)
    )
    assert float(before) < 0.9 < float(after)


def test_the_score_of_a_source_is_that_of_its_rows():
    for loss in (cross_entropy, metrics.accuracy):
        state, whole = training.evaluate(NET, loss, PARAMS, SOURCE)
        assert state is None
        close(whole, by_row(loss))
        assert int(whole.steps) == sum(map(len, ROWS))
    one = SOURCE(0)
    state, part = training.evaluate(NET, cross_entropy, PARAMS, one)
    assert int(part.steps) == one.masks[0].sum()
    assert jax.tree.leaves(state)[0].shape[0] == 2


def test_a_score_sums_any_objective_and_compiles_once_a_shape():
    net = rnn.Pooled(rnn.Stack((rnn.Embed(5, 3), rnn.GRU(2))), rnn.Dense(3))
    params, labels = net.init(jax.random.key(0), rnn.TOKEN), np.array([0, 1, 2, 2, 1])
    source, traces = data.Buckets((ROWS, labels), batch=2, buckets=2), []

    def counted(ys, targets, rows):
        traces.append(1)
        return metrics.accuracy(ys, targets, rows)

    for _ in range(2):  # the objective is made anew, and is the same
        got = training.score(net.objective(counted), params, source)
    assert len(traces) == 2
    answers = net.predict(params, source)
    close(got, MaskedMean(np.float32((answers.argmax(-1) == labels).sum()), np.int32(5)))
    parts = [source(n) for n in range(source.per_epoch)]
    close(training.score(net.objective(cross_entropy), params, iter(parts)),
          training.score(net.objective(cross_entropy), params, source))  # fmt: skip

    def penalised(params, batch, key):
        assert key is None
        return MaskedMean(jnp.float32(batch["a"].sum()), jnp.int32(2))

    assert float(training.score(penalised, None, [{"a": jnp.ones(3)}] * 4).mean) == 1.5


@pytest.mark.parametrize("on", ["host", "device"])
def test_columns_of_other_lengths_are_seen_where_values_are_known(on):
    state = training.TrainState.create(NET, PARAMS, TX, jax.random.key(1))
    step = training.bptt_step(NET, cross_entropy, TX)
    # The longest of both columns are equally long.
    batch = data.Buckets((ROWS[:2], [TAGS[1], TAGS[1]]), batch=2)(0)
    assert batch.masks[0].shape == batch.masks[1].shape
    batch = jax.device_put(batch) if on == "device" else batch
    with pytest.raises(ValueError, match="inputs and targets of other lengths"):
        step(state, batch)
    with pytest.raises(ValueError, match="inputs and targets of other lengths"):
        training.evaluate(NET, cross_entropy, PARAMS, batch)
