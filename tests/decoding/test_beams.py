"""Beam search against every sequence there is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.decoding import beam, beams, greedy

V, N, END, BATCH = 3, 4, 0, (2, 2)
NET = rnn.Stack((rnn.Embed(V, 3), rnn.GRU(4), rnn.Dense(V)))
FIRST = jnp.array([[1, 2], [0, 1]])


def model(seed, scale=4.0):
    params = jax.tree.map(lambda p: scale * p, NET.init(jax.random.key(seed), rnn.TOKEN))
    state = jax.tree.map(
        lambda h: jax.random.normal(jax.random.key(seed + 1), h.shape),
        NET.initial_state(params, BATCH),
    )
    return jax.tree_util.Partial(rnn.advance, NET, params), state, params


@jax.jit
def log_probability(params, state, first, tokens):
    """Of `tokens [N, ...]` one by one, by teacher forcing."""
    _, logits = rnn.unroll(NET, params, jnp.concatenate([first[None], tokens[:-1]]), state=state)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)[..., 0]


def every_sequence(params, state, first, penalty, steps=N):
    """All sequences that end, and all that have not ended by N: (score, tokens), best first."""
    found = []
    for tokens in itertools.product(range(V), repeat=steps):
        length = tokens.index(END) + 1 if END in tokens else steps
        if tokens[length:] == (END,) * (steps - length):
            found.append((tokens, length))
    columns = jnp.array([t for t, _ in found]).T
    many = jax.tree.map(lambda h: jnp.broadcast_to(h, (len(found), *h.shape)), state)
    logp = np.asarray(
        log_probability(params, many, jnp.broadcast_to(first, (len(found),)), columns)
    )
    scores = [logp[:n, i].sum() / ((5 + n) / 6) ** penalty for i, (_, n) in enumerate(found)]
    order = np.argsort(-np.array(scores), kind="stable")
    return [(scores[i], *found[i]) for i in order]


@pytest.mark.parametrize("penalty", first(2, [0.6, -1.0, 0.0, 2.0]))
@pytest.mark.parametrize("seed", first(1, [0, 10, 20]))
def test_with_enough_beams_it_is_the_exact_maximum(seed, penalty):
    step, state, params = model(seed)
    got = beam(step, state, FIRST, N, beams=V**N, end=END, penalty=penalty)
    lengths = set()
    for row in np.ndindex(BATCH):
        want = every_sequence(
            params, jax.tree.map(lambda h, row=row: h[row], state), FIRST[row], penalty
        )
        count = len(want)
        scores = np.asarray(got.scores[row])
        np.testing.assert_allclose(scores[:count], [w[0] for w in want], rtol=1e-4, atol=1e-5)
        assert np.isneginf(scores[count:]).all()
        assert (np.asarray(got.lengths[row])[count:] == 0).all()
        clear = [
            i
            for i in range(8)
            if all(abs(want[i][0] - want[j][0]) > 1e-4 for j in (i - 1, i + 1) if j >= 0)
        ]
        assert 0 in clear
        for i in clear:
            assert tuple(np.asarray(got.tokens[(slice(None), *row, i)])) == want[i][1]
            assert int(got.lengths[(*row, i)]) == want[i][2]
            lengths.add(want[i][2])
    assert len(lengths) > 1


def by_hand(step, state, first, length, width, end, penalty):
    """The same search for one row in plain Python, without an early stop."""
    lp = lambda n: ((5 + n) / 6) ** penalty  # noqa: E731
    living, finished = [(0.0, (), state)], []
    for n in range(length):
        extended = []
        for logp, tokens, before in living:
            after, logits = step(before, tokens[-1] if tokens else first)
            extended += [
                (logp + float(x), (*tokens, jnp.int32(v)), after)
                for v, x in enumerate(jax.nn.log_softmax(logits))
            ]
        extended.sort(key=lambda e: -e[0])
        finished += [
            (logp / lp(n + 1), tokens) for logp, tokens, _ in extended[:width] if tokens[-1] == end
        ]
        living = [e for e in extended if e[1][-1] != end][:width]
    finished += [(logp / lp(length), tokens) for logp, tokens, _ in living]
    return sorted(finished, key=lambda f: -f[0])[:width]


@pytest.mark.parametrize(("width", "penalty"), [(1, 0.6), (2, 0.0), (3, 1.0)])
def test_few_beams_follow_the_search_written_out_and_its_early_stop_loses_nothing(width, penalty):
    step, state, params = model(30, 2.0)
    step = jax.tree_util.Partial(jax.jit(lambda p, s, t: rnn.advance(NET, p, s, t)), params)
    got = beam(step, state, FIRST, 8, beams=width, end=END, penalty=penalty)
    for row in np.ndindex(BATCH):
        want = by_hand(
            step, jax.tree.map(lambda h, row=row: h[row], state), FIRST[row], 8, width, END, penalty
        )
        np.testing.assert_allclose(got.scores[row], [w[0] for w in want], rtol=1e-4)
        for k, (_, tokens) in enumerate(want):
            assert tuple(np.asarray(got.tokens[(slice(len(tokens)), *row, k)])) == tuple(
                map(int, tokens)
            )
            assert int(got.lengths[(*row, k)]) == len(tokens)
            assert (np.asarray(got.tokens[(slice(len(tokens), None), *row, k)]) == END).all()


def test_scores_are_the_log_probabilities_of_the_tokens():
    step, state, params = model(40)
    for penalty in (0.0, 0.8):
        found = beam(step, state, FIRST, 7, beams=3, end=END, penalty=penalty)
        repeated = jax.tree.map(lambda h: jnp.repeat(h[:, :, None], 3, 2), state)
        logp = log_probability(params, repeated, jnp.repeat(FIRST[..., None], 3, -1), found.tokens)
        total = jnp.where(rnn.lengths_to_mask(found.lengths, 7), logp, 0).sum(0)
        np.testing.assert_allclose(
            found.scores,
            total / ((5 + found.lengths.astype(jnp.float32)) / 6) ** penalty,
            rtol=1e-4,
        )
        assert (np.diff(found.scores, axis=-1) <= 0).all()


@pytest.mark.parametrize("seed", range(50, 54))
def test_one_beam_without_a_penalty_is_greedy(seed):
    step, state, _ = model(seed)
    found = beam(step, state, FIRST, 6, beams=1, end=END, penalty=0)
    np.testing.assert_array_equal(
        found.tokens[..., 0], greedy(step, state, FIRST[None], 6, end=END)[1]
    )


@pytest.mark.slow
def test_rows_do_not_depend_on_one_another():
    """Not even where one goes on long after the other is done and then meets NaN."""
    step, state, _ = model(60)
    whole = beam(step, state, FIRST, 6, beams=3, end=END)
    for row in np.ndindex(BATCH):
        alone = beam(
            step, jax.tree.map(lambda h, row=row: h[row], state), FIRST[row], 6, beams=3, end=END
        )
        np.testing.assert_array_equal(whole.tokens[(slice(None), *row)], alone.tokens)
        np.testing.assert_array_equal(whole.lengths[row], alone.lengths)
        np.testing.assert_allclose(whole.scores[row], alone.scores, rtol=1e-5)
    mapped = jax.vmap(lambda s, f: beam(step, s, f, 6, beams=3, end=END))(state, FIRST)
    np.testing.assert_array_equal(jnp.moveaxis(mapped.tokens, 0, 1), whole.tokens)

    def late(state, token):  # row 0 ends at once; from step 3 on it would be NaN
        n, ends = state
        logits = jnp.where(ends[..., None], jnp.array([20.0, 0, 0, 0]), jnp.array([-20.0, 0, 0, 0]))
        return (n + 1, ends), jnp.where(((n > 2) & ends)[..., None], jnp.nan, logits)

    found = beam(
        late,
        (jnp.zeros(2, jnp.int32), jnp.array([True, False])),
        jnp.zeros(2, jnp.int32),
        6,
        beams=2,
        end=0,
        penalty=0,
    )
    assert np.isfinite(found.scores).all()


def fixed(row):
    return lambda state, token: (
        state,
        jnp.broadcast_to(jnp.asarray(row, jnp.float32), (*token.shape, len(row))),
    )


def test_models_that_never_end_or_end_at_once():
    found = beam(fixed([-np.inf, 1, 0]), (), jnp.int32(1), 4, beams=2, end=0)
    assert found.tokens.T.tolist()[0] == [1, 1, 1, 1]
    assert found.lengths.tolist() == [4, 4]
    found = beam(fixed([3.0, 1, 0]), (), jnp.int32(1), 4, beams=2, end=None)
    assert found.tokens.T.tolist()[0] == [0, 0, 0, 0]
    steps = []

    def model(state, token):
        jax.debug.callback(lambda: steps.append(1))
        return fixed([0.0, -np.inf, -np.inf])(state, token)

    found = beam(model, (), jnp.ones(2, jnp.int32), 9, beams=3, end=0)
    jax.effects_barrier()
    assert len(steps) == 1
    assert found.lengths.tolist() == [[1, 0, 0]] * 2
    assert found.scores.tolist() == [[0, -np.inf, -np.inf]] * 2
    assert (found.tokens == 0).all()


def test_it_stops_when_nothing_better_can_come():
    steps = []

    def model(state, token):
        jax.debug.callback(lambda: steps.append(1))
        return fixed([4.0, 0, 0])(state, token)

    beam(model, (), jnp.int32(1), 200, beams=2, end=0, penalty=0.6)
    jax.effects_barrier()
    assert 2 <= len(steps) < 20


def test_it_goes_on_where_a_longer_one_may_come_to_a_better_score():
    def model(n, token):  # even odds to end, then never again
        return n + 1, jnp.where((n == 0)[..., None], jnp.array([0.1, 0.0]), jnp.array([-30.0, 0.0]))

    assert beam(
        model, jnp.int32(0), jnp.int32(1), 6, beams=1, end=0, penalty=1.0
    ).lengths.tolist() == [6]
    assert beam(
        model, jnp.int32(0), jnp.int32(1), 6, beams=1, end=0, penalty=0.0
    ).lengths.tolist() == [1]


def test_forbidden_tokens_dead_ends_and_nan():
    trap = jnp.array(
        [[-jnp.inf, 0.0, 0.1, -jnp.inf], [-1.0, -jnp.inf, 0.0, -jnp.inf], [-jnp.inf] * 4, [0.0] * 4]
    )
    table = lambda state, token: (state, trap[token])  # noqa: E731
    found = beam(table, (), jnp.int32(0), 3, beams=3, end=0, penalty=0)
    assert found.lengths.tolist() == [2, 0, 0]  # 1 then the end; 2 is a trap
    assert found.tokens[:, 0].tolist() == [1, 0, 0]
    assert np.isneginf(found.scores[1:]).all()
    for foul in (jnp.nan, jnp.inf):

        def model(rows, token, foul=foul):
            return (
                rows,
                jnp.where((rows == 1)[..., None] & (jnp.arange(3) == 2), foul, jnp.zeros(3)),
            )

        found = beam(model, jnp.arange(3), jnp.zeros(3, jnp.int32), 3, beams=2, end=0)
        assert np.isnan(found.scores[1]).all()
        assert np.isfinite(found.scores[np.array([0, 2])]).all()
        assert found.lengths[1].tolist() == [0, 0]
        assert (found.tokens[:, 1] == -1).all()


def test_a_vocabulary_of_one_and_no_steps():
    assert beam(fixed([0.0]), (), jnp.int32(0), 3, beams=2, end=0).lengths.tolist() == [1, 0]
    assert beam(fixed([0.0]), (), jnp.int32(0), 3, beams=2, end=None).lengths.tolist() == [3, 0]
    found = beam(fixed([0.0, 1]), (), jnp.zeros(2, jnp.int32), 0, beams=3, end=0)
    assert found.tokens.shape == (0, 2, 3)
    assert found.scores[:, 0].tolist() == [0, 0]


def test_it_is_one_jit_for_new_params_ends_and_penalties():
    step, state, _ = model(70)
    beam(step, state, FIRST, 5, beams=2, end=END)
    size = beams._beam._cache_size()
    beam(model(80)[0], state, FIRST, 5, beams=2, end=1, penalty=0.1)
    assert beams._beam._cache_size() == size


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"beams": 0}, "beams=0"),
        ({"length": -1}, "length=-1"),
        ({"end": V}, "end=3; need a token of the vocabulary, 0 to 2"),
        ({"penalty": np.float32("nan")}, "penalty=nan; need one finite number"),
        ({"first": jnp.ones(2)}, "integer tokens"),
        ({"first": FIRST[0, 0]}, None),
        ({"first": jnp.zeros(3, int)}, "first in every leaf"),
    ],
)
def test_bad_requests_get_a_clear_error(how, words):
    step, state, _ = model(0)
    arguments = {"first": FIRST, "length": 2, "end": END, **how}
    if words is None:  # no batch axes asked of the state, and the cell itself says what is wrong
        words = "need"
    with pytest.raises((TypeError, ValueError), match=words):
        beam(step, state, arguments.pop("first"), arguments.pop("length"), **arguments)
