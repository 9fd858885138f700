"""Greedy decoding and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn import decoding
from jaxrnn.decoding import greedy, sample

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
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got[0], want[0])


def test_one_jit_equals_a_python_loop_over_advance():
    key = jax.random.key(2)
    same(greedy(MODEL, STATE, PROMPT, 6), by_hand(lambda logits, n: jnp.argmax(logits, -1), 6))
    drawn = by_hand(lambda logits, n: jax.random.categorical(jax.random.fold_in(key, n), logits / 0.8), 6)
    same(sample(MODEL, STATE, PROMPT, 6, key, temperature=0.8), drawn)
    assert not np.array_equal(drawn[1], sample(MODEL, STATE, PROMPT, 6, jax.random.key(3), temperature=0.8)[1])


def test_decoding_does_not_retrace_for_new_params_keys_or_temperatures():
    sample(MODEL, STATE, PROMPT, 6, jax.random.key(2), temperature=0.8)
    size = decoding._decode._cache_size()
    other = jax.tree_util.Partial(rnn.advance, NET, jax.tree.map(lambda p: p + 1, PARAMS))
    sample(other, STATE, PROMPT, 6, jax.random.key(5), temperature=0.3)
    assert decoding._decode._cache_size() == size


@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 1e-6}, {"top_k": 1}, {"temperature": 0.0, "top_k": 3}])
def test_sampling_becomes_greedy(how):
    same(sample(MODEL, STATE, PROMPT, 6, jax.random.key(2), **how), greedy(MODEL, STATE, PROMPT, 6))


def test_a_shorter_text_is_the_beginning_of_a_longer_and_can_be_gone_on_with():
    key = jax.random.key(4)
    np.testing.assert_array_equal(sample(MODEL, STATE, PROMPT, 3, key)[1], sample(MODEL, STATE, PROMPT, 6, key)[1][:3])
    state, first = greedy(MODEL, STATE, PROMPT, 2)
    end, rest = greedy(MODEL, state, first[-1:], 4)
    same((end, jnp.concatenate([first, rest])), greedy(MODEL, STATE, PROMPT, 6))
    primed, _ = rnn.unroll(NET, PARAMS, PROMPT[:-1])
    same(greedy(MODEL, primed, PROMPT[-1:], 6), greedy(MODEL, STATE, PROMPT, 6))
    assert greedy(MODEL, STATE, PROMPT, 0)[1].shape == (0, *BATCH)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 2)])
def test_frequencies_are_the_softmax(temperature, top_k):
    count = 20000
    _, tokens = sample(lambda s, t: (s, jnp.broadcast_to(LOGITS, (*t.shape, 5))), (), jnp.zeros((1, count), jnp.int32), 1, jax.random.key(0),
                       temperature=temperature, top_k=top_k)  # fmt: skip
    p = np.exp(np.asarray(LOGITS) / temperature) * (np.arange(5) < (top_k or 5))
    p /= p.sum()
    seen = np.bincount(np.asarray(tokens).ravel(), minlength=5) / count
    assert (np.abs(seen - p) <= 4 * np.sqrt(p * (1 - p) / count)).all()


def test_each_row_may_have_its_own_temperature():
    temperature = jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    drawn, best = sample(MODEL, STATE, PROMPT, 1, jax.random.key(2), temperature=temperature)[1], greedy(MODEL, STATE, PROMPT, 1)[1]
    np.testing.assert_array_equal(drawn[:, temperature == 0], best[:, temperature == 0])


@pytest.mark.parametrize(
    ("prompt", "how", "words"),
    [
        (PROMPT[:0], {}, "P of at least one"),
        (jnp.ones((2, *BATCH)), {}, "integer tokens"),
        (PROMPT, {"temperature": -1}, "temperature=-1; need zero or more"),
        (PROMPT, {"top_k": 0}, "top_k=0; need a positive integer"),
        (PROMPT, {"top_k": 8}, "need at most 7, the size of the vocabulary"),
        (PROMPT, {"length": -1}, "length=-1"),
    ],
)
def test_bad_requests_get_a_clear_error(prompt, how, words):
    with pytest.raises(ValueError, match=words):
        sample(MODEL, STATE, prompt, how.pop("length", 2), jax.random.key(0), **how)
