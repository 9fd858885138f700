"""What a recurrent net is trained on: batches, long streams cut into segments, and text as bytes.

A source of batches is a function of the step alone, `batches(step) -> Batch`, so that a run resumed at a step sees what an
uninterrupted one would have seen, and no iterator has a state to save.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import lzma
import math
import pathlib
import sysconfig
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn import errors


class Batch(NamedTuple):
    """One training step's data, time first: inputs `xs [T, ...]`, targets (any pytree of `[T, ...]`), and optional flags `[T, ...]`."""

    xs: Any
    targets: Any
    mask: Any = None
    resets: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """A long stream of tokens as batches for truncated BPTT: `batch` parallel streams, each read in segments of `length`.

        stream b = tokens[b*S : (b+1)*S],  S = (N - 1) // batch
        xs[t, b] = stream b at i*length + t,  targets[t, b] = the token after it,  i = step mod per_epoch

    So row b of one step continues row b of the step before, as the carried state does. At the first segment of every epoch
    `resets[0]` is true, since the streams begin anew there. What is left of each stream after its last whole segment, fewer
    than `length` tokens, is not visited.

    Args:
      tokens: integers `[N]`.
      batch: how many streams run side by side.
      length: T, the steps of a segment.

    Returns:
      A callable: `segments(step) -> Batch` of `[length, batch]` arrays, pure in the step.

    Raises:
      TypeError: for tokens that are not integers.
      ValueError: for fewer than `batch * length + 1` tokens, or tokens that are not one-dimensional.

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


@dataclasses.dataclass(frozen=True)
class Bytes:
    """The bytes that occur in a text as tokens: token 0 stands for every byte that does not occur, token i for `known[i-1]`.

    Example:
      >>> vocabulary = Bytes.of(b"abba")
      >>> vocabulary.encode(b"bad").tolist(), vocabulary.size
      ([2, 1, 0], 3)
    """

    known: bytes

    @classmethod
    def of(cls, text: bytes) -> Bytes:
        """The vocabulary of a training text."""
        return cls(bytes(sorted(set(text))))

    @property
    def size(self) -> int:
        return len(self.known) + 1

    def encode(self, text: bytes) -> np.ndarray:
        """int32 tokens `[N]`."""
        table = np.zeros(256, np.int32)
        table[list(self.known)] = np.arange(1, self.size)
        return table[np.frombuffer(text, np.uint8)]

    def decode(self, tokens: Any, unknown: bytes = b"?") -> bytes:
        table = [unknown, *(bytes([b]) for b in self.known)]
        return b"".join(table[t] for t in np.asarray(tokens).tolist())

    def unknown_bits(self, tokens: Any) -> float:
        """What it costs to say which byte each unknown token was, all missing bytes being equally likely: with it, a model's code
        length over tokens is a code length over bytes, comparable with a compressor's."""
        count = int(np.sum(np.asarray(tokens) == 0))
        return count * math.log2(256 - len(self.known)) if count else 0.0


def read_bytes(path: str | pathlib.Path, limit: int | None = None) -> bytes:
    """The first `limit` bytes of a file, or of all files under a folder in the order of their relative paths (hidden ones left out)."""
    path = pathlib.Path(path).expanduser()
    if not path.is_dir():
        return _join([path], limit)
    inside = [(p.relative_to(path), p) for p in path.rglob("*")]
    return _join([p for name, p in sorted(inside) if p.is_file() and not any(part.startswith(".") for part in name.parts)], limit)


def python_source(limit: int | None = None) -> bytes:
    """The first `limit` bytes of the source of Python's own standard library, files in the order of the md5 of their relative path.

    Left out: tests, the encodings' tables, installed packages, and `pydoc_data/topics.py`, which repeats itself.
    """
    root = pathlib.Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
    names = [p.relative_to(root) for p in root.rglob("*.py")]
    names = [n for n in names if not left_out & set(n.parts) and n.as_posix() != "pydoc_data/topics.py"]
    return _join([root / n for n in sorted(names, key=lambda n: hashlib.md5(n.as_posix().encode(), usedforsecurity=False).digest())], limit)


def _join(paths: list[pathlib.Path], limit: int | None) -> bytes:
    text = bytearray()
    for path in paths:
        if limit is not None and len(text) >= limit:
            break
        text += path.read_bytes()
    return bytes(text[:limit])


def compressors(train: bytes, held: bytes) -> dict[str, float]:
    """Bits per byte that gzip, bz2 and xz spend on `held` after `train`: the size of both less the size of `train`."""
    methods = {
        "gzip": lambda text: gzip.compress(text, 9, mtime=0),
        "bz2": lambda text: bz2.compress(text, 9),
        "xz": lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME),
    }
    return {name: 8 * (len(method(train + held)) - len(method(train))) / len(held) for name, method in methods.items()}


def stream(tokens: Any, batch: int = 1) -> Batch:
    """A whole stream as one batch for evaluation: `batch` pieces side by side, each begun from the initial state, every token
    but the first of each piece predicted once. `batch=1` is the stream itself; what does not fill a row is masked.

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
