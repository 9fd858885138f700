"""Text as bytes: vocabularies, files, Python's own source, and what a compressor makes of it."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import lzma
import math
import pathlib
import sysconfig
from typing import Any

import numpy as np


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
