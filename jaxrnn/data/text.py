"""Text: vocabularies of bytes, words and characters, and files."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from jaxrnn import errors


@dataclasses.dataclass(frozen=True)
class Bytes:
    """The bytes that occur in a text as tokens: token 0 stands for every byte that does not occur,
    token i for `known[i-1]`.

    Example:
      >>> vocabulary = Bytes.of(b"abba")
      >>> vocabulary.encode(b"bad").tolist(), vocabulary.size
      ([2, 1, 0], 3)
    """

    known: bytes

    @classmethod
    def of(cls, text: bytes) -> Bytes:
        """The vocabulary of a training text."""
        errors.check_bytes("Bytes", text)
        return cls(bytes(sorted(set(text))))

    @property
    def size(self) -> int:
        return len(self.known) + 1

    def encode(self, text: bytes) -> np.ndarray:
        """int32 tokens `[N]`."""
        errors.check_bytes("Bytes", text)
        table = np.zeros(256, np.int32)
        table[list(self.known)] = np.arange(1, self.size)
        return table[np.frombuffer(text, np.uint8)]

    def decode(self, tokens: Any, unknown: bytes = b"?") -> bytes:
        tokens = np.asarray(tokens)
        errors.check_decodable("Bytes", tokens, self.size)
        table = [unknown, *(bytes([b]) for b in self.known)]
        return b"".join(table[t] for t in tokens.tolist())

    def unknown_bits(self, tokens: Any) -> float:
        """The bits it takes to say which byte each unknown token was, if all missing bytes are
        equally likely.

        Added to a model's code length over tokens, they give a code length over bytes, comparable
        with a compressor's.
        """
        count = int(np.sum(np.asarray(tokens) == 0))
        return count * math.log2(256 - len(self.known)) if count else 0.0


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Units of text (words, characters, phonemes: any strings) as tokens, after four special ones.

        0        PAD, what a mask hides
        1        UNKNOWN, any unit that is not known
        2        START of a sequence
        3        END of a sequence
        4 + i    known[i]

    It hashes and compares. To save it as JSON, write `list(vocabulary.known)`;
    `Vocabulary(tuple(...))` is then the same vocabulary.

    Example:
      >>> vocabulary = Vocabulary.of([["to", "be"], ["or", "not", "to", "be"]], least=2)
      >>> vocabulary.known, vocabulary.size
      (('be', 'to'), 6)
      >>> vocabulary.encode(["to", "see"], end=True).tolist(), vocabulary.decode([2, 5, 1, 3, 0])
      ([5, 1, 3], ['to', '?'])
    """

    known: tuple[str, ...]

    def __post_init__(self) -> None:
        errors.check_known(self.known)

    PAD: ClassVar[int] = 0
    UNKNOWN: ClassVar[int] = 1
    START: ClassVar[int] = 2
    END: ClassVar[int] = 3

    @classmethod
    def of(
        cls, sequences: Iterable[Iterable[str]], least: int = 1, most: int | None = None
    ) -> Vocabulary:
        """The units that occur at least `least` times, at most `most` of them, the most frequent
        first; a string is a sequence of characters.
        """
        least = errors.check_count("Vocabulary", "least", least)
        if most is not None:
            most = errors.check_count("Vocabulary", "most", most, 0)
        errors.check_units(sequences)
        counts: Counter[str] = Counter()
        for units in sequences:
            errors.check_units(units)
            counts.update(units)
        for unit in counts:
            errors.check_unit(unit)
        kept = sorted((-count, unit) for unit, count in counts.items() if count >= least)
        return cls(tuple(unit for _, unit in kept[:most]))

    @property
    def size(self) -> int:
        return len(self.known) + 4

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {unit: i for i, unit in enumerate(self.known, 4)}

    def encode(self, units: Iterable[str], *, start: bool = False, end: bool = False) -> np.ndarray:
        """int32 tokens `[N]`, with START before and END after them on request."""
        errors.check_units(units)
        tokens = [self._tokens.get(unit, self.UNKNOWN) for unit in units]
        return np.asarray([self.START] * start + tokens + [self.END] * end, np.int32)

    def decode(self, tokens: Any, unknown: str = "?") -> list[str]:
        """The units up to the first END; PAD and START are left out."""
        tokens, units = np.asarray(tokens), []
        if tokens.ndim == 1:
            tokens = tokens[: np.append(tokens == self.END, True).argmax()]
        errors.check_decodable("Vocabulary", tokens, self.size)
        for token in tokens.tolist():
            if token not in (self.PAD, self.START):
                units.append(unknown if token == self.UNKNOWN else self.known[token - 4])
        return units


def words(text: str) -> list[str]:
    """The words and the marks of a text, each a unit of its own.

    Example:
      >>> words("Don't stop, go!")
      ["Don't", 'stop', ',', 'go', '!']
    """
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text)


def read_text(path: str | pathlib.Path) -> str:
    """A file of UTF-8 text.

    Raises:
      FileNotFoundError, IsADirectoryError: where there is no such file.
      ValueError: for an empty one, or bytes that no text holds (not UTF-8, or zero); it names the
        file and the line.
    """
    path = pathlib.Path(path).expanduser()
    errors.check_file(path)
    content = path.read_bytes()
    zero = content.find(b"\0")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        zero = error.start if zero < 0 else min(zero, error.start)
        text = ""
    if zero >= 0:
        raise errors.not_text(path, content.count(b"\n", 0, zero) + 1, content[zero])
    if not text.strip():
        raise errors.empty_file(path)
    return text


def read_lines(path: str | pathlib.Path) -> list[str]:
    """The lines of a file of UTF-8 text, as `read_text` reads it; the empty ones too, so that
    places in it are line numbers less one.
    """
    return [line.removesuffix("\r") for line in read_text(path).removesuffix("\n").split("\n")]


def read_bytes(path: str | pathlib.Path, limit: int | None = None) -> bytes:
    """The first `limit` bytes of a file, or of all files under a folder in the order of their
    relative paths (hidden ones left out).

    Raises:
      FileNotFoundError: where there is neither a file nor a folder.
      ValueError: where there is nothing to read, or for a limit below one.
    """
    path = pathlib.Path(path).expanduser()
    errors.check_file(path, folders=True)
    if limit is not None:
        limit = errors.check_count("read_bytes", "limit", limit)
    paths = [path]
    if path.is_dir():
        inside = [(p.relative_to(path), p) for p in path.rglob("*")]
        paths = [
            p
            for name, p in sorted(inside)
            if p.is_file() and not any(part.startswith(".") for part in name.parts)
        ]
    text = bytearray()
    for one in paths:
        if limit is not None and len(text) >= limit:
            break
        text += one.read_bytes()
    if not text:
        raise errors.empty_file(path, "no bytes")
    return bytes(text[:limit])
