"""Streams cut into segments: the last, short one too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn import data, training


@pytest.mark.parametrize(
    ("count", "batch", "length"), [(101, 3, 4), (97, 3, 4), (20, 4, 7), (3, 2, 5), (2, 1, 1)]
)
def test_with_the_last_one_kept_every_token_is_a_target_once_an_epoch(count, batch, length):
    tokens = np.arange(count, dtype=np.uint8) + 1
    segments = data.Segments(tokens, batch, length, keep_last=True)
    targets, rows = [], [[] for _ in range(batch)]
    for n in range(segments.per_epoch):
        part = segments(n)
        assert part.xs.shape == part.targets.shape == part.mask.shape == (length, batch)
        assert part.xs.dtype == part.targets.dtype == np.uint8
        assert (part.targets[part.mask] == part.xs[part.mask] + 1).all()
        assert not part.xs[~part.mask].any()
        assert not part.targets[~part.mask].any()
        assert part.resets.tolist() == [[n == 0] * batch] + [[False] * batch] * (length - 1)
        targets += part.targets[part.mask].tolist()
        for b, row in enumerate(rows):
            row += part.xs[part.mask[:, b], b].tolist()
    assert sorted(targets) == list(range(2, count + 1))
    for row in rows:  # each stream is read in order, whole
        assert row == list(range(row[0], row[0] + len(row))) if row else count < 2 * batch
    jax.tree.map(np.testing.assert_array_equal, segments(segments.per_epoch), segments(0))


def test_whole_segments_are_the_same_with_the_last_one_kept():
    tokens = np.arange(97)  # 96 = 3 * 32
    cut, kept = (data.Segments(tokens, 3, 5, keep_last=last) for last in (False, True))
    assert (cut.per_epoch, kept.per_epoch) == (6, 7)
    for n in range(6):
        assert kept(n).mask.all()
        jax.tree.map(np.testing.assert_array_equal, kept(n)._replace(mask=None), cut(n))


def test_the_state_after_an_epoch_is_that_of_the_streams_and_one_shape_is_compiled():
    net = rnn.Stack((rnn.Embed(40, 3), rnn.GRU(4), rnn.Dense(40)))
    params, traces = net.init(jax.random.key(0), rnn.TOKEN), []
    tokens = np.random.default_rng(0).integers(0, 40, 24)
    segments = data.Segments(tokens, 2, 5, keep_last=True)

    @jax.jit
    def run(state, part):
        traces.append(part)
        state, logits = rnn.unroll(
            net, params, part.xs, state=state, mask=part.mask, resets=part.resets
        )
        return state, training.cross_entropy(logits, part.targets, part.mask)

    state, losses = jax.tree.map(lambda a: a + 9, net.initial_state(params, (2,))), []
    for n in range(segments.per_epoch):
        state, loss = run(state, segments(n))
        losses.append(loss)
    whole, loss = training.evaluate(net, training.cross_entropy, params, data.stream(tokens, 2))
    assert int(sum(losses).steps) == int(loss.steps) == 23
    np.testing.assert_allclose(sum(losses).total, loss.total, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state, whole)
    assert len(traces) == 1


def test_numbers_of_numpy_do_as_sizes_and_steps():
    want = data.Segments(np.arange(21), 2, 5)(1)
    got = data.Segments(np.arange(21), np.int64(2), np.uint8(5))(jnp.int32(1))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert data.stream(np.arange(6), np.int64(2)).xs.shape == (3, 2)
