"""Metrics against naive counts."""

import sys
from fractions import Fraction

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxrnn import metrics
from jaxrnn.controls import lengths_to_mask
from jaxrnn.metrics import (
    accuracy,
    bleu,
    confusion,
    edit_distance,
    exact_match,
    token_error_rate,
    word_error_rate,
)

ROWS, STEPS = 4, 6
row = st.lists(st.integers(0, 2), max_size=STEPS)
rows = st.lists(row, min_size=ROWS, max_size=ROWS)


def naive(a, b):
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return naive(a[:-1], b[:-1])
    return 1 + min(naive(a[:-1], b), naive(a, b[:-1]), naive(a[:-1], b[:-1]))


def padded(sequences, steps, filler):
    """`[T, N]`, foul beyond each row's length."""
    tokens = np.full((steps, len(sequences)), filler)
    for i, sequence in enumerate(sequences):
        tokens[: len(sequence), i] = sequence
    return tokens, np.array([len(s) for s in sequences])


@given(rows, rows, st.integers(-3, 3))
def test_edits_are_those_of_the_definition(hypotheses, references, filler):
    a, b = padded(hypotheses, STEPS, filler), padded(references, STEPS + 1, filler)
    want = [naive(h, r) for h, r in zip(hypotheses, references, strict=True)]
    assert edit_distance(a[0], b[0], a[1], b[1]).tolist() == want
    rate = token_error_rate(a[0], b[0], a[1], b[1])
    assert (int(rate.total), int(rate.steps)) == (sum(want), sum(map(len, references)))
    match = exact_match(a[0], b[0], a[1], b[1])
    assert (int(match.total), int(match.steps)) == (
        sum(h == r for h, r in zip(hypotheses, references, strict=True)),
        ROWS,
    )
    square = edit_distance(
        a[0].reshape(STEPS, 2, 2), b[0].reshape(-1, 2, 2), a[1].reshape(2, 2), b[1].reshape(2, 2)
    )
    assert np.ravel(square).tolist() == want


@given(st.lists(st.tuples(row, row), min_size=1, max_size=ROWS))
def test_word_errors_are_counted_over_the_whole_corpus(pairs):
    words = [(" ".join("abc"[v] for v in h), "  ".join("abc"[v] for v in r)) for h, r in pairs]
    count = sum(len(r) for _, r in pairs)
    if not count:
        with pytest.raises(ValueError, match="references without a word"):
            word_error_rate(*zip(*words, strict=True))
        return
    want = Fraction(sum(naive(h, r) for h, r in pairs), count)
    assert word_error_rate(*zip(*words, strict=True)) == float(want)


def test_edit_distance_without_lengths_or_steps_and_under_vmap():
    a, b = jnp.array([1, 2, 3]), jnp.array([2, 3, 4, 5])
    assert int(edit_distance(a, b)) == 3
    assert int(edit_distance(a[:0], b)) == 4
    assert int(edit_distance(a, b[:0])) == 3
    assert int(edit_distance(a[:0], b[:0])) == 0
    assert jax.vmap(edit_distance, (None, 0))(a, jnp.stack([b, b - 1])).tolist() == [3, 1]
    assert float(token_error_rate(a, b).mean) == 0.75


def test_accuracy_and_confusion_count_valid_steps_alone():
    rng = np.random.default_rng(0)
    logits, targets, mask = (
        rng.normal(size=(5, 3, 4)).astype(np.float32),
        rng.integers(0, 4, (5, 3)),
        rng.random((5, 3)) < 0.6,
    )
    taken = logits.argmax(-1)
    foul, off = np.where(mask[..., None], logits, np.nan), np.where(mask, targets, 99)
    got = accuracy(jnp.asarray(foul), jnp.asarray(off), jnp.asarray(mask))
    assert (int(got.total), int(got.steps)) == ((taken == targets)[mask].sum(), mask.sum())
    want = np.zeros((4, 4), int)
    np.add.at(want, (targets[mask], taken[mask]), 1)
    np.testing.assert_array_equal(
        confusion(jnp.asarray(foul), jnp.asarray(off), jnp.asarray(mask)), want
    )
    np.testing.assert_array_equal(
        confusion(jnp.asarray(taken), jnp.asarray(off), jnp.asarray(mask), classes=4), want
    )
    assert int(accuracy(jnp.asarray(taken), jnp.asarray(targets)).total) == (taken == targets).sum()
    assert float(accuracy(jnp.asarray(logits[0]), jnp.asarray(taken[0])).mean) == 1
    assert float(accuracy(jnp.full((2, 3), jnp.nan), jnp.array([0, 0])).mean) == 0
    assert confusion(jnp.full((2, 3), jnp.nan), jnp.array([0, 0])).sum() == 0
    with pytest.raises(ValueError, match="classes"):
        confusion(jnp.asarray(taken), jnp.asarray(targets))


def test_traced_lengths_out_of_range_are_told_and_the_others_stay():
    tokens, targets = jnp.array([[1, 1], [2, 3]]), jnp.array([[1, 1], [3, 3]])
    n, m = jnp.array([2, 3]), jnp.array([2, 2])
    low = jnp.array([0, -1])
    for lengths in ((n, m), (m, n), (low, m), (m, low)):
        assert jax.jit(edit_distance)(tokens, targets, *lengths)[1] == -1
        assert jax.jit(edit_distance)(tokens, targets, *lengths)[0] >= 1
        assert np.isnan(jax.jit(token_error_rate)(tokens, targets, *lengths).total)
        assert jax.jit(exact_match)(tokens, targets, *lengths).total == 0
    assert jax.jit(edit_distance)(tokens, targets, m, m).tolist() == [1, 0]


def test_error_rates_with_empty_references():
    tokens, lengths, none = jnp.array([[1, 1], [2, 3]]), jnp.array([2, 0]), jnp.array([0, 0])
    rate = token_error_rate(tokens, tokens, lengths, none)
    assert (float(rate.total), int(rate.steps), float(rate.mean)) == (2, 0, 2)
    assert float(token_error_rate(tokens, tokens, none, none).mean) == 0
    assert float(exact_match(tokens, tokens, lengths, none).total) == 1
    assert word_error_rate(["a b", "c"], ["", "c"]) == 2


def test_integers_of_any_width_are_compared_and_counted():
    targets = jnp.array([[200, 7, 1]]).astype(jnp.uint8)
    tokens = np.array([[200, 263, 1]])
    assert int(accuracy(tokens, targets).total) == 2
    assert edit_distance(tokens, targets).tolist() == [0, 1, 0]
    assert confusion(targets, targets, classes=300).sum() == 3


def test_exact_match_is_of_whole_rows():
    tokens = jnp.array([[1, 1, 1], [2, 2, 2], [9, 9, 3]])
    targets = jnp.array([[1, 1, 1], [2, 2, 2]])
    assert (
        float(exact_match(tokens, targets, jnp.array([2, 1, 3]), jnp.array([2, 2, 2])).total) == 1
    )
    assert lengths_to_mask(jnp.array([2]), 3).sum() == 2


def test_bleu_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    hypotheses = ["the cat sat on a mat", "cannot open the file", "it rains, again"]
    references = ["the cat sat on the mat", "cannot open the file now", "it is raining again"]
    assert bleu(hypotheses, references) == sacrebleu.corpus_bleu(hypotheses, [references]).score
    several = [
        (r, h) if i else r for i, (r, h) in enumerate(zip(references, hypotheses, strict=True))
    ]
    assert bleu(hypotheses, several) > bleu(hypotheses, references)
    assert bleu(["", ""], ["a b", "c d"]) == 0


def test_what_cannot_be_scored_gets_a_clear_error(monkeypatch):
    with pytest.raises(ValueError, match="as many of each"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(TypeError, match="a string"):
        word_error_rate("a b", ["a b"])
    with pytest.raises(ValueError, match="at least one"):
        word_error_rate([], [])
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ModuleNotFoundError, match="translate"):
        metrics.bleu(["a"], ["a"])
