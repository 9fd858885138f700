"""Batches, and long streams of tokens cut into segments."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn import errors


class Batch(NamedTuple):
    """The data of one training step, time first: inputs `xs [T, ...]` and targets, any pytree of
    `[T, ...]`.

    `mask [T, ...]` is true where the step is valid, `resets [T, ...]` where a new sequence begins;
    either may be None.
    """

    xs: Any
    targets: Any
    mask: Any = None
    resets: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """A long stream of tokens as batches for truncated BPTT: `batch` parallel streams, each read in
    segments of `length`.

        S = (N - 1) // batch
        stream b = tokens[b*S : (b+1)*S]
        i = step mod per_epoch
        xs[t, b] = stream b at i*length + t
        targets[t, b] = the token after it

    So row b of one step continues row b of the step before, as the carried state does. At the first
    segment of every epoch `resets[0]` is true, since the streams begin anew there. What is left of
    each stream after its last whole segment, fewer than `length` tokens, is not visited.

    Args:
      tokens: integers `[N]`.
      batch: how many streams run side by side.
      length: T, the steps of a segment.

    Returns:
      A callable: `segments(step) -> Batch` of `[length, batch]` arrays, pure in the step.

    Raises:
      TypeError: for tokens that are not integers.
      ValueError: for fewer than `batch * length + 1` tokens, or tokens that are not
        one-dimensional.

    Example:
      >>> segments = Segments(np.arange(21), batch=2, length=5)
      >>> segments(1).xs[:, 0].tolist(), segments(1).targets[:, 0].tolist(), segments.per_epoch
      ([5, 6, 7, 8, 9], [6, 7, 8, 9, 10], 2)
    """

    tokens: np.ndarray
    batch: int
    length: int

    def __post_init__(self) -> None:
        errors.check_stream(self.tokens, self.batch, self.length)

    @property
    def per_epoch(self) -> int:
        """The number of segments in each stream."""
        return (len(self.tokens) - 1) // self.batch // self.length

    def __call__(self, step: int) -> Batch:
        stride = (len(self.tokens) - 1) // self.batch
        i = step % self.per_epoch
        index = np.arange(self.batch) * stride + np.arange(self.length)[:, None] + i * self.length
        resets = np.zeros(index.shape, bool)
        resets[0] = i == 0
        return Batch(self.tokens[index], self.tokens[index + 1], None, resets)


def stream(tokens: Any, batch: int = 1) -> Batch:
    """A whole stream as one batch for evaluation: `batch` pieces side by side, each of which begins
    from the initial state.

    Every token but the first one is a target once. `batch=1` is the stream itself; the end of a
    piece that is not full has a false mask.

    Example:
      >>> stream(np.arange(6), 2).targets.T.tolist()
      [[1, 2, 3], [4, 5, 0]]
    """
    tokens = np.asarray(tokens)
    count = len(tokens) - 1
    length = -(-count // batch)
    padded = np.zeros(batch * length + 1, tokens.dtype)
    padded[: len(tokens)] = tokens
    fold = lambda a: a.reshape(batch, length).T  # noqa: E731
    mask = None if count == batch * length else fold(np.arange(batch * length) < count)
    return jax.tree.map(np.ascontiguousarray, Batch(fold(padded[:-1]), fold(padded[1:]), mask))
