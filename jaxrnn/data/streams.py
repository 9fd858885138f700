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

        S = (N - 1) // batch                       ceil((N - 1) / batch) with keep_last
        stream b = tokens[b*S : (b+1)*S]
        i = step mod per_epoch
        xs[t, b] = stream b at i*length + t
        targets[t, b] = the token after it

    So row b of one step continues row b of the step before, as the carried state does. At the first
    segment of every epoch `resets[0]` is true, since the streams begin anew there.

    What is left of each stream after its last whole segment, fewer than `length` tokens, is not
    visited. With `keep_last` it is one segment more, and every token but the first is a target once
    an epoch. That segment is as long as the others, zero past its end, so no second shape is
    compiled; every batch then has a mask, which is false there. A state is carried through masked
    steps unchanged, and the next segment begins with a reset.

    Args:
      tokens: integers `[N]`.
      batch: how many streams run side by side.
      length: T, the steps of a segment.
      keep_last: whether the last, shorter segment of each stream is visited.

    It is called as `segments(step) -> Batch` of `[length, batch]` arrays, pure in the step.

    Raises:
      TypeError: for tokens, a size or a step that are not integers.
      ValueError: for fewer than `batch * length + 1` tokens (with `keep_last`, `batch + 1`), tokens
        that are not one-dimensional, a size below one or a negative step.

    Example:
      >>> segments = Segments(np.arange(21), batch=2, length=5)
      >>> segments(1).xs[:, 0].tolist(), segments(1).targets[:, 0].tolist(), segments.per_epoch
      ([5, 6, 7, 8, 9], [6, 7, 8, 9, 10], 2)
      >>> last = Segments(np.arange(21), batch=2, length=8, keep_last=True)(1)
      >>> last.xs[:, 0].tolist(), last.mask[:, 0].astype(int).tolist()
      ([8, 9, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0])
    """

    tokens: np.ndarray
    batch: int
    length: int
    keep_last: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "length"):
            size = errors.check_count("Segments", name, getattr(self, name))
            object.__setattr__(self, name, size)
        errors.check_flag("Segments", "keep_last", self.keep_last)
        each, need = (1, "batch + 1") if self.keep_last else (self.length, "batch * length + 1")
        errors.check_stream("Segments", self.tokens, self.batch * each + 1, need)

    @property
    def per_epoch(self) -> int:
        """The number of segments in each stream."""
        return (self._stride + (self.length - 1) * self.keep_last) // self.length

    @property
    def _stride(self) -> int:
        """S, the length of a stream."""
        return (len(self.tokens) - 1 + (self.batch - 1) * self.keep_last) // self.batch

    def __call__(self, step: int) -> Batch:
        i = errors.check_count("Segments", "step", step, 0) % self.per_epoch
        place = np.arange(self.length)[:, None] + i * self.length  # within each stream
        index = np.arange(self.batch) * self._stride + place
        resets = np.zeros(index.shape, bool)
        resets[0] = i == 0
        if not self.keep_last:
            return Batch(self.tokens[index], self.tokens[index + 1], None, resets)
        mask = (place < self._stride) & (index < len(self.tokens) - 1)
        index = np.where(mask, index, 0)
        xs, targets = (np.where(mask, self.tokens[at], 0) for at in (index, index + 1))
        return Batch(xs, targets, mask, resets)


def stream(tokens: Any, batch: int = 1) -> Batch:
    """A whole stream as one batch for evaluation: `batch` pieces side by side, each of which begins
    from the initial state.

    Every token but the first one is a target once. `batch=1` is the stream itself; the end of a
    piece that is not full has a false mask.

    Raises:
      TypeError: for tokens or a batch that are not integers.
      ValueError: for fewer than two tokens, tokens that are not one-dimensional, or a batch below
        one.

    Example:
      >>> stream(np.arange(6), 2).targets.T.tolist()
      [[1, 2, 3], [4, 5, 0]]
    """
    batch = errors.check_count("stream", "batch", batch)
    tokens = np.asarray(tokens)
    errors.check_stream("stream", tokens, 2, "two")
    count = len(tokens) - 1
    length = -(-count // batch)
    padded = np.zeros(batch * length + 1, tokens.dtype)
    padded[: len(tokens)] = tokens
    there = None if count == batch * length else np.arange(batch * length) < count
    made = Batch(padded[:-1], padded[1:], there)
    return jax.tree.map(lambda a: np.ascontiguousarray(a.reshape(batch, length).T), made)
