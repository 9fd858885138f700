"""Scores of answers over masks and ragged rows. Most are a sum and a count, so that the pieces of a
test set add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors
from jaxrnn.data import pad
from jaxrnn.training.losses import MaskedMean

__all__ = [
    "accuracy",
    "bleu",
    "confusion",
    "edit_distance",
    "exact_match",
    "token_error_rate",
    "word_error_rate",
]


def predicted(logits: jax.Array) -> jax.Array:
    """The likeliest tokens `[T, ...]` of logits `[T, ..., V]`, -1 where one is NaN; tokens are
    returned as they are.
    """
    if jnp.issubdtype(logits.dtype, jnp.integer):
        return logits
    return jnp.where(jnp.isnan(logits).any(-1), -1, jnp.argmax(logits, -1))


def accuracy(logits: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """How often the likeliest token is the target: logits `[T, ..., V]` or tokens `[T, ...]`,
    integer targets `[T, ...]`.

    Any leading axes will do, those of a classifier `[B, V]` and `[B]` too; NaN is never right. The
    mask `[T, ...]` is true where the step is valid; the mean is a fraction of these steps.

    Raises:
      TypeError: for targets that are no integers, or a mask that holds no booleans.
      ValueError: for targets or a mask of another shape: nothing is broadcast.

    Example:
      >>> accuracy(jnp.eye(3), jnp.array([0, 1, 1]), jnp.array([True, True, False])).mean.item()
      1.0
    """
    errors.check_predictions("accuracy", logits, targets, mask)
    right = equal(predicted(logits), targets)
    right = right if mask is None else right & mask
    steps = targets.size if mask is None else mask.sum(dtype=jnp.int32)
    return MaskedMean(right.sum(dtype=jnp.int32).astype(jnp.float32), jnp.int32(steps))


def confusion(
    logits: jax.Array, targets: jax.Array, mask: Any = None, *, classes: int | None = None
) -> jax.Array:
    """How often each class was taken for each: counts `[C, C]`, row by the target, column by the
    prediction.

    Args:
      logits: `[T, ..., C]`, or predicted tokens `[T, ...]`.
      targets: integers `[T, ...]`. Neither a prediction that is no class (NaN) nor a target that is
        none is counted.
      mask: booleans `[T, ...]`, true where the step is valid.
      classes: C, needed with tokens.

    Raises:
      TypeError: for targets that are no integers, or a mask that holds no booleans.
      ValueError: for targets or a mask of another shape, tokens without `classes`, or classes that
        are not those of the logits.

    Example:
      >>> confusion(jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1]), classes=2).tolist()
      [[1, 1], [0, 2]]
    """
    errors.check_predictions("confusion", logits, targets, mask)
    if classes is None:
        if logits.ndim == targets.ndim:
            raise errors.no_classes()
        classes = logits.shape[-1]
    classes = errors.check_count("confusion", "classes", classes)
    errors.check_classes(classes, logits, targets)
    targets, taken = (jnp.asarray(a).astype(jnp.int32) for a in (targets, predicted(logits)))
    known = (taken >= 0) & (taken < classes) & (targets >= 0) & (targets < classes)
    known = known if mask is None else known & mask
    row = jnp.where(known, targets, classes)  # out of range, and so dropped
    return jnp.zeros((classes, classes), jnp.int32).at[row, taken].add(1, mode="drop")


def equal(a: jax.Array, b: jax.Array) -> jax.Array:
    """Where integers of any two widths are the same."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    dtype = jax.dtypes.canonicalize_dtype(np.promote_types(a.dtype, b.dtype))
    return a.astype(dtype) == b.astype(dtype)


def edit_distance(
    tokens: Any, targets: Any, lengths: Any = None, target_lengths: Any = None
) -> jax.Array:
    """The fewest insertions, deletions and substitutions that turn the tokens into the targets:
    `[...]`.

        d[i, j] = min(d[i-1, j] + 1, d[i, j-1] + 1, d[i-1, j-1] + (tokens[i] != targets[j]))

    One loop over the tokens, each row of d at once; O(U) memory a pair. What lies beyond a row's
    length changes nothing.

    Args:
      tokens: integers `[T, ...]`.
      targets: integers `[U, ...]`.
      lengths: integers `[...]` from 0 to T, how many of the tokens count; all by default.
      target_lengths: the same of the targets, from 0 to U.

    Returns:
      int32 `[...]`. Where lengths are traced and not in range, it is -1.

    Raises:
      TypeError: for tokens, targets or lengths that are no integers.
      ValueError: for other rows in the targets than in the tokens (nothing is broadcast), or
        lengths that are known and not in range.

    Example:
      >>> kitten, sitting = (jnp.array(list(word.encode())) for word in ("kitten", "sitting"))
      >>> int(edit_distance(kitten, sitting))
      3

    Levenshtein 1966; the algorithm: Wagner & Fischer 1974.
    """
    errors.check_sequences(tokens, targets)
    both = []
    for name, given, rows in (
        ("lengths", lengths, tokens),
        ("target_lengths", target_lengths, targets),
    ):
        if given is None:
            both.append(jnp.full(rows.shape[1:], rows.shape[0], jnp.int32))
            continue
        given = given if hasattr(given, "dtype") else np.asarray(given)
        errors.check_row_lengths(name, given, rows)
        both.append(jnp.asarray(given).astype(jnp.int32))
    return _edit_distance(jnp.asarray(tokens), jnp.asarray(targets), *both)


@jax.jit
def _edit_distance(
    tokens: jax.Array, targets: jax.Array, lengths: jax.Array, target_lengths: jax.Array
) -> jax.Array:
    batch, size = tokens.shape[1:], targets.shape[0]
    places = jnp.broadcast_to(
        jnp.arange(size + 1, dtype=jnp.int32).reshape(-1, *(1 for _ in batch)), (size + 1, *batch)
    )

    def step(row: jax.Array, numbered: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        i, token = numbered
        either = jnp.minimum(row[1:] + 1, row[:-1] + (~equal(targets, token)).astype(jnp.int32))
        new = jnp.concatenate([jnp.broadcast_to(i + 1, (1, *batch)), either])
        # Insertions: the best place to the left, plus one for each step from it.
        new = jax.lax.cummin(new - places, axis=0) + places
        return jnp.where(i < lengths, new, row), None

    row, _ = jax.lax.scan(step, places, (jnp.arange(tokens.shape[0], dtype=jnp.int32), tokens))
    found = jnp.take_along_axis(row, target_lengths[None], 0)[0]
    known = (lengths >= 0) & (lengths <= tokens.shape[0]) & (target_lengths >= 0)
    return jnp.where(known & (target_lengths <= size), found, -1)


def token_error_rate(
    tokens: Any, targets: Any, lengths: Any = None, target_lengths: Any = None
) -> MaskedMean:
    """Edits for each target token, over all rows together: the sum of edits and the number of
    target tokens. Arguments and errors as in `edit_distance`; NaN where lengths are traced and not
    in range.

    A row with an empty reference adds its tokens to the edits, and nothing to the number. Where no
    row has a target token the mean is the number of edits itself, 0 where nothing was said.

    Example:
      >>> float(token_error_rate(jnp.array([[1, 4], [2, 5]]), jnp.array([[1, 4], [3, 5]])).mean)
      0.25
    """
    edits = edit_distance(tokens, targets, lengths, target_lengths)
    count = targets.size
    if target_lengths is not None:
        count = jnp.asarray(target_lengths).astype(jnp.int32).sum()
    total = jnp.where((edits < 0).any(), jnp.nan, edits.sum().astype(jnp.float32))
    return MaskedMean(total, jnp.asarray(count, jnp.int32))


def exact_match(
    tokens: Any, targets: Any, lengths: Any = None, target_lengths: Any = None
) -> MaskedMean:
    """How many rows are right as a whole, and the number of rows. Arguments and errors as in
    `edit_distance`; an empty row is right where its reference is empty, and one whose lengths are
    traced and not in range never is.

    Example:
      >>> float(exact_match(jnp.array([[1, 4], [2, 5]]), jnp.array([[1, 4], [3, 5]])).mean)
      0.5
    """
    same = edit_distance(tokens, targets, lengths, target_lengths) == 0
    return MaskedMean(same.sum(dtype=jnp.int32).astype(jnp.float32), jnp.int32(same.size))


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Edits of words for each word of the references, over all sentences together; white space
    separates words. Each word of a hypothesis with an empty reference is one edit.

    Raises:
      TypeError: for anything but lists of strings.
      ValueError: for no words in any of the references, or unequal numbers of hypotheses and
        references.

    Example:
      >>> word_error_rate(["the cat sat", "no"], ["the cat sat down", "no"])
      0.2
    """
    errors.check_pairs("word_error_rate", hypotheses, references)
    known: dict[str, int] = {}

    def padded(sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [
            np.array([known.setdefault(word, len(known)) for word in sentence.split()], np.int32)
            for sentence in sentences
        ]
        rows += [np.zeros(0, np.int32)] * (power(len(rows)) - len(rows))
        return pad(rows, power(max(map(len, rows))))

    (tokens, lengths), (targets, target_lengths) = padded(hypotheses), padded(references)
    if not target_lengths.any():
        raise errors.error(
            ValueError,
            "word_error_rate",
            "references without a word",
            "at least one word",
            "Leave empty references out.",
        )
    return int(edit_distance(tokens, targets, lengths, target_lengths).sum()) / int(
        target_lengths.sum()
    )


def power(n: int) -> int:
    """The smallest power of two that is at least n, so that few shapes are compiled for."""
    return 1 << max(n - 1, 0).bit_length()


def bleu(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """BLEU of a corpus, 0 to 100, as sacrebleu counts it (its own tokens, 13a; n-grams up to four;
    the brevity penalty).

    Args:
      hypotheses: one sentence each.
      references: for each of them a sentence, or several that are right.

    Raises:
      ModuleNotFoundError: where sacrebleu is not installed (the extra `translate`).
      TypeError: for anything but lists of strings.
      ValueError: for a sentence without a reference, or unequal numbers of hypotheses and
        references.

    Example:
      >>> round(bleu(["the cat sat on the mat"], ["the cat sat on the mat"]))
      100

    Papineni et al. 2002; Post 2018, A Call for Clarity in Reporting BLEU Scores.
    """
    errors.check_pairs("bleu", hypotheses, references, several=True)
    try:
        import sacrebleu
    except ModuleNotFoundError:
        raise errors.missing_package("sacrebleu", "it counts BLEU", "translate") from None
    sets = [[r] if isinstance(r, str) else list(r) for r in references]
    most = max(map(len, sets))
    # None says that a sentence has no such reference; sacrebleu's annotations leave it out.
    streams: list[Any] = [[s[i] if i < len(s) else None for s in sets] for i in range(most)]
    return float(sacrebleu.corpus_bleu(list(hypotheses), streams, force=True).score)
