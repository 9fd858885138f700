"""Greedy decoding and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.decoding import greedy, sample, sampling

NET = rnn.Stack((rnn.Embed(7, 4), rnn.LSTM(5), rnn.Dense(7)))
PARAMS = jax.tree.map(lambda p: 3 * p, NET.init(jax.random.key(0), rnn.TOKEN))
MODEL = jax.tree_util.Partial(rnn.advance, NET, PARAMS)
BATCH = (2, 3)
STATE = NET.initial_state(PARAMS, BATCH)
PROMPT = jax.random.randint(jax.random.key(1), (4, *BATCH), 0, 7)
LOGITS = jnp.log(jnp.array([0.4, 0.3, 0.15, 0.1, 0.05]))


def by_hand(choose, length):
    state = STATE
    for token in PROMPT[:-1]:
        state, _ = rnn.advance(NET, PARAMS, state, token)
    token, tokens = PROMPT[-1], []
    for n in range(length):
        state, logits = rnn.advance(NET, PARAMS, state, token)
        token = choose(logits, n)
        tokens.append(token)
    return state, jnp.stack(tokens)


def same(got, want):
    np.testing.assert_array_equal(got[1], want[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got[0], want[0]
    )


def test_one_jit_equals_a_python_loop_over_advance():
    key = jax.random.key(2)
    same(greedy(MODEL, STATE, PROMPT, 6), by_hand(lambda logits, n: jnp.argmax(logits, -1), 6))
    drawn = by_hand(
        lambda logits, n: jax.random.categorical(jax.random.fold_in(key, n), logits / 0.8), 6
    )
    same(sample(MODEL, STATE, PROMPT, 6, key, temperature=0.8), drawn)
    assert not np.array_equal(
        drawn[1], sample(MODEL, STATE, PROMPT, 6, jax.random.key(3), temperature=0.8)[1]
    )


def test_decoding_does_not_retrace_for_new_params_keys_or_temperatures():
    sample(MODEL, STATE, PROMPT, 6, jax.random.key(2), temperature=0.8)
    size = sampling._decode._cache_size()
    other = jax.tree_util.Partial(rnn.advance, NET, jax.tree.map(lambda p: p + 1, PARAMS))
    sample(other, STATE, PROMPT, 6, jax.random.key(5), temperature=0.3)
    assert sampling._decode._cache_size() == size


@pytest.mark.parametrize(
    "how",
    [{"temperature": 0}, {"temperature": 1e-6}, {"top_k": 1}, {"temperature": 0.0, "top_k": 3}],
)
def test_sampling_becomes_greedy(how):
    same(sample(MODEL, STATE, PROMPT, 6, jax.random.key(2), **how), greedy(MODEL, STATE, PROMPT, 6))


def test_a_shorter_text_is_the_beginning_of_a_longer_and_can_be_gone_on_with():
    key = jax.random.key(4)
    np.testing.assert_array_equal(
        sample(MODEL, STATE, PROMPT, 3, key)[1], sample(MODEL, STATE, PROMPT, 6, key)[1][:3]
    )
    state, first = greedy(MODEL, STATE, PROMPT, 2)
    end, rest = greedy(MODEL, state, first[-1:], 4)
    same((end, jnp.concatenate([first, rest])), greedy(MODEL, STATE, PROMPT, 6))
    primed, _ = rnn.unroll(NET, PARAMS, PROMPT[:-1])
    same(greedy(MODEL, primed, PROMPT[-1:], 6), greedy(MODEL, STATE, PROMPT, 6))
    assert greedy(MODEL, STATE, PROMPT, 0)[1].shape == (0, *BATCH)


@pytest.mark.parametrize(
    ("temperature", "top_k"), first(1, [(2.0, 3), (1.0, None), (0.5, None), (1.0, 2)])
)
def test_frequencies_are_the_softmax(temperature, top_k):
    count = 20000
    _, tokens = sample(
        lambda s, t: (s, jnp.broadcast_to(LOGITS, (*t.shape, 5))),
        (),
        jnp.zeros((1, count), jnp.int32),
        1,
        jax.random.key(0),
        temperature=temperature,
        top_k=top_k,
    )
    p = np.exp(np.asarray(LOGITS) / temperature) * (np.arange(5) < (top_k or 5))
    p /= p.sum()
    seen = np.bincount(np.asarray(tokens).ravel(), minlength=5) / count
    assert (np.abs(seen - p) <= 4 * np.sqrt(p * (1 - p) / count)).all()


def test_each_row_may_have_its_own_temperature():
    temperature = jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    drawn, best = (
        sample(MODEL, STATE, PROMPT, 1, jax.random.key(2), temperature=temperature)[1],
        greedy(MODEL, STATE, PROMPT, 1)[1],
    )
    np.testing.assert_array_equal(drawn[:, temperature == 0], best[:, temperature == 0])


# The nucleus


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    first(
        3,
        [
            (None, 0.6, 2),
            (None, 0.69, 2),
            (None, 0.71, 3),
            (None, 0.01, 1),
            (4, 0.7, 2),
            (4, 0.75, 3),
            (2, 1.0, 2),
        ],
    ),
)
def test_the_nucleus_is_the_fewest_likeliest_that_reach_top_p(top_k, top_p, kept):
    """Of what top_k leaves, renormalised: 0.4 + 0.3 are 0.7, and 0.737 of the first four."""
    count, places = 20000, jnp.array([3, 0, 4, 2, 1])  # likelihoods in no order
    model = lambda s, t: (s, jnp.broadcast_to(LOGITS[places], (*t.shape, 5)))  # noqa: E731
    _, tokens = sample(
        model, (), jnp.zeros((1, count), jnp.int32), 1, jax.random.key(0), top_k=top_k, top_p=top_p
    )
    p = np.exp(np.asarray(LOGITS)) * (np.arange(5) < kept)
    p = (p / p.sum())[np.asarray(places)]
    seen = np.bincount(np.asarray(tokens).ravel(), minlength=5) / count
    assert (np.abs(seen - p) <= 4 * np.sqrt(p * (1 - p) / count)).all()


def test_top_p_of_one_restricts_nothing_and_a_tiny_one_is_greedy():
    key = jax.random.key(2)
    same(sample(MODEL, STATE, PROMPT, 6, key, top_p=1.0), sample(MODEL, STATE, PROMPT, 6, key))
    same(
        sample(MODEL, STATE, PROMPT, 6, key, top_p=1.0, top_k=4),
        sample(MODEL, STATE, PROMPT, 6, key, top_k=4),
    )
    same(sample(MODEL, STATE, PROMPT, 6, key, top_p=1e-9), greedy(MODEL, STATE, PROMPT, 6))
    size = sampling._decode._cache_size()
    each = sample(MODEL, STATE, PROMPT, 6, key, top_p=jnp.array([1.0, 1e-9, 1.0]))[1]
    np.testing.assert_array_equal(each[:, :, 1], greedy(MODEL, STATE, PROMPT, 6)[1][:, :, 1])
    np.testing.assert_array_equal(each[:, :, 0], sample(MODEL, STATE, PROMPT, 6, key)[1][:, :, 0])
    sample(MODEL, STATE, PROMPT, 6, key, top_p=jnp.array([0.3, 0.2, 0.5]))
    assert sampling._decode._cache_size() == size + 1


def test_ties_and_forbidden_tokens():
    """A tiny nucleus is one token even among equals, and a logit of -inf is never drawn."""
    row = jnp.array([-jnp.inf, 1.0, 1.0, -jnp.inf])
    model = lambda s, t: (s, jnp.broadcast_to(row, (*t.shape, 4)))  # noqa: E731
    prompt, key = jnp.zeros((1, 400), jnp.int32), jax.random.key(0)
    for how in ({}, {"top_p": 1.0}, {"top_p": 0.9}, {"top_k": 4}, {"top_k": 3, "top_p": 1.0}):
        assert set(np.asarray(sample(model, (), prompt, 2, key, **how)[1]).ravel()) == {1, 2}
    assert set(np.asarray(sample(model, (), prompt, 2, key, top_p=1e-9)[1]).ravel()) == {1}
    assert set(np.asarray(greedy(model, (), prompt, 2)[1]).ravel()) == {1}


# What cannot be decoded is seen


@pytest.mark.parametrize("how", [None, {}, {"top_k": 2}, {"temperature": 0.0, "top_p": 0.5}])
def test_where_there_is_no_token_to_choose_it_is_minus_one(how):
    """NaN, or nothing but -inf; other rows go on."""
    foul = jnp.array([[0.0, 1, 2], [0, jnp.nan, 9], [-jnp.inf] * 3, [-jnp.inf, -jnp.inf, 0]])
    prompt = jnp.zeros((1, 4), jnp.int32)
    key = () if how is None else (jax.random.key(0),)
    run = greedy if how is None else sample
    _, tokens = run(lambda s, t: (s, foul), (), prompt, 3, *key, **(how or {}))
    assert (tokens[:, 1:3] == -1).all()
    assert (tokens[:, 0] >= 0).all()
    assert (tokens[:, 3] == 2).all()


def test_a_prompt_out_of_the_vocabulary_and_a_traced_length_out_of_range_are_minus_one():
    state = NET.initial_state(PARAMS, (3,))
    prompt = jnp.array([[1, 7, 2], [3, 3, -1]])
    want = greedy(MODEL, NET.initial_state(PARAMS), prompt[:, 0], 4)[1]
    got = greedy(MODEL, state, prompt, 4)[1]
    np.testing.assert_array_equal(got[:, 0], want)
    assert (got[:, 1:] == -1).all()
    traced = jax.jit(lambda n: greedy(MODEL, state, prompt % 7, 4, lengths=n)[1])
    got = traced(jnp.array([2, 0, 3]))
    np.testing.assert_array_equal(got[:, 0], want)
    assert (got[:, 1:] == -1).all()


def test_narrow_prompts_hold_all_tokens():
    """A vocabulary above 256 in a prompt of bytes."""
    model = lambda s, t: (s, jnp.where(jnp.arange(300) == 290, 1.0, jnp.zeros((*t.shape, 300))))  # noqa: E731
    for dtype in (np.uint8, np.int8, np.uint32):
        tokens = greedy(model, (), np.array([104], dtype), 2, end=299)[1]
        assert (tokens.dtype, tokens.tolist()) == (jnp.int32, [290, 290])


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.array, jnp.array])
def test_settings_are_checked_whatever_holds_the_number(kind):
    for name, values in {"temperature": (-1.0, np.nan), "top_p": (0.0, 1.5, np.nan)}.items():
        for value in values:
            with pytest.raises(ValueError, match=f"{name}="):
                sample(MODEL, STATE, PROMPT, 2, jax.random.key(0), **{name: kind(value)})


# Rows that end, and prompts of different lengths


@pytest.mark.parametrize("drawn", [False, True])
def test_a_row_that_has_ended_writes_its_end_and_its_state_stands_still(drawn):
    how = {"key": jax.random.key(3), "temperature": 1.5} if drawn else {}
    run = sample if drawn else greedy
    state, free = run(MODEL, STATE, PROMPT, 9, **how)
    end = int(free[3, 0, 0])
    state, tokens = run(MODEL, STATE, PROMPT, 9, end=end, **how)
    free, tokens = np.asarray(free), np.asarray(tokens)
    stops = set()
    for row in np.ndindex(BATCH):
        at = np.flatnonzero(free[(slice(None), *row)] == end)
        stop = at[0] + 1 if at.size else 9
        stops.add(stop)
        np.testing.assert_array_equal(tokens[(slice(stop), *row)], free[(slice(stop), *row)])
        assert (tokens[(slice(stop, None), *row)] == end).all()
        seen = run(MODEL, STATE, PROMPT, int(stop), **how)[0]
        jax.tree.map(
            lambda a, b, row=row: np.testing.assert_allclose(a[row], b[row], rtol=1e-5, atol=1e-6),
            state,
            seen,
        )
    assert len(stops) > 1


def test_no_step_is_run_when_all_rows_have_ended():
    steps = []

    def model(state, token):
        jax.debug.callback(lambda: steps.append(1))
        return state + 1, jax.nn.one_hot(state, 4) * 9

    state, tokens = greedy(model, jnp.array([1, 0]), jnp.zeros((1, 2), jnp.int32), 50, end=3)
    jax.effects_barrier()
    assert len(steps) == 4
    assert tokens.T.tolist() == [[1, 2, *[3] * 48], [0, 1, 2, *[3] * 47]]
    assert state.tolist() == [4, 4]


def test_each_row_of_a_ragged_prompt_is_as_if_decoded_alone():
    lengths, key = np.array([[1, 4, 2], [3, 1, 4]]), jax.random.key(2)
    foul = jnp.where(rnn.lengths_to_mask(lengths, 4), PROMPT, 10**6)
    ends = {"end": 2}
    for run, how in ((greedy, {}), (sample, {"key": key, **ends})):
        state, tokens = run(MODEL, STATE, foul, 6, lengths=lengths, **how)
        for row in np.ndindex(BATCH):
            alone, want = run(MODEL, STATE, PROMPT[: lengths[row]], 6, **how)
            np.testing.assert_array_equal(tokens[(slice(None), *row)], want[(slice(None), *row)])
            jax.tree.map(
                lambda a, b, row=row: np.testing.assert_allclose(
                    a[row], b[row], rtol=1e-5, atol=1e-6
                ),
                state,
                alone,
            )
    row = (1, 0)
    single = greedy(MODEL, jax.tree.map(lambda a: a[row], STATE), PROMPT[(slice(3), *row)], 6)[1]
    np.testing.assert_array_equal(
        greedy(MODEL, STATE, foul, 6, lengths=lengths)[1][:, 1, 0], single
    )
    traced = jax.jit(lambda n: greedy(MODEL, STATE, PROMPT, 6, lengths=n)[1])(lengths)
    np.testing.assert_array_equal(traced, greedy(MODEL, STATE, PROMPT, 6, lengths=lengths)[1])


def test_a_state_whose_rows_cannot_be_told_apart_is_refused():
    model = lambda s, t: (s, jnp.zeros((*t.shape, 3)))  # noqa: E731
    assert greedy(model, jnp.zeros(()), PROMPT, 2)[1].shape == (2, *BATCH)
    with pytest.raises(ValueError, match="first in every leaf"):
        greedy(model, jnp.zeros(()), PROMPT, 2, end=0)


@pytest.mark.parametrize(
    ("prompt", "how", "words"),
    [
        (PROMPT[:0], {}, "P of at least one"),
        (jnp.ones((2, *BATCH)), {}, "integer tokens"),
        (PROMPT, {"temperature": -1}, "temperature=-1; need zero or more"),
        (PROMPT, {"top_k": 0}, "top_k=0; need a positive integer"),
        (PROMPT, {"top_k": 8}, "need at most 7, the size of the vocabulary"),
        (PROMPT, {"length": -1}, "length=-1"),
        (PROMPT, {"top_p": 0.0}, "top_p=0; need a number above 0"),
        (PROMPT, {"top_p": 1.5}, "top_p=1.5"),
        (PROMPT, {"end": 1.0}, "end=1.0; need one integer token"),
        (PROMPT, {"lengths": np.ones(2, int)}, "need integers"),
        (PROMPT, {"lengths": np.zeros(BATCH, int)}, "lengths from 0 to 0; need 1 to 4"),
        (PROMPT, {"lengths": np.full(BATCH, 5)}, "need 1 to 4"),
    ],
)
def test_bad_requests_get_a_clear_error(prompt, how, words):
    with pytest.raises((TypeError, ValueError), match=words):
        sample(MODEL, STATE, prompt, how.pop("length", 2), jax.random.key(0), **how)
