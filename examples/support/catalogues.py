"""Message catalogues: what the programs of a system say in English and in other languages, as text
beside its translation."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from support import errors

SYSTEM = pathlib.Path("/usr/share/locale")

LIMIT = 1 << 26
"""How many bytes one catalogue may hold."""


class Catalogue(NamedTuple):
    """What the catalogues of one language hold: English messages with their translations, and the
    files that could not be read."""

    messages: dict[str, str]
    files: int
    unreadable: tuple[str, ...]


def catalogue_roots() -> list[pathlib.Path]:
    """Where catalogues are: the system's folder of them, or where that holds none, those in an
    installed Django (not imported)."""
    if next(SYSTEM.glob("*/LC_MESSAGES/*.mo"), None):
        return [SYSTEM]
    spec = importlib.util.find_spec("django")
    if spec is None or not spec.origin:
        return []
    package = pathlib.Path(spec.origin).parent
    return [package / "conf/locale", *sorted(package.glob("contrib/*/locale"))]


def catalogue(language: str, roots: Sequence[str | pathlib.Path] | None = None) -> Catalogue:
    """All messages of a language, files in the order of their names; the first translation of a
    message counts.

    The English source and the translation are as they stand in the files: see `plain` for
    sentences. Plural forms give the singular and the last plural; contexts are dropped; messages
    without a translation are left out. A catalogue that cannot be decoded is skipped and named.

    Args:
      language: a code such as "it" or "pt_BR", a folder `<root>/<language>/LC_MESSAGES`.
      roots: folders of languages; by default `catalogue_roots()`.

    Raises:
      ValueError: where no root holds the language.

    Example:
      >>> catalogue("xx", roots=["/nonexistent"])  # doctest: +IGNORE_EXCEPTION_DETAIL
      Traceback (most recent call last):
      ValueError: catalogue: got the language 'xx', ...
    """
    folders = [pathlib.Path(root) for root in (catalogue_roots() if roots is None else roots)]
    paths = [
        path
        for folder in folders
        for path in sorted((folder / language / "LC_MESSAGES").glob("*.mo"))
    ]
    if not paths:
        raise errors.no_catalogue(language, catalogue_languages(folders), folders)
    messages: dict[str, str] = {}
    unreadable = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found = read_catalogue(file.read(LIMIT + 1))
        except (ValueError, LookupError, struct.error, OSError):
            unreadable.append(str(path))
            continue
        for source, translation in found.items():
            messages.setdefault(source, translation)
    return Catalogue(messages, len(paths), tuple(unreadable))


def catalogue_languages(roots: Sequence[str | pathlib.Path] | None = None) -> list[str]:
    """The languages that have a catalogue, in the order of their codes."""
    folders = catalogue_roots() if roots is None else roots
    return sorted(
        {
            path.parts[-3]
            for root in folders
            for path in pathlib.Path(root).glob("*/LC_MESSAGES/*.mo")
        }
    )


def read_catalogue(content: bytes) -> dict[str, str]:
    """The messages of one compiled catalogue (GNU gettext's .mo format), source to translation.

    Raises:
      ValueError: for anything else, tables or strings beyond the end of the file, or more than
        64 MiB, in the file or in its strings together, which may overlap.
    """
    if len(content) > LIMIT:
        raise ValueError(f"more than {LIMIT >> 20} MiB")
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(content[:4])
    if order is None:
        raise ValueError("not a compiled message catalogue")
    if len(content) < 20:
        raise ValueError("no header")
    count, sources, translations = struct.unpack_from(f"{order}3I", content, 8)
    if max(sources, translations) + 8 * count > len(content):
        raise ValueError("a table beyond the end of the file")
    left = LIMIT

    def string(table: int, i: int) -> bytes:
        nonlocal left
        length, start = struct.unpack_from(f"{order}2I", content, table + 8 * i)
        if start + length > len(content):
            raise ValueError("a string beyond the end of the file")
        left -= length
        if left < 0:
            raise ValueError(f"strings of more than {LIMIT >> 20} MiB")
        return content[start : start + length]

    raw = [(string(sources, i), string(translations, i)) for i in range(count)]
    header = dict(raw).get(b"", b"").decode("ascii", "replace")
    charset = re.search(r"charset=([\w.:-]+)", header)
    decode = lambda text: text.decode(charset[1] if charset else "utf-8")  # noqa: E731
    messages = {}
    for source, translation in raw:
        source, translation = (
            decode(source).rpartition("\x04")[2].split("\0"),
            decode(translation).split("\0"),
        )
        for one, other in {source[0]: translation[0], source[-1]: translation[-1]}.items():
            if one and other:
                messages[one] = other
    return messages


def plain(message: str) -> str:
    """A message as a sentence: marks of keyboard shortcuts taken out, white space made one space;
    "" where placeholders, markup, options, paths or code would be left, or no two words are.

    Example:
      >>> plain("Open  _Recent files"), plain("cannot open %s"), plain("<b>bold</b> text")
      ('Open Recent files', '', '')
    """
    text = " ".join(message.split())
    text = re.sub(r"\s*\([_&]\w\)|(?<!\w)[_&](?=\w)|(?<=\w)[_&](?=[^\W\d_])", "", text)
    if re.search(r"[%{}<>$\\=/_|@#*^~`\[\]]|(^|\s)-|\w\.\w|&\w+;", text):
        return ""
    return text if len(re.findall(r"[^\W\d_]{2,}", text)) >= 2 else ""
