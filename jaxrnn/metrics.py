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


def predicted(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The likeliest tokens `[T, ...]` of logits `[T, ..., V]`, -1 where one is NaN; tokens are
    returned as they are.
    """
    if jnp.issubdtype(logits.dtype, jnp.integer) and logits.ndim == targets.ndim:
        return logits
    return jnp.where(jnp.isnan(logits).any(-1), -1, jnp.argmax(logits, -1))


def accuracy(logits: jax.Array, targets: jax.Array, mask: Any = None) -> MaskedMean:
    """How often the likeliest token is the target: logits `[T, ..., V]` or tokens `[T, ...]`,
    integer targets `[T, ...]`.

    Any leading axes will do, those of a classifier `[B, V]` and `[B]` too; NaN is never right. The
    mask `[T, ...]` is true where the step is valid; the mean is a fraction of these steps.

    Raises:
      TypeError, ValueError: for targets that are no integers, or of another shape.

    Example:
      >>> accuracy(jnp.eye(3), jnp.array([0, 1, 1]), jnp.array([True, True, False])).mean.item()
      1.0
    """
    tokens = predicted(logits, targets)
    errors.check_targets("accuracy", tokens.shape, targets, tokens=True)
    return MaskedMean.over((tokens == targets).astype(jnp.float32), mask)


def confusion(
    logits: jax.Array, targets: jax.Array, mask: Any = None, *, classes: int | None = None
) -> jax.Array:
    """How often each class was taken for each: counts `[C, C]`, row by the target, column by the
    prediction.

    Args:
      logits: `[T, ..., C]`, or predicted tokens `[T, ...]`; a prediction that is no class (NaN) is
        not counted.
      targets: integers `[T, ...]`.
      mask: booleans `[T, ...]`, true where the step is valid.
      classes: C, needed with tokens.

    Raises:
      ValueError: for tokens without `classes`.

    Example:
      >>> confusion(jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1]), classes=2).tolist()
      [[1, 1], [0, 2]]
    """
    if classes is None:
        if logits.ndim == targets.ndim:
            raise errors.error(
                ValueError,
                "confusion",
                "predicted tokens without classes",
                "the number of classes",
                "Pass classes=10, say.",
            )
        classes = logits.shape[-1]
    taken = predicted(logits, targets)
    known = (taken >= 0) & (taken < classes) & (targets >= 0) & (targets < classes)
    known = known if mask is None else known & mask
    row, column = jnp.where(known, targets, classes), jnp.where(known, taken, classes)
    return jnp.zeros((classes, classes), jnp.int32).at[row, column].add(1, mode="drop")


@jax.jit
def edit_distance(
    tokens: jax.Array, targets: jax.Array, lengths: Any = None, target_lengths: Any = None
) -> jax.Array:
    """The fewest insertions, deletions and substitutions that turn the tokens into the targets:
    `[...]`.

        d[i, j] = min(d[i-1, j] + 1, d[i, j-1] + 1, d[i-1, j-1] + (tokens[i] != targets[j]))

    One loop over the tokens, each row of d at once; O(U) memory a pair. What lies beyond a row's
    length changes nothing.

    Args:
      tokens: integers `[T, ...]`.
      targets: integers `[U, ...]`.
      lengths: integers `[...]`, how many of the tokens count; all by default.
      target_lengths: the same of the targets.

    Example:
      >>> kitten, sitting = (jnp.array(list(word.encode())) for word in ("kitten", "sitting"))
      >>> int(edit_distance(kitten, sitting))
      3

    Levenshtein 1966; the algorithm: Wagner & Fischer 1974.
    """
    batch, size = tokens.shape[1:], targets.shape[0]
    lengths = (
        jnp.full(batch, tokens.shape[0], jnp.int32) if lengths is None else jnp.asarray(lengths)
    )
    target_lengths = (
        jnp.full(batch, size, jnp.int32) if target_lengths is None else jnp.asarray(target_lengths)
    )
    places = jnp.broadcast_to(
        jnp.arange(size + 1, dtype=jnp.int32).reshape(-1, *(1 for _ in batch)), (size + 1, *batch)
    )

    def step(row: jax.Array, numbered: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        i, token = numbered
        either = jnp.minimum(row[1:] + 1, row[:-1] + (targets != token).astype(jnp.int32))
        new = jnp.concatenate([jnp.broadcast_to(i + 1, (1, *batch)), either])
        # Insertions: the best place to the left, plus one for each step from it.
        new = jax.lax.cummin(new - places, axis=0) + places
        return jnp.where(i < lengths, new, row), None

    row, _ = jax.lax.scan(step, places, (jnp.arange(tokens.shape[0], dtype=jnp.int32), tokens))
    return jnp.take_along_axis(row, target_lengths[None].astype(jnp.int32), 0)[0]


def token_error_rate(
    tokens: jax.Array, targets: jax.Array, lengths: Any = None, target_lengths: Any = None
) -> MaskedMean:
    """Edits for each target token, over all rows together: the sum of edits and the number of
    target tokens. Arguments as in `edit_distance`.

    Example:
      >>> float(token_error_rate(jnp.array([[1, 4], [2, 5]]), jnp.array([[1, 4], [3, 5]])).mean)
      0.25
    """
    edits = edit_distance(tokens, targets, lengths, target_lengths).sum()
    count = targets.size if target_lengths is None else jnp.asarray(target_lengths).sum()
    return MaskedMean(edits.astype(jnp.float32), jnp.asarray(count, jnp.int32))


def exact_match(
    tokens: jax.Array, targets: jax.Array, lengths: Any = None, target_lengths: Any = None
) -> MaskedMean:
    """How many rows are right as a whole, and the number of rows. Arguments as in `edit_distance`.

    Example:
      >>> float(exact_match(jnp.array([[1, 4], [2, 5]]), jnp.array([[1, 4], [3, 5]])).mean)
      0.5
    """
    same = edit_distance(tokens, targets, lengths, target_lengths) == 0
    return MaskedMean(same.sum(dtype=jnp.float32), jnp.int32(same.size))


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Edits of words for each word of the references, over all sentences together; white space
    separates words.

    Raises:
      ValueError: for no words in the references, or unequal numbers of hypotheses and references.

    Example:
      >>> word_error_rate(["the cat sat", "no"], ["the cat sat down", "no"])
      0.2
    """
    check_pairs("word_error_rate", hypotheses, references)
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
      ValueError: for unequal numbers of hypotheses and references.

    Example:
      >>> round(bleu(["the cat sat on the mat"], ["the cat sat on the mat"]))
      100

    Papineni et al. 2002; Post 2018, A Call for Clarity in Reporting BLEU Scores.
    """
    check_pairs("bleu", hypotheses, references)
    try:
        import sacrebleu
    except ModuleNotFoundError:
        raise errors.missing_package("sacrebleu", "it counts BLEU", "translate") from None
    sets = [[r] if isinstance(r, str) else list(r) for r in references]
    most = max(map(len, sets))
    # None says that a sentence has no such reference; sacrebleu's annotations leave it out.
    streams: list[Any] = [[s[i] if i < len(s) else None for s in sets] for i in range(most)]
    return float(sacrebleu.corpus_bleu(list(hypotheses), streams, force=True).score)


def check_pairs(who: str, hypotheses: Sequence[Any], references: Sequence[Any]) -> None:
    """Refuse anything but two lists of one length, at least one long."""
    if (
        isinstance(hypotheses, str)
        or isinstance(references, str)
        or len(hypotheses) != len(references)
        or not len(references)
    ):
        got = (
            "a string"
            if isinstance(hypotheses, str) or isinstance(references, str)
            else f"{len(hypotheses)} hypotheses"
        )
        raise errors.error(
            ValueError,
            who,
            f"{got} for {len(references)} references",
            "as many of each, at least one",
            "Pass two lists of sentences.",
        )
